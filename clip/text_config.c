#include "clip/text_model.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const struct sd_text_config sd_text_clip_l = {768, 12, 12, 3072, 49408, 0, SD_ACT_QUICK_GELU};
const struct sd_text_config sd_text_openclip_h = {1024, 16, 24, 4096, 49408, 0, SD_ACT_GELU};
const struct sd_text_config sd_text_openclip_bigg = {1280, 20, 32, 5120, 49408, 1280, SD_ACT_GELU};

static sd_status read_count(const cJSON *json, const char *label, const char *field, uint32_t high,
                            uint32_t *out, sd_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, field);
    double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (v != floor(v) || v < 1 || v > high)
        return sd_fail(err, SD_E_FORMAT, "%s: %s: expected a whole number from 1 to %u", label, field, high);
    *out = (uint32_t)v;
    return SD_OK;
}

static sd_status read_act(const cJSON *json, const char *label, sd_act *out, sd_error *err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, "hidden_act");
    const char *name = cJSON_IsString(item) ? item->valuestring : "quick_gelu";
    if (!strcmp(name, "quick_gelu"))
        *out = SD_ACT_QUICK_GELU;
    else if (!strcmp(name, "gelu"))
        *out = SD_ACT_GELU;
    else
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: hidden_act: expected \"quick_gelu\" or \"gelu\", found \"%.60s\"", label, name);
    return SD_OK;
}

static bool has_projection(const cJSON *json) {
    const cJSON *name = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "architectures"), 0);
    return cJSON_IsString(name) && !strcmp(name->valuestring, "CLIPTextModelWithProjection");
}

sd_status sd_text_config_parse(struct sd_text_config *out, const char *text, size_t size, const char *label,
                               sd_error *err) {
    cJSON *json = cJSON_ParseWithLength(text, size);
    sd_status status = SD_OK;
    uint32_t positions = 0;
    *out = (struct sd_text_config){0};
    if (!cJSON_IsObject(json))
        status = sd_fail(err, SD_E_FORMAT, "%s: expected a JSON object", label);
    if (!status)
        status = read_count(json, label, "hidden_size", 8192, &out->hidden, err);
    if (!status)
        status = read_count(json, label, "num_attention_heads", 256, &out->heads, err);
    if (!status)
        status = read_count(json, label, "num_hidden_layers", SD_TEXT_LAYERS, &out->layers, err);
    if (!status)
        status = read_count(json, label, "intermediate_size", 65536, &out->intermediate, err);
    if (!status)
        status = read_count(json, label, "vocab_size", 1 << 20, &out->vocabulary, err);
    if (!status)
        status = read_count(json, label, "max_position_embeddings", 4096, &positions, err);
    if (!status && has_projection(json))
        status = read_count(json, label, "projection_dim", 8192, &out->projection, err);
    if (!status)
        status = read_act(json, label, &out->act, err);
    if (!status && positions != SD_TEXT_TOKENS)
        status = sd_fail(err, SD_E_UNSUPPORTED, "%s: max_position_embeddings: expected %d, found %u", label,
                         SD_TEXT_TOKENS, positions);
    if (!status && out->hidden % out->heads)
        status = sd_fail(err, SD_E_FORMAT, "%s: hidden_size %u is not a multiple of num_attention_heads %u",
                         label, out->hidden, out->heads);
    cJSON_Delete(json);
    return status;
}

sd_status sd_text_detect(struct sd_text_config *out, const struct sd_weight_source *source, sd_error *err) {
    struct sd_raw table, fc1, projection;
    char name[96];
    *out = (struct sd_text_config){0};
    if (!source->find(source->user, "embeddings.token_embedding.weight", &table) || table.rank != 2 ||
        table.shape[1] > 8192 || table.shape[0] > 1 << 20 || !table.shape[0] || !table.shape[1])
        return sd_fail(err, SD_E_NOT_FOUND, "%s: no text encoder (token_embedding.weight) found",
                       source->label);
    if (!source->find(source->user, "encoder.layers.0.mlp.fc1.weight", &fc1) || fc1.rank != 2 ||
        fc1.shape[0] > 65536)
        return sd_fail(err, SD_E_NOT_FOUND,
                       "%s: the text encoder has no layers (encoder.layers.0.mlp.fc1.weight)", source->label);
    out->vocabulary = (uint32_t)table.shape[0];
    out->hidden = (uint32_t)table.shape[1];
    out->intermediate = (uint32_t)fc1.shape[0];
    do
        snprintf(name, sizeof name, "encoder.layers.%u.mlp.fc1.weight", ++out->layers);
    while (out->layers < SD_TEXT_LAYERS && source->find(source->user, name, &fc1));
    out->heads = out->hidden % 64 ? 1 : out->hidden / 64;
    out->act = out->hidden == 768 ? SD_ACT_QUICK_GELU : SD_ACT_GELU;
    if (source->find(source->user, "text_projection.weight", &projection) && projection.rank == 2 &&
        projection.shape[0] <= 8192)
        out->projection = (uint32_t)projection.shape[0];
    return SD_OK;
}

bool sd_text_openclip_name(const char *canonical, struct sd_text_openclip_name *out) {
    static const struct {
        const char *ours, *theirs;
        int part;
    } pairs[] = {
        {"self_attn.q_proj.", "attn.in_proj_", 0},
        {"self_attn.k_proj.", "attn.in_proj_", 1},
        {"self_attn.v_proj.", "attn.in_proj_", 2},
        {"self_attn.out_proj.", "attn.out_proj.", -1},
        {"layer_norm1.", "ln_1.", -1},
        {"layer_norm2.", "ln_2.", -1},
        {"mlp.fc1.", "mlp.c_fc.", -1},
        {"mlp.fc2.", "mlp.c_proj.", -1},
    };
    static const struct {
        const char *ours, *theirs;
        bool transposed;
    } whole[] = {
        {"embeddings.token_embedding.weight", "token_embedding.weight", false},
        {"embeddings.position_embedding.weight", "positional_embedding", false},
        {"final_layer_norm.weight", "ln_final.weight", false},
        {"final_layer_norm.bias", "ln_final.bias", false},
        {"text_projection.weight", "text_projection", true},
    };
    unsigned layer;
    int used = 0;
    *out = (struct sd_text_openclip_name){.part = -1};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcmp(canonical, whole[i].ours)) {
            snprintf(out->name, sizeof out->name, "%s", whole[i].theirs);
            out->transposed = whole[i].transposed;
            return true;
        }
    if (sscanf(canonical, "encoder.layers.%u.%n", &layer, &used) != 1 || !used)
        return false;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t n = strlen(pairs[i].ours);
        if (!strncmp(canonical + used, pairs[i].ours, n)) {
            snprintf(out->name, sizeof out->name, "transformer.resblocks.%u.%s%s", layer, pairs[i].theirs,
                     canonical + used + n);
            out->part = pairs[i].part;
            return true;
        }
    }
    return false;
}
