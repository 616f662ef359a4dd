/* Tags in prompts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sd/prompt.h"

struct want {
    const char *name;
    float unet, text;
    const char *blocks;
    uint32_t column;
};

static void expect(const char *prompt, const char *text, const struct want *loras, uint32_t count) {
    struct sd_prompt p;
    sd_error err;
    if (sd_prompt_read(&p, prompt, &err))
        fail_msg("%s: %s", prompt, err.message);
    assert_string_equal(p.text, text);
    assert_int_equal(p.lora_count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct sd_prompt_lora *l = &p.loras[i];
        assert_string_equal(l->name, loras[i].name);
        assert_true(l->unet == loras[i].unet && l->text == loras[i].text);
        assert_int_equal(l->column, loras[i].column);
        if (loras[i].blocks)
            assert_string_equal(l->blocks, loras[i].blocks);
        else
            assert_null(l->blocks);
    }
    sd_prompt_clear(&p);
}

static void one(const char *prompt, const char *text, struct want lora) {
    expect(prompt, text, &lora, 1);
}

static void tags_are_taken_out(void **state) {
    (void)state;
    one("<lora:acme>", "", (struct want){"acme", 1, 1, NULL, 1});
    one("a mug <lora:acme:0.8>, red", "a mug , red", (struct want){"acme", 0.8f, 0.8f, NULL, 7});
    one("<lora:acme:0.8:0.5>", "", (struct want){"acme", 0.8f, 0.5f, NULL, 1});
    one("<lora:style/acme v2.1:-1.5:0>", "", (struct want){"style/acme v2.1", -1.5f, 0, NULL, 1});
    one("a\n<LoRA: acme : 1 >b", "a\nb", (struct want){"acme", 1, 1, NULL, 3});
    one("<lyco:acme:0.25>", "", (struct want){"acme", 0.25f, 0.25f, NULL, 1});
    one("é中😀<lora:ü:2>é", "é中😀é", (struct want){"ü", 2, 2, NULL, 4});
    expect("<lora:a:1><lora:b:2>x<lora:a:3>", "x",
           (const struct want[]){{"a", 1, 1, NULL, 1}, {"b", 2, 2, NULL, 11}, {"a", 3, 3, NULL, 22}}, 3);
}

static void values_by_name(void **state) {
    (void)state;
    one("<lora:a:te=0.5>", "", (struct want){"a", 0.5f, 0.5f, NULL, 1});
    one("<lora:a:unet=0.5>", "", (struct want){"a", 0.5f, 1, NULL, 1});
    one("<lora:a:te=0.5:unet=0.25>", "", (struct want){"a", 0.25f, 0.5f, NULL, 1});
    one("<lora:a:0.75:te=0.5>", "", (struct want){"a", 0.75f, 0.5f, NULL, 1});
    one("<lora:a:unet = 0.5 :0.75>", "", (struct want){"a", 0.5f, 0.75f, NULL, 1});
    one("<lora:a:0.5:lbw=1,0,0.5>", "", (struct want){"a", 0.5f, 0.5f, "1,0,0.5", 1});
    one("<lora:a:lbw=0,1:0.5:0.25>", "", (struct want){"a", 0.5f, 0.25f, "0,1", 1});
}

static void other_brackets_are_text(void **state) {
    static const char *const texts[] = {
        "",        "a < b > c", "<b>",           "<lora>",      "<lora acme>",  "lora:a:1",
        "<Lorax:", "<",         "x <lora",       "<loraa:a:1>", "<\x1c:lora:>", "<lyc",
        "<<>>",    "(a:1.2)",   "[a:b:0.5] AND", "a\\<b\\>"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        expect(texts[i], texts[i], NULL, 0);
        assert_int_equal(sd_prompt_lora_column(texts[i]), 0);
    }
    one("<<lora:a>>", "<>", (struct want){"a", 1, 1, NULL, 2});
}

static void refuse(const char *prompt, sd_status status, const char *message) {
    struct sd_prompt p;
    sd_error err;
    assert_int_equal(sd_prompt_read(&p, prompt, &err), status);
    assert_string_equal(err.message, message);
    assert_null(p.text);
}

static void malformed_tags(void **state) {
    static const char *const rows[][2] = {
        {"a mug <lora:acme", "prompt: column 7: expected '>' at the end of <lora:..."},
        {"ä <lora:acme:1 b", "prompt: column 3: expected '>' at the end of <lora:..."},
        {"<lora:>", "prompt: column 1: expected <lora:NAME:STRENGTH>, found no name"},
        {"x<lora: :1>", "prompt: column 2: expected <lora:NAME:STRENGTH>, found no name"},
        {"<lora:a:>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, te= or "
         "lbw=, found ''"},
        {"<lora:a:high>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, te= "
         "or lbw=, found 'high'"},
        {"<lora:a:1:2:3>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, "
         "te= or lbw=, found '3'"},
        {"<lora:a:nan>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, te= "
         "or lbw=, found 'nan'"},
        {"<lora:a:1x>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, te= "
         "or lbw=, found '1x'"},
        {"<lora:a:dyn=4>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, "
         "te= or lbw=, found 'dyn=4'"},
        {"<lora:a:te=1:te=2>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), "
         "unet=, te= or lbw=, found 'te=2'"},
        {"<lora:a:lbw=>",
         "prompt: column 1: <lora:a>: expected at most two numbers (UNet, text encoders), unet=, te= "
         "or lbw=, found 'lbw='"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuse(rows[i][0], SD_E_ARGUMENT, rows[i][1]);
    refuse("a <hypernet:x:0.5>", SD_E_UNSUPPORTED,
           "prompt: column 3: hypernetworks are not supported: <hypernet:x:0.5>");
}

static void the_first_column(void **state) {
    (void)state;
    assert_int_equal(sd_prompt_lora_column("é <lora:a"), 3);
    assert_int_equal(sd_prompt_lora_column("<b> <lyco:a:1> <lora:b>"), 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_taken_out),      cmocka_unit_test(values_by_name),
        cmocka_unit_test(other_brackets_are_text), cmocka_unit_test(malformed_tags),
        cmocka_unit_test(the_first_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
