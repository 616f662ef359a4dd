#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/infotext.h"

#include <stdio.h>
#include <string.h>

static void the_text_is_a1111s(void **state) {
    (void)state;
    const sd_infotext_field extra[] = {{"Lora hashes", "acme: 0123456789ab"}, {"Clip skip", "2"}};
    const sd_infotext_params params = {.prompt = "a red mug, on a table",
                                       .negative = "blurry",
                                       .steps = 20,
                                       .sampler = "Euler a",
                                       .schedule = "Karras",
                                       .cfg_scale = 7.1,
                                       .seed = 18446744073709551615u,
                                       .width = 512,
                                       .height = 768,
                                       .model_hash = "6ce0161689",
                                       .model = "v1-5",
                                       .extra = extra,
                                       .extra_count = 2,
                                       .version = "sdvk 0.1.0"};
    sd_str out = {0};
    sd_infotext_write(&out, &params);
    assert_string_equal(
        out.text,
        "a red mug, on a table\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Schedule type: "
        "Karras, CFG scale: 7.1, Seed: 18446744073709551615, Size: 512x768, Model hash: 6ce0161689, "
        "Model: v1-5, Lora hashes: \"acme: 0123456789ab\", Clip skip: 2, Version: sdvk 0.1.0");
    sd_str_clear(&out);
    sd_infotext_write(&out, &(sd_infotext_params){.prompt = "x", .steps = 1, .cfg_scale = 7});
    assert_string_equal(out.text, "x\nSteps: 1, CFG scale: 7, Seed: 0");
    sd_str_clear(&out);
}

typedef struct row {
    const char *text, *prompt, *negative, *fields; /* fields as "key=value|" each */
} row;

static const row rows[] = {
    {"", "", "", ""},
    {"just a prompt", "just a prompt", "", ""},
    {"a cat: very, fluffy: yes", "a cat: very, fluffy: yes", "", ""},
    {"a\r\nb\r\nNegative prompt: c\r\nd\r\nSteps: 1, Sampler: Euler, Seed: 3\r\n", "a\nb", "c\nd",
     "Steps=1|Sampler=Euler|Seed=3|"},
    {"Steps: 1, Sampler: Euler, Seed: 3", "", "", "Steps=1|Sampler=Euler|Seed=3|"},
    {"Negative prompt: n\nSteps: 1, Sampler: Euler, Seed: 3", "", "n", "Steps=1|Sampler=Euler|Seed=3|"},
    {"Negative prompt:n", "", "n", ""},
    /* A1111 with quoted values and an escaped line break */
    {"masterpiece\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 1, Size: "
     "512x512, "
     "Lora hashes: \"a: 1, b: 2\", ControlNet 0: \"Module: canny, Model: c, Weight: 1.0\", Note: \"x\\ny "
     "\\\"z\\\"\", "
     "TI hashes: \"\", Version: v1.10.1",
     "masterpiece", "",
     "Steps=20|Sampler=DPM++ 2M|Schedule type=Karras|CFG scale=5.5|Seed=1|Size=512x512|Lora hashes=a: 1, b: "
     "2|"
     "ControlNet 0=Module: canny, Model: c, Weight: 1.0|Note=x\ny \"z\"|TI hashes=|Version=v1.10.1|"},
    /* Forge */
    {"p\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 7, "
     "Size: 896x1152, Model hash: c161224931, Model: flux1-dev, Version: "
     "f2.0.1v1.10.1-previous-313-g8a042934, "
     "Module 1: ae, Module 2: clip_l",
     "p", "",
     "Steps=20|Sampler=Euler|Schedule type=Simple|CFG scale=1|Distilled CFG Scale=3.5|Seed=7|Size=896x1152|"
     "Model hash=c161224931|Model=flux1-dev|Version=f2.0.1v1.10.1-previous-313-g8a042934|Module 1=ae|"
     "Module 2=clip_l|"},
    /* SD.Next */
    {"p\nNegative prompt: n\nSteps: 20, Size: 1024x1024, Sampler: Euler a, Seed: 5, CFG scale: 6, App: "
     "SD.Next, "
     "Version: 1b1b2ff, Pipeline: StableDiffusionXLPipeline, Operations: txt2img, Model: m, Model hash: "
     "31e35c80fc",
     "p", "n",
     "Steps=20|Size=1024x1024|Sampler=Euler a|Seed=5|CFG scale=6|App=SD.Next|Version=1b1b2ff|"
     "Pipeline=StableDiffusionXLPipeline|Operations=txt2img|Model=m|Model hash=31e35c80fc|"},
    /* an extension's lines after the fields */
    {"p\nSteps: 2, Sampler: x, Seed: 3\nTemplate: {a|b}, c: d\nNegative Template: e", "p", "",
     "Steps=2|Sampler=x|Seed=3|Template={a|b}, c: d|Negative Template=e|"},
    /* damage: a quote that does not end, a comma too many, a key without value */
    {"p\nSteps: 2, Bad: \"x: y, , Sampler: z,Seed:", "p", "", "Steps=2|Bad=\"x: y|Sampler=z|Seed=|"},
    {"p\nSteps: 2, Bad: \"\\q\", Seed: 3", "p", "", "Steps=2|Bad=\"\\q\"|Seed=3|"},
};

