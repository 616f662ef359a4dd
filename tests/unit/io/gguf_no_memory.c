/* Every allocation of reading and writing a file fails in turn: each time a clean error. Run under ASan it
 * finds leaks. */
#include "tests/unit/failing_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "sd/io/gguf.h"
#include "tests/unit/folder.h"

#include <unistd.h>

static sd_status read_file(const sd_bytes *bytes, sd_error *err) {
    sd_gguf *file;
    sd_status status = sd_gguf_parse("m", bytes->data, bytes->size, &file, err);
    assert_int_equal(!status, file != NULL);
    sd_gguf_close(&file);
    return status;
}

static sd_status fill(void *user, const sd_file_tensor *tensor, uint64_t first, void *out, size_t size,
                      sd_error *err) {
    (void)user;
    (void)err;
    memcpy(out, tensor->data + first, size);
    return SD_OK;
}

/* All of the file, with its values, produced in pieces. */
static sd_status write_file(const sd_gguf *from, sd_error *err) {
    const struct sd_tensor_producer producer = {NULL, fill};
    sd_gguf_values values = {0};
    static sd_file_tensor tensors[32];
    size_t count = sd_gguf_count(from);
    assert_true(count <= sizeof tensors / sizeof *tensors);
    for (size_t i = 0; i < count; i++)
        tensors[i] = *sd_gguf_at(from, i);
    for (size_t i = 0; i < sd_gguf_value_count(from); i++)
        sd_gguf_add(&values, sd_gguf_value_at(from, i));
    sd_status status = sd_gguf_write(in_folder("w.gguf"), tensors, count, &values, &producer, err);
    sd_gguf_values_clear(&values);
    return status;
}

/* Again and again until nothing fails; `from` NULL: reading. Returns how many allocations failed in turn. */
static unsigned long fail_each(const sd_bytes *bytes, const sd_gguf *from) {
    sd_status status = SD_E_MEMORY;
    unsigned long nth = 0;
    while (status) {
        sd_error err = {0};
        allocations = 0;
        failing = ++nth;
        status = from ? write_file(from, &err) : read_file(bytes, &err);
        failing = 0;
        if (!status) {
            assert_true(allocations < nth);
            continue;
        }
        assert_int_equal(status, SD_E_MEMORY);
        assert_non_null(strstr(err.message, "no memory "));
        assert_int_equal(access(in_folder("w.gguf"), F_OK), -1);
    }
    return nth - 1;
}

/* The golden file, and the same with a key and a text that are larger than what arenas allocate at a time. */
static void reading_and_writing(void **state) {
    static char large[100001];
    sd_gguf_values values = {0};
    sd_bytes bytes;
    sd_gguf *file;
    sd_error err;
    (void)state;
    memset(large, 'x', sizeof large - 1);
    assert_int_equal(sd_file_read(SDVK_SOURCE_DIR "/tests/golden/quants/blocks.gguf", 0, &bytes, &err),
                     SD_OK);
    assert_true(fail_each(&bytes, NULL) >= 4);
    assert_int_equal(sd_gguf_parse("m", bytes.data, bytes.size, &file, &err), SD_OK);
    assert_true(fail_each(NULL, file) >= 8);
    sd_gguf_add_string(&values, large, large);
    const sd_file_tensor t = *sd_gguf_at(file, 0);
    assert_int_equal(sd_gguf_write(in_folder("w.gguf"), &t, 1, &values, NULL, &err), SD_OK);
    sd_gguf_values_clear(&values);
    sd_gguf_close(&file);
    sd_bytes_clear(&bytes);
    assert_int_equal(sd_file_read(in_folder("w.gguf"), 0, &bytes, &err), SD_OK);
    assert_int_equal(unlink(in_folder("w.gguf")), 0);
    assert_true(fail_each(&bytes, NULL) >= 6);
    assert_int_equal(sd_gguf_parse("m", bytes.data, bytes.size, &file, &err), SD_OK);
    assert_true(fail_each(NULL, file) >= 10);
    sd_gguf_close(&file);
    sd_bytes_clear(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reading_and_writing)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
