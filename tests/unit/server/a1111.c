/* What A1111's face makes of texts, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/a1111.h"

static void test_strengths_of_tags(void **state) {
    static const char *const rows[][2] = {
        {"", ""},
        {"a mug", "a mug"},
        {"<lora:acme>", "<lora:acme>"},
        {"<lora:acme:0.5>", "<lora:acme:0.5>"},
        {"a <lora:acme:0.5:0.25>, b", "a <lora:acme:te=0.5:unet=0.25>, b"},
        {"<lyco:a:1:2><LORA:b:-1:.5> <lora:c:1>", "<lyco:a:te=1:unet=2><LORA:b:te=-1:unet=.5> <lora:c:1>"},
        {"<lora:acme:0.5:0.25:lbw=1,0>", "<lora:acme:te=0.5:unet=0.25:lbw=1,0>"},
        {"<lora:acme:unet=1:te=2>", "<lora:acme:unet=1:te=2>"},
        {"<lora:acme:0.5:lbw=1>", "<lora:acme:0.5:lbw=1>"},
        {"<lora:acme:0.5:0.25", "<lora:acme:0.5:0.25"},
        {"<<lora::1:2>>", "<<lora::te=1:unet=2>>"},
        {"<hypernet:x:1:2>", "<hypernet:x:1:2>"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *found = a1111_prompt(rows[i][0]);
        assert_string_equal(found, rows[i][1]);
        free(found);
    }
}

static void test_native_words(void **state) {
    static const struct {
        const char *field, *message, *want_field, *want;
    } rows[] = {
        {"strength", "strength: expected 0.01 to 1, found 2", "denoising_strength",
         "denoising_strength: expected 0.01 to 1, found 2"},
        {"sampler", "unknown sampler 'x'", "sampler_name", "unknown sampler 'x'"},
        {"", "init_image: not a picture", "init_images", "init_images: not a picture"},
        {"", "the device was lost", "", "the device was lost"},
        {"steps", "steps: expected 1 to 1000, found 0", "steps", "steps: expected 1 to 1000, found 0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct a1111_refusal r = {0};
        a1111_translate(&r, rows[i].field, rows[i].message);
        assert_int_equal(r.status, 422);
        assert_string_equal(r.field, rows[i].want_field);
        assert_string_equal(r.text, rows[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strengths_of_tags),
        cmocka_unit_test(test_native_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
