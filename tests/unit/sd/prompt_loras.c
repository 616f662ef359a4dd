/* LoRAs in prompts: merged for their request beside the model's own set, and gone with the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sd/sd.h"

#define SAMPLES SDVK_SOURCE_DIR "/samples"
#define MOCKUP SAMPLES "/mockup"
#define ACME SAMPLES "/loras/acme.safetensors"
#define TEXT "an acme red mug"

enum { side = 64 };

struct picture {
    uint8_t pixels[side * side * 3];
};

static char warning[512];

static void note(void *user, sd_log_level level, const char *text) {
    (void)user;
    if (level == SD_LOG_WARNING)
        snprintf(warning, sizeof warning, "%s", text);
}

static int open_context(void **state) {
    sd_error err;
    const sd_context_options options = {
        .cache_dir = "", .models = SAMPLES, .log = {note, NULL, SD_LOG_WARNING}};
    if (!sd_context_create((sd_context **)state, &options, &err))
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static int close_context(void **state) {
    sd_context_destroy((sd_context **)state);
    return 0;
}

static sd_model *open_model(sd_context *context, const sd_lora_use *uses, size_t count) {
    sd_model *model;
    sd_error err;
    if (sd_model_open(&model, context, MOCKUP, &(sd_model_options){.loras = uses, .lora_count = count}, &err))
        fail_msg("%s", err.message);
    return model;
}

static sd_params params_of(const char *prompt) {
    return (sd_params){
        .prompt = prompt, .width = side, .height = side, .steps = 2, .seed = 5, .cfg_scale = 4};
}

static struct picture render_params(sd_model *model, const sd_params *params) {
    struct picture out;
    sd_outputs *outputs;
    sd_error err;
    if (sd_generate(model, params, &outputs, &err))
        fail_msg("%s", err.message);
    memcpy(out.pixels, outputs->items[0].picture.pixels, sizeof out.pixels);
    sd_outputs_free(&outputs);
    return out;
}

static struct picture render(sd_model *model, const char *prompt) {
    const sd_params params = params_of(prompt);
    return render_params(model, &params);
}

static struct picture fresh(sd_context *context, float unet, float text) {
    const sd_lora_use use = {ACME, unet, text, NULL};
    sd_model *model = open_model(context, &use, 1);
    struct picture out = render(model, TEXT);
    sd_model_close(&model);
    return out;
}

static bool equal(const struct picture *a, const struct picture *b) {
    return !memcmp(a->pixels, b->pixels, sizeof a->pixels);
}

static void a_tag_is_a_lora_for_one_request(void **state) {
    struct picture half = fresh(*state, 0.5f, 0.5f), mixed = fresh(*state, 0.5f, 0.25f);
    sd_model *model = open_model(*state, NULL, 0);
    sd_lora_info info;
    struct picture without = render(model, TEXT), now = render(model, TEXT "<lora:acme:0.5>");
    assert_true(equal(&now, &half));
    assert_false(equal(&now, &without));
    assert_true(sd_model_lora(model, 0, &info) && info.in_prompt && info.unet == 0.5f);
    now = render(model, TEXT);
    assert_true(equal(&now, &without));
    assert_false(sd_model_lora(model, 0, &info));
    now = render(model, "<lora:acme:0.5:0.25>" TEXT);
    assert_true(equal(&now, &mixed));
    now = render(model, TEXT "<lora:acme:0>");
    assert_true(equal(&now, &without));
    sd_model_close(&model);
}

/* Beside the model's own, which stays when the tag goes. */
static void beside_the_models_set(void **state) {
    const sd_lora_use quarter = {"acme", 0.25f, 0.25f, NULL}, two[] = {quarter, {ACME, 0.5f, 0.5f, NULL}};
    sd_model *both = open_model(*state, two, 2), *model = open_model(*state, &quarter, 1);
    struct picture sum = render(both, TEXT), alone = render(model, TEXT);
    struct picture now = render(model, TEXT "<lora:acme:0.5>");
    sd_lora_info info;
    sd_error err;
    assert_true(equal(&now, &sum));
    assert_true(sd_model_lora(model, 0, &info) && !info.in_prompt && info.unet == 0.25f);
    assert_true(sd_model_lora(model, 1, &info) && info.in_prompt && info.unet == 0.5f);
    now = render(model, TEXT);
    assert_true(equal(&now, &alone));
    /* A request's own set replaces the model's. */
    sd_params params = params_of(TEXT "<lora:acme:0.25>");
    params.loras = &two[1];
    params.lora_count = 1;
    now = render_params(model, &params);
    struct picture half = fresh(*state, 0.5f, 0.5f);
    assert_false(equal(&now, &half));
    now = render(model, TEXT);
    assert_true(equal(&now, &half));
    assert_int_equal(sd_model_set_loras(model, &quarter, 1, false, &err), SD_OK);
    now = render(model, TEXT);
    assert_true(equal(&now, &alone));
    sd_model_close(&model);
    sd_model_close(&both);
}

static void refuse(sd_model *model, const char *prompt, sd_status want, const char *message) {
    const sd_params params = params_of(prompt);
    sd_outputs *outputs;
    sd_error err;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), want);
    assert_string_equal(err.message, message);
}

