/* What loading takes of the process's memory: the weights on the device, and never a second copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "sd/nn/upload.h"
#include "tests/unit/folder.h"

#include <unistd.h>

/* AddressSanitizer keeps what was freed for a while, the device's memory too. */
#if defined(__SANITIZE_ADDRESS__)
#define KEPT_BY_TOOLS ((uint64_t)512 << 20)
#else
#define KEPT_BY_TOOLS 0
#endif

enum { side = 2048, matrices = 24, matrix_bytes = side * side * 2 };

/* A checkpoint in a file: `matrices` square ones of f16, in the opposite order of their names. */
struct mapped {
    sd_mapping map;
    unsigned announced[matrices], read[matrices];
};

static bool find_mapped(void *user, const char *name, struct sd_raw *out) {
    const struct mapped *m = user;
    unsigned i = (unsigned)strtoul(name, NULL, 10);
    *out = (struct sd_raw){
        SD_F16, 2, {side, side}, m->map.data + (size_t)(matrices - 1 - i) * matrix_bytes, matrix_bytes};
    return true;
}

static void advise_mapped(void *user, const struct sd_raw *raw, bool done) {
    struct mapped *m = user;
    size_t i = (size_t)((const uint8_t *)raw->data - m->map.data) / matrix_bytes;
    assert_int_equal(m->read[i], 0);
    m->announced[i] += !done;
    m->read[i] += done;
    assert_true(m->announced[i] == 1);
    assert_true(!done || i == 0 || m->read[i - 1] == 1); /* in the file's order */
    sd_mapping_advise(&m->map, raw->data, raw->bytes, done ? SD_FILE_DONE : SD_FILE_SOON);
}

/* A line of /proc/self/status, in bytes. */
static uint64_t status_bytes(const char *field) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t kib = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, field, strlen(field)))
            kib = strtoull(line + strlen(field), NULL, 10);
    fclose(file);
    assert_true(kib > 0);
    return kib * 1024;
}

static void load(sd_vk *vk, const struct sd_weight_source *source, uint32_t count) {
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    for (uint32_t i = 0; i < count; i++)
        sd_bind_linear(w, side, side, false, "%u", i);
    if (sd_weights_load(w, vk, source, SD_WEIGHTS_LOSSLESS, &err))
        fail_msg("%s", err.message);
    assert_int_equal(sd_weights_at(w, 0)->dtype, SD_F16);
    sd_weights_destroy(vk, &w);
}

/* On a device that is a CPU the weights count as this process's memory. Beside them there may be the scratch
 * of two pieces, the tensor that is being read, and 16 MiB for whatever the driver and the allocator keep; a
 * second copy of the weights, or a file whose pages stay, would take 192 MiB. */
static void loading_holds_one_copy(void **state) {
    sd_vk *vk = *state;
    const char *path = in_folder("weights");
    const uint64_t all = (uint64_t)matrices * matrix_bytes,
                   bound = all + 2 * (uint64_t)SD_UPLOAD_BYTES + matrix_bytes + (16 << 20) + KEPT_BY_TOOLS;
    struct mapped m = {0};
    sd_error err;
    const struct sd_weight_source source = {
        .label = "test", .user = &m, .find = find_mapped, .advise = advise_mapped};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputc(0, file), 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)all), 0);
    assert_int_equal(sd_file_map(path, 0, &m.map, &err), SD_OK);
    load(vk, &(struct sd_weight_source){.label = "test", .user = &m, .find = find_mapped},
         1); /* compiles the kernel */
    uint64_t before = status_bytes("VmRSS:"), peak = status_bytes("VmHWM:");
    load(vk, &source, matrices);
    uint64_t most = before + bound > peak ? before + bound : peak;
    assert_in_range(status_bytes("VmHWM:"), before, most);
    for (uint32_t i = 0; i < matrices; i++)
        assert_int_equal(m.read[i], 1);
    sd_file_unmap(&m.map);
}

static int begin(void **state) {
    const struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    sd_vk *vk = NULL;
    sd_error err;
    int failed = make_folder(state);
    if (sd_vk_open(&vk, &options, &err))
        print_error("%s\n", err.message);
    *state = vk;
    return failed || !vk;
}

static int end(void **state) {
    sd_vk *vk = *state;
    sd_vk_close(&vk);
    return remove_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(loading_holds_one_copy)};
    return cmocka_run_group_tests(tests, begin, end);
}
