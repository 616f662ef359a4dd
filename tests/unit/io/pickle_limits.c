/* Pickles that are small and would grow: what is built twice is written once and referred to. */
#include "tests/unit/io/pickle_build.h"

#define ANY_TENSOR TENSOR(STORAGE("K\4"), "K\0", ")", ")")

static void assert_pickle(sd_str *pickle, sd_status status, const char *message) {
    archive a = {0};
    assert_false(pickle->failed);
    add_pickle(&a, pickle->text, pickle->size);
    finish(&a);
    if (status)
        assert_refused(&a.bytes, status, message);
    else {
        sd_pickle *file;
        sd_error err;
        if (sd_pickle_parse("m", a.bytes.text, a.bytes.size, &file, &err))
            fail_msg("%s", err.message);
        assert_string_equal(sd_pickle_count(file) ? sd_pickle_at(file, 0)->name : "", message);
        sd_pickle_close(&file);
    }
    sd_str_clear(&a.bytes);
    sd_str_clear(pickle);
}

/* A tensor below `levels` lists. */
static sd_str nested(size_t levels) {
    sd_str p = {0};
    LITERAL(&p, P);
    for (size_t i = 0; i < levels; i++)
        LITERAL(&p, "]");
    LITERAL(&p, ANY_TENSOR);
    for (size_t i = 0; i < levels; i++)
        LITERAL(&p, "a");
    LITERAL(&p, ".");
    return p;
}

static void depth_is_limited(void **state) {
    char name[2 * SD_PICKLE_DEPTH];
    (void)state;
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 ? '.' : '0';
    name[sizeof name - 1] = 0;
    sd_str deep = nested(SD_PICKLE_DEPTH), deeper = nested(SD_PICKLE_DEPTH + 1), bottomless = nested(100000);
    assert_pickle(&deep, SD_OK, name);
    assert_pickle(&deeper, SD_E_UNSUPPORTED, "m: lists and dicts nested deeper than 64 levels");
    assert_pickle(&bottomless, SD_E_UNSUPPORTED, "m: lists and dicts nested deeper than 64 levels");
    /* 40 levels that are measured first, below 40 others */
    sd_str p = {0};
    LITERAL(&p, P "](");
    for (int i = 0; i < 40; i++)
        LITERAL(&p, "]");
    for (int i = 0; i < 39; i++)
        LITERAL(&p, "a");
    LITERAL(&p, "q\0");
    for (int i = 0; i < 40; i++)
        LITERAL(&p, "]");
    LITERAL(&p, "h\0");
    for (int i = 0; i < 40; i++)
        LITERAL(&p, "a");
    LITERAL(&p, "e.");
    assert_pickle(&p, SD_E_UNSUPPORTED, "m: lists and dicts nested deeper than 64 levels");
}

/* Each list holds the one below twice: 2^60 tensors in 400 bytes. */
static void a_tree_may_not_multiply(void **state) {
    sd_str p = {0};
    (void)state;
    LITERAL(&p, P ANY_TENSOR "q\0");
    for (int i = 0; i < 60; i++)
        LITERAL(&p, "0]h\0a"
                    "h\0aq\0");
    LITERAL(&p, ".");
    assert_pickle(&p, SD_E_FORMAT,
                  "m: refers to the same lists and dicts more often than a pickle of its size needs to");
}

static void copies_of_values_are_limited(void **state) {
    sd_str dicts = {0}, bytes = {0};
    (void)state;
    LITERAL(&dicts, P "ccollections\nOrderedDict\nq\0](NN\x86q\2");
    for (int i = 0; i < 99; i++)
        LITERAL(&dicts, "h\2");
    LITERAL(&dicts, "e\x85q\1");
    for (int i = 0; i < 20; i++)
        LITERAL(&dicts, "h\0h\1R");
    LITERAL(&dicts, ".");
    assert_pickle(
        &dicts, SD_E_FORMAT,
        "m: a/data.pkl: byte 257: copies its values more often than a pickle of this size needs to");
    LITERAL(&bytes, P "c_codecs\nencode\nq\0(X\0\1\0\0");
    for (int i = 0; i < 256; i++)
        LITERAL(&bytes, "x");
    LITERAL(&bytes, TEXT("\6", "latin1") "tq\1h\0h\1Rh\0h\1Rh\0h\1R.");
    assert_pickle(
        &bytes, SD_E_FORMAT,
        "m: a/data.pkl: byte 305: copies its values more often than a pickle of this size needs to");
}

