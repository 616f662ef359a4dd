/* LoRAs of few steps: known by their names, and with the defaults that their publishers recommend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "sd/base/folders.h"
#include "sd/distilled.h"
#include "sd/io/safetensors.h"
#include "tests/unit/folder.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"

/* The names under which they are published. */
static void published_names(void **state) {
    (void)state;
    static const struct {
        const char *name, *method, *sampler, *schedule;
        uint32_t steps;
        float cfg_scale;
    } rows[] = {
        {"lcm-lora-sdv1-5", "LCM", "lcm", "lcm", 4, 1},
        {"LCM_LoRA_SDXL", "LCM", "lcm", "lcm", 4, 1},
        {"pcm_sd15_lcmlike_lora_converted", "LCM", "lcm", "lcm", 4, 1},
        {"Hyper-SD15-8steps-lora", "Hyper-SD", "ddim", "trailing", 8, 1},
        {"Hyper-SDXL-2steps-lora", "Hyper-SD", "ddim", "trailing", 2, 1},
        {"Hyper-SD15-12steps-CFG-lora", "Hyper-SD", "ddim", "trailing", 12, 5},
        {"sdxl_lightning_4step_lora", "Lightning", "euler", "sgm_uniform", 4, 1},
        {"sdxl_lightning_8step_lora", "Lightning", "euler", "sgm_uniform", 8, 1},
        {"SDXL-Lightning 2 steps", "Lightning", "euler", "sgm_uniform", 2, 1},
        {"TCD-SDXL-LoRA", "TCD", "ddim", "lcm", 4, 1},
        {"pcm_sd15_smallcfg_2step_converted", "PCM", "ddim", "trailing", 2, 1},
        {"pcm_sdxl_normalcfg_8step_converted", "PCM", "ddim", "trailing", 8, 7.5f},
        {"dmd2_sdxl_4step_lora_fp16", "DMD2", "lcm", "trailing", 4, 1},
        {"sd_xl_turbo_lora_v1", "Turbo", "euler_a", "trailing", 4, 1},
        {"SDXL-Turbo-LoRA", "Turbo", "euler_a", "trailing", 4, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sd_distilled d;
        if (!sd_distilled_named(rows[i].name, &d))
            fail_msg("%s is not known", rows[i].name);
        assert_string_equal(d.method, rows[i].method);
        assert_string_equal(d.sampler, rows[i].sampler);
        assert_string_equal(d.schedule, rows[i].schedule);
        assert_int_equal(d.steps, rows[i].steps);
        assert_true(d.cfg_scale == rows[i].cfg_scale);
    }
}

/* Words that are what is drawn, or parts of other words. */
static void other_names(void **state) {
    (void)state;
    static const char *const names[] = {
        "acme",
        "lightning_bolts_sdxl",
        "hyper-realism-sdxl",
        "hyper_detailer_8steps",
        "porsche_turbo",
        "sdxl_porsche_turbo",
        "alcmene",
        "htcd",
        "add_detail",
        "8steps",
        "lightning_0step",
        "lightning_65steps",
        "",
        "pytorch_lora_weights",
        "lightning_12x4step_lora",
        "lightning_stepmother",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sd_distilled d;
        if (sd_distilled_named(names[i], &d))
            fail_msg("%s is taken for %s", names[i], d.method);
    }
}

/* kohya_sd1 under another name, with a title where there is one. */
static const char *write_lora(const char *name, const char *key, const char *title) {
    const char *path = in_folder(name);
    const sd_file_metadata metadata = {key, title};
    sd_safetensors *file;
    sd_error err;
    if (sd_safetensors_open(GOLDEN "loras/kohya_sd1.safetensors", &file, &err))
        fail_msg("%s", err.message);
    size_t count = sd_safetensors_count(file);
    sd_file_tensor *tensors = calloc(count, sizeof *tensors);
    for (size_t i = 0; i < count; i++)
        tensors[i] = *sd_safetensors_at(file, i);
    sd_make_folders(path);
    if (sd_safetensors_write(path, tensors, count, &metadata, key ? 1 : 0, &err))
        fail_msg("%s", err.message);
    free(tensors);
    sd_safetensors_close(&file);
    return path;
}

static void metadata_comes_before_the_name(void **state) {
    (void)state;
    static const struct {
        const char *file, *key, *title, *method, *told;
    } rows[] = {
        {"lcm_a.safetensors", "modelspec.title", "SDXL Lightning 4step", "Lightning", "modelspec.title"},
        {"lcm_b.safetensors", "ss_output_name", "tcd-sd15", "TCD", "ss_output_name"},
        {"lcm_c.safetensors", "ss_output_name", "something", "LCM", "file name"},
        {"lcm-lora-sdv1-5/pytorch_lora_weights.safetensors", NULL, NULL, "LCM", "file name"},
        {"acme/pytorch_lora_weights.safetensors", NULL, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sd_distilled d;
        sd_lora *lora;
        sd_error err;
        if (sd_lora_open(&lora, write_lora(rows[i].file, rows[i].key, rows[i].title), &err))
            fail_msg("%s", err.message);
        assert_int_equal(sd_distilled_find(lora, &d), rows[i].method != NULL);
        if (rows[i].method) {
            assert_string_equal(d.method, rows[i].method);
            assert_string_equal(d.told, rows[i].told);
        }
        sd_lora_close(&lora);
    }
}

struct seen {
    char line[512];
};

static void on_log(void *user, sd_log_level level, const char *text) {
    struct seen *seen = user;
    if (level == SD_LOG_INFO && strstr(text, "made for few steps"))
        snprintf(seen->line, sizeof seen->line, "%s", text);
}

/* What the picture's record says of the sampling. */
static void expect(sd_model *model, sd_params params, const char *sampler, const char *schedule, int steps,
                   double cfg_scale) {
    sd_outputs *outputs;
    sd_error err;
    params.prompt = "a mug";
    params.width = params.height = 64;
    if (sd_generate(model, &params, &outputs, &err))
        fail_msg("%s", err.message);
    cJSON *json = cJSON_Parse(outputs->items[0].json);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "sampler")), sampler);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "schedule")), schedule);
    assert_int_equal(cJSON_GetObjectItem(json, "steps")->valueint, steps);
    assert_true(cJSON_GetObjectItem(json, "cfg_scale")->valuedouble == cfg_scale);
    cJSON_Delete(json);
    sd_outputs_free(&outputs);
}

