/* Single files hold the same tensors as folders, under the names that unet/names.h says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "sd/io/safetensors.h"
#include "unet/names.h"

#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"

static sd_safetensors *open_file(const char *format, const char *family) {
    char path[512];
    sd_safetensors *file;
    sd_error err;
    snprintf(path, sizeof path, format, family);
    if (sd_safetensors_open(path, &file, &err))
        fail_msg("%s", err.message);
    return file;
}

static void read_config(const char *family, struct sd_unet_config *out) {
    char path[512];
    sd_bytes text = {0};
    sd_error err;
    snprintf(path, sizeof path, NETWORKS "%s/unet/config.json", family);
    if (sd_file_read(path, 0, &text, &err) ||
        sd_unet_config_parse(out, (const char *)text.data, text.size, path, &err))
        fail_msg("%s", err.message);
    sd_bytes_clear(&text);
}

static void has_the_folder_s_tensors(const char *family) {
    struct sd_unet_config config;
    sd_safetensors *folder = open_file(NETWORKS "%s/unet/diffusion_pytorch_model.safetensors", family);
    sd_safetensors *single = open_file(NETWORKS "%s.safetensors", family);
    size_t prefix = strlen(SD_UNET_LDM_PREFIX), found = 0;
    read_config(family, &config);
    for (size_t i = 0; i < sd_safetensors_count(single); i++) {
        const sd_file_tensor *theirs = sd_safetensors_at(single, i), *ours;
        char name[128], back[128];
        if (strncmp(theirs->name, SD_UNET_LDM_PREFIX, prefix))
            continue;
        if (!sd_unet_canonical_name(&config, theirs->name + prefix, name, sizeof name))
            fail_msg("%s: %s has no canonical name", family, theirs->name);
        assert_true(sd_unet_ldm_name(&config, name, back, sizeof back));
        assert_string_equal(back, theirs->name + prefix);
        if (!(ours = sd_safetensors_find(folder, name)))
            fail_msg("%s: the folder has no %s", family, name);
        assert_int_equal(ours->bytes, theirs->bytes);
        assert_memory_equal(ours->data, theirs->data, ours->bytes);
        found++;
    }
    assert_int_equal(found, sd_safetensors_count(folder));
    sd_safetensors_close(&folder);
    sd_safetensors_close(&single);
}

static void every_family(void **state) {
    (void)state;
    has_the_folder_s_tensors("sd1");
    has_the_folder_s_tensors("sd2");
    has_the_folder_s_tensors("sdxl");
    has_the_folder_s_tensors("refiner");
}

static bool find(void *user, const char *name, struct sd_raw *out) {
    const sd_file_tensor *t = sd_safetensors_find(user, name);
    if (!t)
        return false;
    *out = (struct sd_raw){.rank = t->rank, .data = t->data, .bytes = t->bytes};
    memcpy(out->shape, t->shape, sizeof t->shape);
    return true;
}

/* Shapes found in the file equal those of the configuration; heads and groups cannot be seen. */
static void detection_agrees_with_the_configuration(void **state) {
    (void)state;
    static const char *const families[] = {"sd1", "sd2", "sdxl", "refiner"};
    for (size_t i = 0; i < 4; i++) {
        struct sd_unet_config config, found;
        sd_error err;
        sd_safetensors *single = open_file(NETWORKS "%s.safetensors", families[i]);
        const struct sd_weight_source file = {.label = families[i], .user = single, .find = find};
        struct sd_unet_ldm ldm = {.file = &file, .config = &found};
        struct sd_weight_source source = sd_unet_ldm_source(&ldm);
        read_config(families[i], &config);
        sd_status status = sd_unet_detect(&found, &source, &err);
        /* Eight channels do not make 32 groups. */
        assert_int_equal(status, SD_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "multiples of the 32 norm groups"));
        memcpy(found.heads, config.heads, sizeof found.heads);
        found.groups = config.groups;
        found.sample = config.sample;
        found.add_each = config.add_each;
        assert_memory_equal(&found, &config, offsetof(struct sd_unet_config, eps) + sizeof config.eps);
        sd_safetensors_close(&single);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family),
        cmocka_unit_test(detection_agrees_with_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
