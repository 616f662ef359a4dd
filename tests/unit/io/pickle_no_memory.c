/* Every allocation of opening a file fails in turn: each time a clean error. Run under ASan it finds leaks.
 */
#include "tests/unit/failing_memory.h"
#include "tests/unit/io/pickle_build.h"

#include "sd/io/file.h"

#define FOLDER SDVK_SOURCE_DIR "/tests/golden/pickles/"

/* Opens the bytes again and again until nothing fails; returns how many allocations failed in turn. */
static unsigned long fail_each(const void *data, size_t size) {
    sd_status status = SD_E_MEMORY;
    unsigned long nth = 0;
    while (status) {
        sd_pickle *file;
        sd_error err;
        allocations = 0;
        failing = ++nth;
        status = sd_pickle_parse("m", data, size, &file, &err);
        failing = 0;
        if (!status) {
            assert_true(allocations < nth);
            sd_pickle_close(&file);
            continue;
        }
        assert_int_equal(status, SD_E_MEMORY);
        assert_non_null(strstr(err.message, "m: "));
        assert_non_null(strstr(err.message, ": no memory "));
        assert_null(file);
    }
    return nth - 1;
}

static void files_of_torch(void **state) {
    static const char *const names[] = {"lightning.ckpt", "views_legacy.pt", "numpy.pt", "dtypes.pt"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        sd_bytes bytes;
        sd_error err;
        snprintf(path, sizeof path, FOLDER "%s", names[i]);
        assert_int_equal(sd_file_read(path, 0, &bytes, &err), SD_OK);
        assert_true(fail_each(bytes.data, bytes.size) >= 4);
        sd_bytes_clear(&bytes);
    }
}

static void add_text(sd_str *out, size_t size) {
    sd_str_append(out, "X");
    put(out, size, 4);
    while (size--)
        sd_str_append(out, "x");
}

/* Arenas allocate 64 KiB at a time, so that only values of this size reach every call. */
static void large_values(void **state) {
    enum { side = 160, large = 100000 };
    static const uint8_t data[4 * side * side];
    sd_str p = {0};
    archive a = {0};
    (void)state;
    LITERAL(&p, P "}(" W "ctorch._utils\n_rebuild_tensor\n(" STORAGE(
                    "M\0\x64") "K\0K\xa0K\xa0\x86K\1K\xa0\x86tRq\1" TEXT("\1", "e") "c_codecs\nencode\n");
    add_text(&p, large);
    LITERAL(&p, TEXT("\6", "latin1") "\x86R" TEXT("\1", "l") "](");
    for (int i = 0; i < 3000; i++)
        LITERAL(&p, "N");
    LITERAL(&p, "e" TEXT("\1", "m") "}(");
    for (unsigned i = 0; i < 3000; i++) {
        LITERAL(&p, "J");
        put(&p, i, 4);
        LITERAL(&p, "G\x3f\xf0\0\0\0\0\0\0");
    }
    LITERAL(&p, "u" TEXT("\1", "t"));
    add_text(&p, large);
    LITERAL(&p, "u.");
    add_entry(&a, "a/data.pkl", p.text, p.size);
    add_entry(&a, "a/data/0", data, sizeof data);
    finish(&a);
    assert_false(a.bytes.failed);
    assert_true(fail_each(a.bytes.text, a.bytes.size) >= 20);
    sd_str_clear(&a.bytes);
    sd_str_clear(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_torch),
        cmocka_unit_test(large_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