static void requests_keep_what_they_say(void **state) {
    (void)state;
    struct seen seen = {{0}};
    sd_context *context;
    sd_model *model = NULL;
    sd_lora_info info;
    sd_error err;
    const sd_context_options options = {.cache_dir = "", .log = {on_log, &seen, SD_LOG_INFO}};
    char path[512];
    snprintf(path, sizeof path, "%s", write_lora("sdxl_lightning_2step.safetensors", NULL, NULL));
    sd_lora_use use = {.path = path, .unet = 1, .text = 1};
    if (sd_context_create(&context, &options, &err) ||
        sd_model_open(&model, context, GOLDEN "networks/sd1",
                      &(sd_model_options){.loras = &use, .lora_count = 1}, &err))
        fail_msg("%s", err.message);
    assert_true(sd_model_lora(model, 0, &info));
    assert_string_equal(info.method, "Lightning");
    expect(model, (sd_params){0}, "euler", "sgm_uniform", 2, 1);
    assert_string_equal(
        seen.line, "sdxl_lightning_2step is made for few steps (Lightning, by its file name): sampler euler, "
                   "schedule sgm_uniform, 2 steps and cfg_scale 1, where the request does not say otherwise");
    expect(model, (sd_params){.steps = 3, .cfg_scale = 2}, "euler", "sgm_uniform", 3, 2);
    expect(model, (sd_params){.sampler = "dpmpp_2m"}, "dpmpp_2m", "karras", 2, 1);
    expect(model, (sd_params){.schedule = "simple"}, "euler", "simple", 2, 1);
    /* Where it is not at work, nothing changes. */
    use.unet = 0;
    expect(model, (sd_params){.loras = &use, .lora_count = 1, .steps = 1}, "euler", "leading", 1, 7);
    assert_true(sd_model_lora(model, 0, &info) && !info.method);
    sd_model_close(&model);
    sd_context_destroy(&context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_names),
        cmocka_unit_test(other_names),
        cmocka_unit_test(metadata_comes_before_the_name),
        cmocka_unit_test(requests_keep_what_they_say),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
