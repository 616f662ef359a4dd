/* Zip archives around pickles: broken ones, and forms that torch.save's own files of this size do not show.
 */
#include "tests/unit/io/pickle_build.h"

/* A number that is written over an archive. */
typedef struct patch {
    int place; /* an entry: its record in the directory; or one of these */
    int field;
    unsigned width;
    uint64_t value;
} patch;
enum { whole_file = -1, from_end = -2 };

/* Fields of the archive's end, counted from the end of the file: of the record, the locator and the 64-bit
 * record. */
enum {
    end_disk = -18,
    end_count = -12,
    end_directory = -6,
    locator_at = -34,
    end64_at = -98,
    end64_directory = -50
};
/* Fields of an entry's record. */
enum { flags = 8, method = 10, packed = 20, unpacked = 24, name_size = 28, begin = 42, text = 46 };
/* The same behind a name of 8 bytes, in 64 bits. */
enum { extended_size = 62, extended_unpacked = 64, extended_packed = 72, extended_begin = 80 };

static const struct {
    bool extended;
    patch patches[2];
    sd_status status;
    const char *message;
} broken[] = {
    {0, {{from_end, end_disk, 2, 1}}, SD_E_UNSUPPORTED, "m: the zip archive is one part of several"},
    {0,
     {{from_end, end_directory, 4, 100000}},
     SD_E_FORMAT,
     "m: the zip directory of 110 bytes at byte 100000 does not end before byte 338"},
    {0,
     {{from_end, end_directory, 4, UINT32_MAX - 1}},
     SD_E_FORMAT,
     "m: the zip directory of 110 bytes at byte 4294967294 does not end before byte 338"},
    {0,
     {{from_end, end_count, 2, 3}},
     SD_E_FORMAT,
     "m: the zip directory of 110 bytes cannot hold 3 entries"},
    {0,
     {{from_end, end_count, 2, 65535}},
     SD_E_FORMAT,
     "m: the zip directory of 110 bytes cannot hold 65535 entries"},
    {0, {{1, 0, 4, 0}}, SD_E_FORMAT, "m: expected an entry of the zip directory at byte 284"},
    {0, {{1, name_size, 2, 65535}}, SD_E_FORMAT, "m: the zip entry at byte 284 has no proper name"},
    {0, {{1, text, 1, 0}}, SD_E_FORMAT, "m: the zip entry at byte 284 has no proper name"},
    {0, {{1, text, 1, 0xFF}}, SD_E_FORMAT, "m: the zip entry at byte 284 has no proper name"},
    {0, {{whole_file, 30, 1, 'b'}}, SD_E_FORMAT, "m: zip entry 'a/data.pkl' has another name at byte 0"},
    {0,
     {{whole_file, 28, 2, 65535}},
     SD_E_FORMAT,
     "m: zip entry 'a/data.pkl' of 134 bytes at byte 0 reaches beyond byte 228"},
    {0,
     {{1, begin, 4, 1}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' does not begin at byte 1, where the directory says"},
    {0,
     {{1, begin, 4, 100000}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' does not begin at byte 100000, where the directory says"},
    {0, {{1, begin, 4, 0}}, SD_E_FORMAT, "m: zip entry 'a/data/0' has another name at byte 0"},
    {0,
     {{1, packed, 4, 100000}, {1, unpacked, 4, 100000}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' of 100000 bytes at byte 174 reaches beyond byte 228"},
    {0,
     {{0, packed, 4, 135}, {0, unpacked, 4, 135}},
     SD_E_FORMAT,
     "m: zip entries 'a/data.pkl' and 'a/data/0' overlap at byte 174"},
    {0,
     {{1, unpacked, 4, 1 << 30}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' is stored as 16 bytes and claims 1073741824"},
    {0,
     {{0, method, 2, 8}},
     SD_E_UNSUPPORTED,
     "m: a/data.pkl is compressed or encrypted, which torch.save never does"},
    {0,
     {{1, method, 2, 8}, {1, unpacked, 4, 1 << 30}},
     SD_E_UNSUPPORTED, /* a bomb: 16 bytes as 1 GiB */
     "m: a/data.pkl: byte 93: storage '0' is compressed or encrypted, which torch.save never does"},
    {0,
     {{1, flags, 2, 1}},
     SD_E_UNSUPPORTED,
     "m: a/data.pkl: byte 93: storage '0' is compressed or encrypted, which torch.save never does"},
    {0,
     {{1, packed, 4, UINT32_MAX}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' has no 64-bit sizes, where it says so"},
    {1,
     {{1, extended_size, 2, 16}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' has no 64-bit sizes, where it says so"},
    {1,
     {{1, extended_size, 2, 25}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' has no 64-bit sizes, where it says so"},
    {1,
     {{1, extended_packed, 8, UINT64_MAX / 2}, {1, extended_unpacked, 8, UINT64_MAX / 2}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' of 9223372036854775807 bytes at byte 174 reaches beyond byte 228"},
    {1,
     {{1, extended_packed, 8, UINT64_MAX}, {1, extended_unpacked, 8, UINT64_MAX}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' of 18446744073709551615 bytes at byte 174 reaches beyond byte 228"},
    {1,
     {{1, extended_begin, 8, UINT64_MAX}},
     SD_E_FORMAT,
     "m: zip entry 'a/data/0' does not begin at byte 18446744073709551615, where the directory says"},
    {1,
     {{from_end, locator_at, 8, UINT64_MAX}},
     SD_E_FORMAT,
     "m: the zip archive has no 64-bit end at byte 18446744073709551615, where it says so"},
    {1,
     {{from_end, end64_at, 4, 0}},
     SD_E_FORMAT,
     "m: the zip archive has no 64-bit end at byte 406, where it says so"},
    {1,
     {{from_end, end64_directory, 8, UINT64_MAX}},
     SD_E_FORMAT,
     "m: the zip directory of 178 bytes at byte 18446744073709551615 does not end before byte 406"},
};

static const char good[] = VIEW("K\0", "K\4\x85", "K\1\x85");

static archive good_archive(bool extended, size_t padding) {
    archive a = {.extended = extended, .padding = padding};
    add_pickle(&a, good, sizeof good - 1);
    finish(&a);
    return a;
}

static void apply(archive *a, const patch *p) {
    size_t base = p->place == whole_file ? 0 : p->place == from_end ? a->bytes.size : a->central[p->place];
    size_t at = base + (size_t)(ptrdiff_t)p->field;
    assert_true(at + p->width <= a->bytes.size);
    for (unsigned i = 0; i < p->width; i++)
        a->bytes.text[at + i] = (char)(uint8_t)(p->value >> 8 * i);
}

static void broken_archives_are_explained(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        archive a = good_archive(broken[i].extended, 0);
        for (size_t k = 0; k < 2; k++)
            apply(&a, &broken[i].patches[k]);
        assert_refused(&a.bytes, broken[i].status, broken[i].message);
        sd_str_clear(&a.bytes);
    }
}

static void assert_good(const sd_str *file) {
    sd_pickle *opened;
    sd_error err;
    assert_true(sd_pickle_detect(file->text, file->size));
    if (sd_pickle_parse("m", file->text, file->size, &opened, &err))
        fail_msg("%s", err.message);
    assert_int_equal(sd_pickle_count(opened), 1);
    const sd_file_tensor *t = sd_pickle_find(opened, "w");
    assert_non_null(t);
    assert_int_equal(t->bytes, sizeof storage_bytes);
    assert_memory_equal(t->data, storage_bytes, sizeof storage_bytes);
    sd_pickle_close(&opened);
}

/* 64-bit sizes, padded local headers, a comment at the end, entries that nothing asks for. */
static void every_form_of_archive_is_read(void **state) {
    (void)state;
    for (size_t padding = 0; padding < 70; padding += 23)
        for (int extended = 0; extended < 2; extended++) {
            archive a = good_archive(extended, padding);
            assert_good(&a.bytes);
            size_t comment = 65535;
            a.bytes.text[a.bytes.size - 2] = a.bytes.text[a.bytes.size - 1] = (char)0xFF;
            while (comment--)
                sd_str_append(&a.bytes, "c");
            assert_good(&a.bytes);
            sd_str_clear(&a.bytes);
        }
    archive a = {0};
    add_entry(&a, "old model.v2/version", "3\n", 2);
    add_entry(&a, "old model.v2/data/0", storage_bytes, sizeof storage_bytes);
    add_entry(&a, "old model.v2/byteorder", "little", 6);
    add_entry(&a, "old model.v2/", "", 0);
    add_entry(&a, "readme", "?", 1);
    add_entry(&a, "old model.v2/data.pkl", good, sizeof good - 1);
    finish(&a);
    assert_good(&a.bytes);
    sd_str_clear(&a.bytes);
}

typedef struct wrong_entries {
    sd_status status;
    const char *message, *names[3], *data[3];
} wrong_entries;

static void wrong_entries_are_explained(void **state) {
    static const wrong_entries rows[] = {
        {SD_E_FORMAT,
         "m: expected an archive that torch.save wrote, found a zip archive without FOLDER/data.pkl",
         {"data.pkl", "a/b/data.pkl", "a/data.pkl2"},
         {"", "", ""}},
        {SD_E_FORMAT,
         "m: expected one data.pkl in the zip archive, found 'a/data.pkl' and 'b/data.pkl'",
         {"b/data.pkl", "a/data.pkl"},
         {"", ""}},
        {SD_E_FORMAT,
         "m: zip entry 'a/data/0' is there twice",
         {"a/data/0", "a/data.pkl", "a/data/0"},
         {"x", "", "y"}},
        {SD_E_UNSUPPORTED,
         "m: expected an archive that torch.save wrote, found a TorchScript program",
         {"a/data.pkl", "a/constants.pkl"},
         {"", ""}},
        {SD_E_UNSUPPORTED,
         "m: expected the byte order little, found another one",
         {"a/data.pkl", "a/byteorder"},
         {"", "big"}},
        {SD_E_FORMAT,
         "m: a/data.pkl: byte 0: expected the beginning of a pickle of protocol 2 to 5",
         {"a/data.pkl"},
         {"PK\3\4"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        archive a = {0};
        for (size_t k = 0; k < 3 && rows[i].names[k]; k++)
            add_entry(&a, rows[i].names[k], rows[i].data[k], strlen(rows[i].data[k]));
        finish(&a);
        assert_refused(&a.bytes, rows[i].status, rows[i].message);
        sd_str_clear(&a.bytes);
    }
}

static void a_cut_archive_is_explained(void **state) {
    archive a = good_archive(false, 0);
    (void)state;
    while (a.bytes.size-- > 4)
        assert_refused(&a.bytes, SD_E_FORMAT,
                       "m: the zip archive has no end: the file is cut short or damaged");
    sd_str_clear(&a.bytes);
    sd_str_append_bytes(&a.bytes, "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    assert_refused(
        &a.bytes, SD_E_FORMAT,
        "m: expected an archive that torch.save wrote, found a zip archive without FOLDER/data.pkl");
    sd_str_clear(&a.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_archives_are_explained),
        cmocka_unit_test(every_form_of_archive_is_read),
        cmocka_unit_test(wrong_entries_are_explained),
        cmocka_unit_test(a_cut_archive_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
