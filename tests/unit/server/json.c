/* Base64 and JSON as requests bring them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/json.h"

/* Every length, with and without padding, with line ends, and behind a data URL's head. */
static void base64_goes_there_and_back(void **state) {
    (void)state;
    for (size_t n = 0; n < 50; n++) {
        uint8_t data[50];
        char broken[256] = "data:image/png;base64,";
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)(i * 37 + n);
        char *text = base64_encode(data, n);
        size_t head = strlen(broken);
        for (size_t i = 0; text[i]; i++) {
            broken[head++] = text[i];
            if (i % 10 == 9)
                broken[head++] = '\n';
        }
        broken[head] = 0;
        for (int form = 0; form < 3; form++) {
            size_t size;
            if (form == 2)
                text[strcspn(text, "=")] = 0;
            uint8_t *back = base64_decode(form == 1 ? broken : text, &size);
            assert_non_null(back);
            assert_int_equal(size, n);
            assert_memory_equal(back, data, n);
            free(back);
        }
        free(text);
    }
}

static void other_characters_are_no_base64(void **state) {
    static const char *const bad[] = {"a", "abcde", "a*bc", "ab=c", "abc===", "ab\xC3\xA4", "aGVs-_8="};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t size;
        assert_null(base64_decode(bad[i], &size));
    }
}

static void json_is_one_value(void **state) {
    static const char *const bad[] = {"", "{", "{} {}", "[1,]", "nul", "{\"a\":1}x"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(json_parse(bad[i], strlen(bad[i])));
    assert_null(json_parse("{\"a\":\"b\0\"}", 10));
    cJSON *value = json_parse(" {\"a\": 1, \"b\": null}\n", 21);
    assert_non_null(value);
    assert_true(json_number(value, "a", 0) == 1);
    assert_null(json_get(value, "b"));
    assert_string_equal(json_text(value, "a", "none"), "none");
    cJSON_Delete(value);
}

/* cJSON alone would take the rest of such a string away in silence. */
static void a_nul_in_a_string_is_refused(void **state) {
    static const char *const bad[] = {"\"\\u0000\"", "{\"a\\u0000b\":1}", "[\"a\\\\\\u0000b\"]"},
                             *const broken[] = {"\"a\\uZZZZb\"", "\"\\u000\"", "\"\\u000g\"", "\"\\u 000\""},
                             *const good[] = {"\"a\\\\u0000b\"", "\"\\u0001\"", "\"\\uD83D\\uDE00\"",
                                              "\"u0000\"", "\"\\u1000\""};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(json_parse(bad[i], strlen(bad[i])));
        assert_string_equal(json_found(bad[i], strlen(bad[i])), ", found U+0000 in a string");
    }
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_null(json_parse(broken[i], strlen(broken[i])));
        assert_string_equal(json_found(broken[i], strlen(broken[i])), "");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cJSON *value = json_parse(good[i], strlen(good[i]));
        assert_true(cJSON_IsString(value) && *value->valuestring);
        assert_string_equal(json_found(good[i], strlen(good[i])), "");
        cJSON_Delete(value);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_goes_there_and_back),
        cmocka_unit_test(other_characters_are_no_base64),
        cmocka_unit_test(json_is_one_value),
        cmocka_unit_test(a_nul_in_a_string_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
