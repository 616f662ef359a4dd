#include "vae/config.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const struct sd_vae_config sd_vae_sd1 = {3, 4, {128, 256, 512, 512}, 4, 2, 32, true, true, 0.18215f, 0};
const struct sd_vae_config sd_vae_sdxl = {3, 4, {128, 256, 512, 512}, 4, 2, 32, true, true, 0.13025f, 0};

struct reader {
    const cJSON *json;
    const char *label;
    sd_status status;
    sd_error *err;
};

static void read_count(struct reader *r, const char *field, uint32_t low, uint32_t high, uint32_t *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->json, field);
    if (r->status || !item || cJSON_IsNull(item))
        return;
    double v = item->valuedouble;
    if (!cJSON_IsNumber(item) || v != floor(v) || v < low || v > high)
        r->status = sd_fail(r->err, SD_E_FORMAT, "%s: %s: expected a whole number from %u to %u", r->label,
                            field, low, high);
    else
        *out = (uint32_t)v;
}

static void read_float(struct reader *r, const char *field, float *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->json, field);
    if (r->status || !item || cJSON_IsNull(item))
        return;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        r->status = sd_fail(r->err, SD_E_FORMAT, "%s: %s: expected a number", r->label, field);
    else
        *out = (float)item->valuedouble;
}

static void read_flag(struct reader *r, const char *field, bool *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->json, field);
    if (r->status || !item || cJSON_IsNull(item))
        return;
    if (!cJSON_IsBool(item))
        r->status = sd_fail(r->err, SD_E_FORMAT, "%s: %s: expected true or false", r->label, field);
    else
        *out = cJSON_IsTrue(item);
}

static void expect_text(struct reader *r, const char *field, const char *wanted) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->json, field);
    if (r->status || !item || cJSON_IsNull(item))
        return;
    if (!cJSON_IsString(item) || strcmp(item->valuestring, wanted))
        r->status = sd_fail(r->err, SD_E_UNSUPPORTED, "%s: %s: expected \"%s\", found \"%.60s\"", r->label,
                            field, wanted, cJSON_IsString(item) ? item->valuestring : "another type");
}

static void read_channels(struct reader *r, struct sd_vae_config *c) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->json, "block_out_channels");
    int count = list ? cJSON_GetArraySize(list) : 0;
    if (r->status)
        return;
    if (!cJSON_IsArray(list) || count < 1 || count > SD_VAE_LEVELS) {
        r->status = sd_fail(r->err, SD_E_FORMAT, "%s: block_out_channels: expected a list of 1 to %d numbers",
                            r->label, SD_VAE_LEVELS);
        return;
    }
    c->levels = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i);
        double v = cJSON_IsNumber(item) ? item->valuedouble : 0;
        if (v != floor(v) || v < 1 || v > 8192)
            r->status =
                sd_fail(r->err, SD_E_FORMAT,
                        "%s: block_out_channels[%d]: expected a whole number from 1 to 8192", r->label, i);
        c->channels[i] = r->status ? 0 : (uint32_t)v;
    }
}

sd_status sd_vae_config_parse(struct sd_vae_config *out, const char *text, size_t size, const char *label,
                              sd_error *err) {
    cJSON *json = cJSON_ParseWithLength(text, size);
    struct reader r = {json, label, SD_OK, err};
    if (!cJSON_IsObject(json)) {
        cJSON_Delete(json);
        return sd_fail(err, SD_E_FORMAT, "%s: expected a JSON object", label);
    }
    *out = sd_vae_sd1;
    read_channels(&r, out);
    read_count(&r, "in_channels", 1, 4, &out->image_channels);
    read_count(&r, "latent_channels", 1, 64, &out->latent_channels);
    read_count(&r, "layers_per_block", 1, 16, &out->layers);
    read_count(&r, "norm_num_groups", 1, 1024, &out->groups);
    read_float(&r, "scaling_factor", &out->scaling_factor);
    read_float(&r, "shift_factor", &out->shift_factor);
    read_flag(&r, "use_quant_conv", &out->quant_conv);
    read_flag(&r, "use_post_quant_conv", &out->post_quant_conv);
    expect_text(&r, "_class_name", "AutoencoderKL");
    expect_text(&r, "act_fn", "silu");
    for (uint32_t i = 0; i < out->levels && !r.status; i++)
        if (out->channels[i] % out->groups)
            r.status =
                sd_fail(err, SD_E_FORMAT,
                        "%s: block_out_channels[%u]: expected a multiple of norm_num_groups %u, found %u",
                        label, i, out->groups, out->channels[i]);
    if (!r.status && out->scaling_factor == 0)
        r.status = sd_fail(err, SD_E_FORMAT, "%s: scaling_factor: expected a number other than 0", label);
    cJSON_Delete(json);
    return r.status;
}

static uint32_t rows_of(const struct sd_weight_source *source, const char *format, uint32_t i, uint32_t j) {
    char name[128];
    struct sd_raw raw;
    snprintf(name, sizeof name, format, i, j);
    return source->find(source->user, name, &raw) && raw.rank >= 1 && raw.shape[0] <= 8192
               ? (uint32_t)raw.shape[0]
               : 0;
}

sd_status sd_vae_detect(struct sd_vae_config *out, const struct sd_weight_source *source, sd_error *err) {
    struct sd_raw raw;
    uint32_t levels = 0, layers = 0;
    if (!source->find(source->user, "decoder.conv_in.weight", &raw) || raw.rank != 4 || !raw.shape[1] ||
        raw.shape[1] > 64)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: no VAE decoder (decoder.conv_in.weight) found",
                       source->label);
    out->latent_channels = (uint32_t)raw.shape[1];
    while (levels < SD_VAE_LEVELS &&
           rows_of(source, "encoder.down_blocks.%u.resnets.%u.conv1.weight", levels, 0)) {
        out->channels[levels] = rows_of(source, "encoder.down_blocks.%u.resnets.%u.conv1.weight", levels, 0);
        levels++;
    }
    while (layers < 16 && rows_of(source, "encoder.down_blocks.%u.resnets.%u.conv1.weight", 0, layers))
        layers++;
    if (!levels)
        return sd_fail(err, SD_E_NOT_FOUND,
                       "%s: no VAE encoder (encoder.down_blocks.0.resnets.0.conv1.weight) found",
                       source->label);
    out->levels = levels;
    out->layers = layers;
    out->image_channels = 3;
    out->groups = 32;
    for (uint32_t i = 0; i < levels; i++)
        while (out->channels[i] % out->groups)
            out->groups /= 2;
    out->quant_conv = source->find(source->user, "quant_conv.weight", &raw);
    out->post_quant_conv = source->find(source->user, "post_quant_conv.weight", &raw);
    return SD_OK;
}
