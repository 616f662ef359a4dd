/* Weights merged with adapters against those of the libraries that own the formats (tests/golden/loras.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sd/io/file.h"
#include "sd/io/safetensors.h"
#include "sd/model.h"
#include "sd/nn/edit_run.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"

struct models {
    sd_context *context;
    sd_model *open;
    char path[512];
};

static int open_context(void **state) {
    static struct models models;
    sd_error err;
    if (sd_context_create(&models.context, &(sd_context_options){.cache_dir = ""}, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    *state = &models;
    return 0;
}

static int close_context(void **state) {
    struct models *m = *state;
    sd_model_close(&m->open);
    sd_context_destroy(&m->context);
    return 0;
}

static sd_model *model_at(struct models *m, const char *path) {
    sd_error err;
    if (m->open && !strcmp(m->path, path))
        return m->open;
    sd_model_close(&m->open);
    snprintf(m->path, sizeof m->path, "%s", path);
    if (sd_model_open(&m->open, m->context, path, NULL, &err))
        fail_msg("%s", err.message);
    return m->open;
}

static cJSON *read_index(void) {
    sd_bytes text;
    sd_error err;
    if (sd_file_read(GOLDEN "loras/index.json", 0, &text, &err))
        fail_msg("%s", err.message);
    cJSON *json = cJSON_Parse((const char *)text.data);
    sd_bytes_clear(&text);
    assert_true(cJSON_IsArray(json));
    return json;
}

static const char *text_of(const cJSON *item, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(item, name));
}

/* "unet.conv_in.weight" is tensor "conv_in.weight" of the UNet. */
static sd_lora_part part_of(const char *tensor, const char **name) {
    static const struct {
        const char *prefix;
        sd_lora_part part;
    } parts[] = {
        {"unet.", SD_LORA_UNET}, {"text_encoder.", SD_LORA_TEXT}, {"text_encoder_2.", SD_LORA_TEXT_2}};
    for (size_t i = 0; i < 3; i++)
        if (!strncmp(tensor, parts[i].prefix, strlen(parts[i].prefix))) {
            *name = tensor + strlen(parts[i].prefix);
            *name += strncmp(*name, "text_model.", 11) ? 0 : 11;
            return parts[i].part;
        }
    fail_msg("tensor %s belongs to no part", tensor);
    return SD_LORA_PARTS;
}

/* The tensor after its edit, from the device, in f32. */
static float *merged(sd_model *m, const struct sd_adapter_set *set, const char *tensor, size_t count) {
    const char *name = tensor;
    sd_lora_part part = part_of(tensor, &name);
    sd_model_source(m, part); /* fills the part's own source */
    struct sd_adapted adapted = {m->adapted[part].base, set, part};
    struct sd_weight_source source = sd_adapted_source(&adapted);
    struct sd_raw raw;
    struct sd_upload u;
    uint64_t address;
    sd_edit edit;
    sd_error err;
    sd_vk *vk = m->context->vk;
    if (!source.find(source.user, name, &raw) || !source.edit || !source.edit(source.user, name, NULL))
        fail_msg("%s is not changed", tensor);
    float *values = calloc(count + 1, sizeof *values);
    sd_edit_begin(&edit, (uint32_t)raw.shape[0], (uint32_t)(count / raw.shape[0]));
    source.edit(source.user, name, &edit);
    if (sd_upload_begin(&u, vk, &err) || sd_edit_run(&edit, &raw, &u, &address, &err) ||
        sd_upload_flush(&u, &err) ||
        sd_vk_read(vk, u.workspace, address - u.workspace->address, values, count * sizeof *values, &err))
        fail_msg("%s: %s", tensor, err.message);
    sd_edit_clear(&edit);
    assert_int_equal(sd_upload_end(&u, SD_OK, &err), SD_OK);
    return values;
}

/* Products and sums in f32 on both sides, in different orders, of rank 2 to 32 values a sum; DoRA and OFT
 * divide and turn besides. Relative to the tensor's size. */
static const double limit = 1e-6;

static void compare(const char *golden, const char *tensor, const float *got, const float *want,
                    size_t count) {
    double worst = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(got[i]))
            fail_msg("%s: %s: value %zu is %g", golden, tensor, i, (double)got[i]);
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
        size = fmax(size, fabs((double)want[i]));
    }
    if (worst > limit * size)
        fail_msg("%s: %s: off by %g of %g", golden, tensor, worst, size);
}

static void check_at(sd_model *m, const cJSON *golden, const sd_safetensors *expected, const char *path,
                     float s) {
    struct sd_adapter_set set;
    const cJSON *item;
    char key[256];
    sd_error err;
    const char *name = text_of(golden, "name");
    const sd_lora_use use = {.path = path, .unet = s, .text = s};
    bool strict = !cJSON_GetArraySize(cJSON_GetObjectItem(golden, "unmatched"));
    if (sd_adapter_set_open(&set, &use, 1, strict, m->targets, &err))
        fail_msg("%s: %s", name, err.message);
    const struct sd_lora_report *report = sd_lora_match_report(set.items[0].match);
    assert_int_equal(report->matched, cJSON_GetObjectItem(golden, "module_count")->valueint);
    uint32_t unmatched = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "unmatched"))
        assert_string_equal(report->unmatched[unmatched++], cJSON_GetStringValue(item));
    assert_int_equal(report->unmatched_count, unmatched);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "tensors")) {
        snprintf(key, sizeof key, "%.1f.%s", (double)s, cJSON_GetStringValue(item));
        const sd_file_tensor *want = sd_safetensors_find(expected, key);
        if (!want)
            fail_msg("%s: %s is missing", name, key);
        float *values = merged(m, &set, cJSON_GetStringValue(item), want->bytes / 4);
        float *aligned = malloc(want->bytes + 1);
        memcpy(aligned, want->data, want->bytes);
        compare(name, key, values, aligned, want->bytes / 4);
        free(aligned);
        free(values);
    }
    sd_adapter_set_close(&set);
}

static void merged_weights_are_the_libraries(void **state) {
    cJSON *index = read_index();
    const cJSON *golden, *strength;
    uint32_t checked = 0;
    cJSON_ArrayForEach(golden, index) {
        char path[512];
        sd_safetensors *expected;
        sd_error err;
        snprintf(path, sizeof path, GOLDEN "%s", text_of(golden, "model"));
        sd_model *m = model_at(*state, path);
        snprintf(path, sizeof path, GOLDEN "loras/%s", text_of(golden, "expected"));
        if (sd_safetensors_open(path, &expected, &err))
            fail_msg("%s", err.message);
        snprintf(path, sizeof path, GOLDEN "loras/%s", text_of(golden, "adapter"));
        cJSON_ArrayForEach(strength, cJSON_GetObjectItem(golden, "strengths")) {
            check_at(m, golden, expected, path, (float)strength->valuedouble);
            checked++;
        }
        sd_safetensors_close(&expected);
    }
    cJSON_Delete(index);
    assert_true(checked >= 70);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_weights_are_the_libraries),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