static void refused_tags_change_nothing(void **state) {
    const sd_lora_use quarter = {"acme", 0.25f, 0.25f, NULL};
    sd_model *model = open_model(*state, &quarter, 1);
    struct picture before = render(model, TEXT);
    refuse(model, "é <lora:acne:1>", SD_E_NOT_FOUND,
           "prompt: column 3: 'acne': no LoRA of this name in " SAMPLES "/loras; did you mean 'acme'?");
    refuse(model, "<lora:acme:1> <lora:acme:x>", SD_E_ARGUMENT,
           "prompt: column 15: <lora:acme>: expected at most two numbers (UNet, text encoders), unet=, te= "
           "or lbw=, "
           "found 'x'");
    refuse(model, "<lora:acme:1:lbw=1,2>", SD_E_ARGUMENT,
           "prompt: column 1: block weights: expected 12, 17, 20 or 26 numbers, found 2");
    refuse(model, "<lora:" MOCKUP "/vae:1>", SD_E_NOT_FOUND,
           "prompt: column 1: '" MOCKUP "/vae': no LoRA of this name among the 2 in " SAMPLES "/loras");
    struct picture now = render(model, TEXT);
    assert_true(equal(&now, &before));
    sd_model_close(&model);
}

static void lenient_requests_pass_unknown_names(void **state) {
    sd_model *model = open_model(*state, NULL, 0);
    struct picture without = render(model, TEXT);
    sd_params params = params_of(TEXT "<lora:acne:1>");
    params.lenient = true;
    *warning = 0;
    struct picture now = render_params(model, &params);
    assert_true(equal(&now, &without));
    assert_string_equal(warning, "prompt: column 16: 'acne': no LoRA of this name in " SAMPLES
                                 "/loras; did you mean 'acme'?; the tag is ignored");
    sd_model_close(&model);
}

/* A1111 reads them as words. */
static void negative_tags_are_words(void **state) {
    sd_model *model = open_model(*state, NULL, 0);
    sd_params params = params_of(TEXT);
    params.negative_prompt = "blurry <lora:acme:1>";
    sd_lora_info info;
    *warning = 0;
    struct picture with = render_params(model, &params);
    assert_false(sd_model_lora(model, 0, &info));
    assert_string_equal(warning,
                        "negative_prompt: column 8: a LoRA works on the whole picture, so that its tag "
                        "belongs into the prompt; here it is read as text");
    params.negative_prompt = "blurry ";
    struct picture without = render_params(model, &params);
    assert_false(equal(&with, &without));
    sd_model_close(&model);
}

static double number_of(const cJSON *item, const char *name) {
    const cJSON *value = cJSON_GetObjectItem(item, name);
    assert_true(cJSON_IsNumber(value));
    return value->valuedouble;
}

/* acme's SHA-256, and the SHA-256 of the bytes behind its header. */
static const char whole_hash[] = "33f35e25f837c918caf2f70391ec96ed8ba3fb6f6445b5d456d068244ba94ce0";
#define LIST "1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"

static void metadata(void **state) {
    const sd_lora_use quarter = {ACME, 0.3f, 0.25f, LIST};
    sd_model *model = open_model(*state, &quarter, 1);
    const sd_params params = params_of("x<lora:Acme:0.8>");
    sd_outputs *outputs;
    sd_error err;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    /* One entry for each name that was used. */
    assert_non_null(
        strstr(outputs->items[0].infotext, ", Lora hashes: \"acme: 063576c6cbcf, Acme: 063576c6cbcf\", "));
    assert_int_equal(strncmp(outputs->items[0].infotext, "x<lora:Acme:0.8>\n", 17), 0);
    cJSON *record = cJSON_Parse(outputs->items[0].json), *list = cJSON_GetObjectItem(record, "loras");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    for (int i = 0; i < 2; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i), *blocks = cJSON_GetObjectItem(item, "blocks");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "name")), i ? "Acme" : "acme");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "file")), "acme.safetensors");
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(item, "sha256")), whole_hash);
        assert_true(number_of(item, "unet") == (i ? 0.8 : 0.3) &&
                    number_of(item, "text") == (i ? 0.8 : 0.25));
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(item, "in_prompt")), i);
        assert_true(i ? !blocks : !strcmp(cJSON_GetStringValue(blocks), LIST));
    }
    cJSON_Delete(record);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
}

static void names_need_a_folder(void **state) {
    sd_context *context;
    sd_error err;
    (void)state;
    assert_int_equal(sd_context_create(&context, &(sd_context_options){.cache_dir = ""}, &err), SD_OK);
    sd_model *model = open_model(context, NULL, 0);
    refuse(model, "<lora:acme>", SD_E_NOT_FOUND,
           "prompt: column 1: 'acme': LoRAs have no names, as no model folder is given (--models DIR)");
    sd_model_close(&model);
    sd_context_destroy(&context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tag_is_a_lora_for_one_request),
        cmocka_unit_test(beside_the_models_set),
        cmocka_unit_test(refused_tags_change_nothing),
        cmocka_unit_test(lenient_requests_pass_unknown_names),
        cmocka_unit_test(negative_tags_are_words),
        cmocka_unit_test(metadata),
        cmocka_unit_test(names_need_a_folder),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