/* Transposed views of one storage, each as large as it. */
static void copies_of_views_are_limited(void **state) {
    enum { side = 64, views = 5 };
    static const char data[side * side * 4];
    sd_str p = {0};
    archive a = {0};
    (void)state;
    LITERAL(&p,
            P "](ctorch._utils\n_rebuild_tensor\n(" STORAGE("M\0\x10") "K\0K\x40K\x40\x86K\1K\x40\x86tRq\1");
    for (int i = 1; i < views; i++)
        LITERAL(&p, "h\1");
    LITERAL(&p, "e.");
    add_entry(&a, "a/data.pkl", p.text, p.size);
    add_entry(&a, "a/data/0", data, sizeof data);
    finish(&a);
    assert_refused(&a.bytes, SD_E_UNSUPPORTED,
                   "m: tensor '1': copies of its views would be larger than the file");
    sd_str_clear(&a.bytes);
    sd_str_clear(&p);
}

static void names_are_limited(void **state) {
    (void)state;
    for (uint32_t length = SD_PICKLE_NAME - 1; length <= SD_PICKLE_NAME + 1; length++) {
        sd_str p = {0};
        char name[SD_PICKLE_NAME + 2] = {0};
        memset(name, 'n', length);
        LITERAL(&p, P "}X");
        put(&p, length, 4);
        sd_str_append(&p, name);
        LITERAL(&p, ANY_TENSOR "s.");
        if (length <= SD_PICKLE_NAME)
            assert_pickle(&p, SD_OK, name);
        else
            assert_pickle(
                &p, SD_E_FORMAT,
                "m: expected names of at most 512 bytes of UTF-8 without NUL, found a tensor with another");
    }
}

static void tensors_are_limited(void **state) {
    (void)state;
    for (int32_t count = SD_PICKLE_TENSORS; count <= SD_PICKLE_TENSORS + 1; count++) {
        sd_str p = {0};
        LITERAL(&p, P "](" ANY_TENSOR "q\1");
        for (int32_t i = 1; i < count; i++)
            LITERAL(&p, "h\1");
        LITERAL(&p, "e.");
        assert_pickle(&p, count > SD_PICKLE_TENSORS ? SD_E_UNSUPPORTED : SD_OK,
                      count > SD_PICKLE_TENSORS ? "m: expected at most 65536 tensors, found 65537" : "0");
    }
}

/* In an archive the size is known; in the older form the file goes on. */
static void pickles_are_limited(void **state) {
    (void)state;
    sd_str nones = {0}, text = {0};
    LITERAL(&nones, P);
    while (nones.size <= SD_PICKLE_BYTES)
        LITERAL(&nones, "N0N0N0N0");
    sd_str_append_bytes(&text, nones.text, nones.size);
    assert_pickle(&nones, SD_E_UNSUPPORTED,
                  "m: a/data.pkl: expected a pickle of at most 8388608 bytes, found 8388610");
    sd_str file = {0};
    LITERAL(&file, P "\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
    sd_str_append_bytes(&file, text.text, text.size);
    assert_refused(&file, SD_E_UNSUPPORTED, "m: byte 8388623: expected a pickle of at most 8388608 bytes");
    sd_str_clear(&file);
    sd_str_clear(&text);
}

/* Values that are referred to very often are not read anew each time: this takes seconds where they are. */
static void long_values_may_be_shared(void **state) {
    enum { length = 1 << 20, times = 1 << 17 };
    sd_str p = {0};
    (void)state;
    LITERAL(&p, P "}X");
    put(&p, length, 4);
    for (int i = 0; i < length / 16; i++)
        LITERAL(&p, "0123456789abcdef");
    LITERAL(&p, "q\1"
                "0(");
    for (int i = 0; i < times; i++)
        LITERAL(&p, "h\1h\1");
    LITERAL(&p, "u.");
    assert_pickle(&p, SD_OK, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(a_tree_may_not_multiply),
        cmocka_unit_test(copies_of_values_are_limited),
        cmocka_unit_test(copies_of_views_are_limited),
        cmocka_unit_test(names_are_limited),
        cmocka_unit_test(tensors_are_limited),
        cmocka_unit_test(pickles_are_limited),
        cmocka_unit_test(long_values_may_be_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