static void known_texts_are_taken_apart(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_infotext info;
        sd_str fields = {0};
        assert_int_equal(sd_infotext_parse(rows[i].text, &info, NULL), SD_OK);
        for (size_t k = 0; k < info.count; k++)
            sd_str_printf(&fields, "%s=%s|", info.fields[k].key, info.fields[k].value);
        sd_str_append(&fields, "");
        assert_string_equal(info.prompt, rows[i].prompt);
        assert_string_equal(info.negative, rows[i].negative);
        assert_string_equal(fields.text, rows[i].fields);
        sd_str_clear(&fields);
        sd_infotext_clear(&info);
    }
}

static void lookups_and_errors(void **state) {
    (void)state;
    sd_infotext info;
    sd_error err;
    assert_int_equal(sd_infotext_parse("Steps: 1, Seed: 2, Seed: 3, Size: 4x5", &info, NULL), SD_OK);
    assert_string_equal(sd_infotext_find(&info, "Seed"), "2");
    assert_null(sd_infotext_find(&info, "seed"));
    sd_infotext_clear(&info);
    assert_int_equal(sd_infotext_parse("\xC3\x28", &info, &err), SD_E_FORMAT);
    assert_string_equal(err.message, "parameters: expected UTF-8 text");
}

static uint64_t random_state;

static unsigned random_below(unsigned n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % n;
}

/* A text of pieces that are likely to confuse the reader. */
static void random_text(char *out, bool prompt) {
    static const char *const pieces[] = {"a",  " ",  ",",      ":",      "\"",    "\\", "\n",
                                         "\t", "\1", "Steps:", "Seed: ", "\\n\"", "é",  "😀"};
    unsigned count = random_below(12), at = 0;
    for (unsigned i = 0; i < count; i++) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof *pieces)];
        memcpy(out + at, piece, strlen(piece));
        at += (unsigned)strlen(piece);
    }
    out[at] = 0;
    if (prompt && random_below(8) == 0)
        strcpy(out + at, "Negative prompt"); /* without its colon it is prompt */
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const char *const keys[] = {"Steps", "CFG scale", "Size-1", "a/b", "ControlNet 0", "Clé"};
    random_state = 42;
    for (int round = 0; round < 20000; round++) {
        char prompt[128], negative[128], values[6][128];
        sd_infotext_field fields[6];
        sd_infotext info;
        sd_str text = {0};
        random_text(prompt, true);
        random_text(negative, false);
        for (int i = 0; i < 6; i++) {
            random_text(values[i], false);
            fields[i] = (sd_infotext_field){keys[i], values[i]};
        }
        sd_infotext_format(&text, prompt, negative, fields, 6);
        assert_false(text.failed);
        assert_int_equal(sd_infotext_parse(text.text, &info, NULL), SD_OK);
        assert_string_equal(info.prompt, prompt);
        assert_string_equal(info.negative, negative);
        assert_int_equal(info.count, 6);
        for (int i = 0; i < 6; i++) {
            assert_string_equal(info.fields[i].key, keys[i]);
            assert_string_equal(info.fields[i].value, values[i]);
        }
        sd_infotext_clear(&info);
        sd_str_clear(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_a1111s),
        cmocka_unit_test(known_texts_are_taken_apart),
        cmocka_unit_test(lookups_and_errors),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
