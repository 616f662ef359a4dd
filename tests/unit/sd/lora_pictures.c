/* Whole pictures with adapters against those of the libraries that own the formats (tests/golden/loras.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sd/io/file.h"
#include "sd/latent.h"
#include "tests/unit/sd/psnr.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"
#define SAMPLES SDVK_SOURCE_DIR "/samples/"

struct setting {
    sd_context *context;
    sd_model *model;
    char path[512]; /* of the model */
    cJSON *index, *pictures;
    sd_safetensors *latents;
};

static cJSON *read_json(const char *path) {
    sd_bytes text;
    sd_error err;
    if (sd_file_read(path, 0, &text, &err))
        fail_msg("%s", err.message);
    cJSON *json = cJSON_Parse((const char *)text.data);
    sd_bytes_clear(&text);
    assert_true(cJSON_IsArray(json));
    return json;
}

static int begin(void **state) {
    static struct setting s;
    sd_error err;
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    if (sd_context_create(&s.context, &options, &err) ||
        sd_safetensors_open(GOLDEN "loras/pictures.safetensors", &s.latents, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    s.index = read_json(GOLDEN "loras/index.json");
    s.pictures = read_json(GOLDEN "loras/pictures.json");
    *state = &s;
    return 0;
}

static int end(void **state) {
    struct setting *s = *state;
    sd_model_close(&s->model);
    sd_context_destroy(&s->context);
    sd_safetensors_close(&s->latents);
    cJSON_Delete(s->index);
    cJSON_Delete(s->pictures);
    return 0;
}

static sd_model *model_at(struct setting *s, const char *path) {
    sd_error err;
    if (s->model && !strcmp(s->path, path))
        return s->model;
    sd_model_close(&s->model);
    snprintf(s->path, sizeof s->path, "%s", path);
    const sd_model_options options = {.precision = SD_PRECISION_F32};
    if (sd_model_open(&s->model, s->context, path, &options, &err))
        fail_msg("%s", err.message);
    return s->model;
}

static const char *text_of(const cJSON *item, const char *name) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(item, name));
    if (!text)
        fail_msg("%s is missing", name);
    return text;
}

static double number_of(const cJSON *item, const char *name) {
    assert_true(cJSON_IsNumber(cJSON_GetObjectItem(item, name)));
    return cJSON_GetObjectItem(item, name)->valuedouble;
}

static bool is_sample(const cJSON *picture) {
    return !strcmp(text_of(picture, "model"), "mockup");
}

/* The index's entry that a picture was made with. */
static const cJSON *entry_of(const struct setting *s, const char *name) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, s->index) if (!strcmp(text_of(entry, "name"), name)) return entry;
    fail_msg("%s is not in the index", name);
    return NULL;
}

struct request {
    sd_params params;
    sd_lora_use use;
    char model[512], lora[512];
};

static void read_request(struct request *r, const struct setting *s, const cJSON *picture) {
    float strength = (float)number_of(picture, "strength");
    *r = (struct request){.params = {.prompt = text_of(picture, "prompt"),
                                     .negative_prompt = text_of(picture, "negative"),
                                     .width = (uint32_t)number_of(picture, "width"),
                                     .height = (uint32_t)number_of(picture, "height"),
                                     .steps = (uint32_t)number_of(picture, "steps"),
                                     .cfg_scale = (float)number_of(picture, "cfg"),
                                     .sampler = text_of(picture, "sampler"),
                                     .seed = (int64_t)number_of(picture, "seed"),
                                     .lora_count = 1}};
    if (is_sample(picture)) {
        snprintf(r->model, sizeof r->model, SAMPLES "mockup");
        snprintf(r->lora, sizeof r->lora, SAMPLES "loras/acme.safetensors");
    } else {
        const cJSON *entry = entry_of(s, text_of(picture, "lora"));
        snprintf(r->model, sizeof r->model, GOLDEN "%s", text_of(picture, "model"));
        snprintf(r->lora, sizeof r->lora, GOLDEN "loras/%s", text_of(entry, "adapter"));
        r->params.lenient = cJSON_GetArraySize(cJSON_GetObjectItem(entry, "unmatched")) > 0;
    }
    r->use = (sd_lora_use){.path = r->lora, .unet = strength, .text = strength};
    r->params.loras = &r->use;
}

/* As the same pictures without adapters: f32 on both sides, sums in other orders, four steps or twenty. */
static const double least = 60;

static void latents_are_the_libraries(void **state) {
    struct setting *s = *state;
    const cJSON *picture;
    uint32_t checked = 0;
    cJSON_ArrayForEach(picture, s->pictures) {
        struct request r;
        char tensor[128];
        float *latents;
        size_t values;
        sd_error err;
        if (is_sample(picture))
            continue;
        read_request(&r, s, picture);
        if (sd_generate_latents(model_at(s, r.model), &r.params, &latents, &values, &err))
            fail_msg("%s", err.message);
        snprintf(tensor, sizeof tensor, "%s.latent", text_of(picture, "name"));
        check_latent(s->latents, tensor, latents, values, least);
        free(latents);
        checked++;
    }
    assert_true(checked >= (uint32_t)cJSON_GetArraySize(s->index));
}

/* Every adapter of the index has a picture. */
static void none_is_left_out(void **state) {
    struct setting *s = *state;
    const cJSON *entry, *picture;
    cJSON_ArrayForEach(entry, s->index) {
        bool found = false;
        cJSON_ArrayForEach(picture, s->pictures) found =
            found || !strcmp(text_of(picture, "lora"), text_of(entry, "name"));
        if (!found)
            fail_msg("%s has no picture", text_of(entry, "name"));
    }
}

static void pictures_of_the_sample(void **state) {
    struct setting *s = *state;
    const cJSON *picture;
    uint32_t checked = 0;
    cJSON_ArrayForEach(picture, s->pictures) {
        struct request r;
        char path[512];
        sd_image want = {0};
        sd_outputs *outputs = NULL;
        sd_error err;
        if (!is_sample(picture))
            continue;
        read_request(&r, s, picture);
        snprintf(path, sizeof path, GOLDEN "loras/%s", text_of(picture, "png"));
        if (sd_image_read(path, 0, &want, NULL, &err) ||
            sd_generate(model_at(s, r.model), &r.params, &outputs, &err))
            fail_msg("%s", err.message);
        check_picture(text_of(picture, "name"), &outputs->items[0].picture, &want, 45);
        sd_outputs_free(&outputs);
        sd_image_clear(&want);
        checked++;
    }
    assert_int_equal(checked, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_left_out),
        cmocka_unit_test(latents_are_the_libraries),
        cmocka_unit_test(pictures_of_the_sample),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
