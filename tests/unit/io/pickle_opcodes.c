/* Values in forms that today's torch.save does not write, each under the key "k". */
#include "tests/unit/io/pickle_build.h"

#define VALUE(value) DICT(TEXT("\1", "k"), value)
#define ROW(value, text)                                                                                     \
    { sizeof VALUE(value) - 1, VALUE(value), "k", text }
#define UNDER(value, key, text)                                                                              \
    { sizeof VALUE(value) - 1, VALUE(value), key, text }

static const struct {
    size_t size;
    const char *pickle, *key, *text; /* NULL: left out */
} rows[] = {
    ROW("U\3abc", "abc"),
    ROW("T\3\0\0\0abc", "abc"),
    ROW("\x8c\3abc", "abc"),
    ROW("\x8d\3\0\0\0\0\0\0\0abc", "abc"),
    ROW("X\0\0\0\0", ""),
    ROW("U\1\xff", NULL),
    ROW("X\3\0\0\0a\0b", NULL),
    ROW("C\3abc", NULL),
    ROW("B\3\0\0\0abc", NULL),
    ROW("\x8e\3\0\0\0\0\0\0\0abc", NULL),
    ROW("N", NULL),
    ROW("\x88", "true"),
    ROW("\x89", "false"),
    ROW("K\xff", "255"),
    ROW("M\xff\xff", "65535"),
    ROW("J\xff\xff\xff\xff", "-1"),
    ROW("J\xff\xff\xff\x7f", "2147483647"),
    ROW("\x8a\0", "0"),
    ROW("\x8a\1\x80", "-128"),
    ROW("\x8a\2\x80\0", "128"),
    ROW("\x8a\7\xff\xff\xff\xff\xff\xff\x80", "-35747322042253313"),
    ROW("\x8a\x08\0\0\0\0\0\0\0\x80", "-9223372036854775808"),
    ROW("\x8a\x09\0\0\0\0\0\0\0\x80\0", NULL),
    ROW("\x8b\2\0\0\0\0\1", "256"),
    ROW("G\xbf\xf0\0\0\0\0\0\0", "-1"),
    ROW("G\x7f\xf0\0\0\0\0\0\0", "inf"),
    ROW("G\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e+308"),
    ROW("G\0\0\0\0\0\0\0\1", "4.94065645841247e-324"),
    ROW("K\1K\2"
        "0",
        "1"),
    ROW("K\1(K\2K\3"
        "1",
        "1"),
    ROW("K\1("
        "0",
        "1"),
    ROW("K\1r\2\0\0\0"
        "0j\2\0\0\0",
        "1"),
    ROW("K\7q\0\x94"
        "0K\x08\x94"
        "0h\2",
        "8"), /* MEMOIZE counts the places in use */
    ROW("\x8c\10builtins\x8c\4dict\x93", NULL),
    UNDER("}J\xfe\xff\xff\xffK\5s", "k.-2", "5"),
    UNDER("}" TEXT("\0", "") "K\5s", "k.", "5"),
    UNDER("}NK\5s", "k.None", NULL),
    UNDER("ccollections\nOrderedDict\n](](" TEXT("\1", "a") "K\1e" TEXT("\1", "b") "K\2\x86"
                                                                                   "e\x85R",
          "k.a", "1"),
    UNDER("ccollections\nOrderedDict\n](](" TEXT("\1", "a") "K\1e" TEXT("\1", "b") "K\2\x86"
                                                                                   "e\x85R",
          "k.b", "2"),
    UNDER("ccollections\nOrderedDict\n)R}" TEXT("\1", "a") "K\1sb", "k.a", NULL),
    UNDER("cargparse\nNamespace\n)\x81}" TEXT("\1", "a") "K\1sb", "k.a", NULL),
};

static void values_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        archive a = {0};
        sd_pickle *file;
        sd_error err;
        add_pickle(&a, rows[i].pickle, rows[i].size);
        finish(&a);
        if (sd_pickle_parse("m", a.bytes.text, a.bytes.size, &file, &err))
            fail_msg("row %zu: %s", i, err.message);
        const char *text = sd_pickle_metadata(file, rows[i].key);
        assert_string_equal(text ? text : "left out", rows[i].text ? rows[i].text : "left out");
        sd_pickle_close(&file);
        sd_str_clear(&a.bytes);
    }
}

/* Python takes the last of several values of a key. */
static void a_later_value_wins(void **state) {
    static const char pickle[] = P "}(" TEXT("\12", "state_dict") "}" TEXT("\1", "a")
        TENSOR(STORAGE("K\4"), "K\0", "K\4\x85", "K\1\x85") "s" TEXT("\12", "state_dict") "}" TEXT("\1", "b")
            TENSOR(STORAGE("K\4"), "K\0", "K\2\x85", "K\1\x85") "su.";
    archive a = {0};
    sd_pickle *file;
    sd_error err;
    (void)state;
    add_pickle(&a, pickle, sizeof pickle - 1);
    finish(&a);
    if (sd_pickle_parse("m", a.bytes.text, a.bytes.size, &file, &err))
        fail_msg("%s", err.message);
    assert_int_equal(sd_pickle_count(file), 1);
    assert_string_equal(sd_pickle_at(file, 0)->name, "b");
    assert_int_equal(sd_pickle_left_out(file), 1);
    sd_pickle_close(&file);
    sd_str_clear(&a.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(a_later_value_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
