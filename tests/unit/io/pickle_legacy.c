/* The older form of torch.save, broken in each of its parts, and cut at every byte. */
#include "tests/unit/io/pickle_build.h"

#include "sd/io/file.h"

#define MAGIC P "\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define VERSION P "M\xe9\3."
#define SYSTEM P "}" TEXT("\15", "little_endian") "\x88s."
#define HEAD MAGIC VERSION SYSTEM
#define OLD_STORAGE(type, key, count)                                                                        \
    "(" TEXT("\7", "storage") type TEXT("\1", key) TEXT("\3", "cpu") count "NtQ"
#define OLD_VIEW(key, count)                                                                                 \
    "ctorch._utils\n_rebuild_tensor\n(" OLD_STORAGE(FLOATS, key, count) "K\0K\2\x85K\1\x85tR"
#define OBJECT DICT(W, OLD_VIEW("7", "K\2"))
#define KEYS P "]" TEXT("\1", "7") "a."
#define COUNT_2 "\2\0\0\0\0\0\0\0"
#define ROW(status, file, message)                                                                           \
    { status, sizeof file - 1, file, message }
#define FORMAT(file, message) ROW(SD_E_FORMAT, file, message)
#define UNSUPPORTED(file, message) ROW(SD_E_UNSUPPORTED, file, message)

static const char good[] = HEAD OBJECT KEYS COUNT_2 "01234567";

static const struct {
    sd_status status;
    size_t size;
    const char *file, *message;
} broken[] = {
    FORMAT("", "m: expected a file that torch.save wrote: neither a zip archive nor a pickle"),
    FORMAT("{\"a\":1}", "m: expected a file that torch.save wrote: neither a zip archive nor a pickle"),
    UNSUPPORTED("\x80\3}q\0X\1\0\0\0aK\1s.",
                "m: expected a file that torch.save wrote, found another pickle"),
    UNSUPPORTED(MAGIC P "M\xea\3.", "m: byte 20: expected version 1001 of the format, found another one"),
    UNSUPPORTED(MAGIC P "N.", "m: byte 18: expected version 1001 of the format, found another one"),
    FORMAT(MAGIC "N.", "m: byte 15: expected the beginning of a pickle of protocol 2 to 5"),
    UNSUPPORTED(MAGIC VERSION P "}" TEXT("\15", "little_endian") "\x89s.",
                "m: byte 44: expected the byte order little, found another one"),
    UNSUPPORTED(MAGIC VERSION P "].", "m: byte 24: expected the byte order little, found another one"),
    UNSUPPORTED(HEAD P "cos\nsystem\n.", "m: byte 47: wants to call os.system; only tensors are read"),
    FORMAT(HEAD OBJECT, "m: byte 149: expected the beginning of a pickle of protocol 2 to 5"),
    FORMAT(HEAD OBJECT P "}.", "m: byte 152: expected a list of the storages' keys, found a dict"),
    FORMAT(HEAD OBJECT P "]K\1a.", "m: byte 156: expected a storage's key, found a whole number"),
    FORMAT(HEAD OBJECT P "]" TEXT("\1", "8") "a.", "m: byte 160: storage '8' belongs to no tensor"),
    FORMAT(HEAD OBJECT P "].", "m: tensor 'w': shape [2] needs 2 elements, its storage '7' holds 0"),
    FORMAT(HEAD OBJECT KEYS "\2\0\0\0\0\0\0", "m: byte 160: storage '7' is cut short"),
    FORMAT(HEAD OBJECT KEYS COUNT_2 "0123456",
           "m: byte 160: storage '7' of 2 F32 is cut short after 7 bytes"),
    FORMAT(HEAD OBJECT KEYS COUNT_2 "012345678", "m: byte 176: 1 bytes belong to no storage"),
    FORMAT(HEAD OBJECT KEYS "\3\0\0\0\0\0\0\0"
                            "0123456789ab",
           "m: byte 160: storage '7' has 3 elements, expected 2 F32"),
    FORMAT(HEAD OBJECT KEYS "\2\0\0\0\0\0\0\x80"
                            "01234567",
           "m: byte 160: storage '7' has 9223372036854775810 elements, expected 2 F32"),
    FORMAT(HEAD DICT(W, OLD_VIEW("7", HUGE)) KEYS "\xff\xff\xff\xff\xff\xff\xff\x7f"
                                                  "01234567",
           "m: byte 168: storage '7' of 9223372036854775807 F32 is cut short after 8 bytes"),
    FORMAT(HEAD OBJECT P "](" TEXT("\1", "7") TEXT("\1", "7") "e." COUNT_2 "01234567" COUNT_2 "01234567",
           "m: byte 183: storage '7' is there twice"),
    FORMAT(HEAD DICT(W, OLD_STORAGE(FLOATS, "7", "K\2") "0" OLD_STORAGE("ctorch\nHalfStorage\n", "7", "K\2"))
               KEYS COUNT_2 "01234567",
           "m: byte 171: storage '7' is used as F32 and as F16"),
};

static void broken_files_are_explained(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        sd_str file = {0};
        sd_str_append_bytes(&file, broken[i].file, broken[i].size);
        assert_refused(&file, broken[i].status, broken[i].message);
        sd_str_clear(&file);
    }
}

static void the_older_form_is_read(void **state) {
    sd_pickle *file;
    sd_error err;
    (void)state;
    if (sd_pickle_parse("m", good, sizeof good - 1, &file, &err))
        fail_msg("%s", err.message);
    const sd_file_tensor *t = sd_pickle_find(file, "w");
    assert_non_null(t);
    assert_ptr_equal(t->data, good + sizeof good - 1 - 8);
    assert_int_equal(t->bytes, 8);
    sd_pickle_close(&file);
}

static void every_cut_is_refused(void **state) {
    static const char *const names[] = {"lightning_legacy.ckpt", "lightning.ckpt", "protocol4_legacy.pt"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        sd_bytes bytes;
        sd_error err;
        snprintf(path, sizeof path, SDVK_SOURCE_DIR "/tests/golden/pickles/%s", names[i]);
        assert_int_equal(sd_file_read(path, 0, &bytes, &err), SD_OK);
        for (size_t size = 0; size < bytes.size; size++) {
            sd_pickle *file;
            char *exact = malloc(size ? size : 1);
            assert_non_null(exact);
            memcpy(exact, bytes.data, size);
            assert_int_not_equal(sd_pickle_parse("m", exact, size, &file, &err), SD_OK);
            assert_true(strncmp(err.message, "m: ", 3) == 0);
            assert_null(file);
            free(exact);
        }
        sd_bytes_clear(&bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_are_explained),
        cmocka_unit_test(the_older_form_is_read),
        cmocka_unit_test(every_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
