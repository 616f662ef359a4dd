#include "unet/config.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fields that must have one of these values (printed as compact JSON) when they are there. */
static const struct {
    const char *field;
    const char *values[4];
} fixed[] = {
    {"_class_name", {"\"UNet2DConditionModel\""}},
    {"act_fn", {"\"silu\"", "\"swish\""}},
    {"attention_type", {"\"default\""}},
    {"center_input_sample", {"false"}},
    {"class_embed_type", {"null"}},
    {"class_embeddings_concat", {"false", "null"}},
    {"conv_in_kernel", {"3", "null"}},
    {"conv_out_kernel", {"3", "null"}},
    {"cross_attention_norm", {"null"}},
    {"downsample_padding", {"1"}},
    {"dual_cross_attention", {"false", "null"}},
    {"encoder_hid_dim", {"null"}},
    {"encoder_hid_dim_type", {"null"}},
    {"mid_block_only_cross_attention", {"null", "false"}},
    {"mid_block_scale_factor", {"1"}},
    {"num_attention_heads", {"null"}},
    {"num_class_embeds", {"null"}},
    {"resnet_out_scale_factor", {"1"}},
    {"resnet_skip_time_act", {"false"}},
    {"resnet_time_scale_shift", {"\"default\""}},
    {"time_embedding_act_fn", {"null"}},
    {"time_embedding_type", {"\"positional\"", "null"}},
    {"timestep_post_act", {"null"}},
};

/* Fields that are read below, and those that do not change what inference computes: the checkpoint's shapes
 * show whether projections are linear, attention always accumulates in f32, and the rest is about training.
 */
static const char *const known[] = {
    "addition_embed_type",
    "addition_time_embed_dim",
    "attention_head_dim",
    "block_out_channels",
    "cross_attention_dim",
    "down_block_types",
    "flip_sin_to_cos",
    "freq_shift",
    "in_channels",
    "layers_per_block",
    "mid_block_type",
    "norm_eps",
    "norm_num_groups",
    "only_cross_attention",
    "out_channels",
    "projection_class_embeddings_input_dim",
    "reverse_transformer_layers_per_block",
    "sample_size",
    "time_cond_proj_dim",
    "time_embedding_dim",
    "transformer_layers_per_block",
    "up_block_types",

    "addition_embed_type_num_heads",
    "dropout",
    "upcast_attention",
    "use_linear_projection",
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
};

struct parser {
    const cJSON *root;
    const char *label;
    sd_error *err;
    sd_status status; /* the first failure; later readers do nothing */
};

static void refuse(struct parser *p, const char *field, const char *expected, const cJSON *found) {
    if (p->status)
        return;
    char *text = found ? cJSON_PrintUnformatted(found) : NULL;
    p->status = sd_fail(p->err, SD_E_UNSUPPORTED, "%s: %s: expected %s, found %.200s", p->label, field,
                        expected, text ? text : "nothing");
    cJSON_free(text);
}

static const cJSON *get(const struct parser *p, const char *field) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(p->root, field);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static bool is_u32(const cJSON *item) {
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 1e9 &&
           item->valuedouble == floor(item->valuedouble);
}

static uint32_t get_u32(struct parser *p, const char *field, uint32_t missing) {
    const cJSON *item = get(p, field);
    if (!item)
        return missing;
    if (is_u32(item))
        return (uint32_t)item->valuedouble;
    refuse(p, field, "a whole number", item);
    return missing;
}

static float get_float(struct parser *p, const char *field, float missing) {
    const cJSON *item = get(p, field);
    if (!item)
        return missing;
    if (cJSON_IsNumber(item))
        return (float)item->valuedouble;
    refuse(p, field, "a number", item);
    return missing;
}

static bool get_bool(struct parser *p, const char *field, bool missing) {
    const cJSON *item = get(p, field);
    if (!item)
        return missing;
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item);
    refuse(p, field, "true or false", item);
    return missing;
}

/* The entry for one level of a field that is one value for all or a list with one a level; NULL when the
 * field is absent or wrong. */
static const cJSON *at_level(struct parser *p, const char *field, uint32_t levels, uint32_t level) {
    const cJSON *item = get(p, field);
    if (!item || !cJSON_IsArray(item))
        return item;
    if ((uint32_t)cJSON_GetArraySize(item) == levels)
        return cJSON_GetArrayItem(item, (int)level);
    refuse(p, field, "one entry for each block", item);
    return NULL;
}

static uint32_t u32_at_level(struct parser *p, const char *field, uint32_t levels, uint32_t level,
                             uint32_t missing) {
    const cJSON *item = at_level(p, field, levels, level);
    if (item && !is_u32(item))
        refuse(p, field, "whole numbers", item);
    return item && is_u32(item) ? (uint32_t)item->valuedouble : missing;
}

/* Whether the block at `index` of a list of block types has cross-attention. */
static bool block_attends(struct parser *p, const char *field, uint32_t levels, uint32_t index,
                          const char *plain, const char *cross) {
    const cJSON *item = get(p, field);
    if (!item || !cJSON_IsArray(item) || (uint32_t)cJSON_GetArraySize(item) != levels) {
        refuse(p, field, "one entry for each block", item);
        return false;
    }
    const cJSON *kind = cJSON_GetArrayItem(item, (int)index);
    bool attends = cJSON_IsString(kind) && !strcmp(kind->valuestring, cross);
    if (!attends && !(cJSON_IsString(kind) && !strcmp(kind->valuestring, plain))) {
        char expected[128];
        snprintf(expected, sizeof expected, "%s or %s", plain, cross);
        refuse(p, field, expected, kind);
    }
    return attends;
}

/* Transformer layers of each of a block's `count` resnets: one number for all of them or a list. */
static void read_depth(struct parser *p, const char *field, const cJSON *item, uint32_t count,
                       uint32_t *out) {
    for (uint32_t j = 0; j < count; j++) {
        const cJSON *one = item;
        if (cJSON_IsArray(item)) {
            if ((uint32_t)cJSON_GetArraySize(item) != count) {
                refuse(p, field, "one entry for each resnet of the block", item);
                return;
            }
            one = cJSON_GetArrayItem(item, (int)j);
        }
        if (one && (!is_u32(one) || one->valuedouble < 1)) {
            refuse(p, field, "whole numbers above 0", one);
            return;
        }
        out[j] = one ? (uint32_t)one->valuedouble : 1;
    }
}

static void read_levels(struct parser *p, struct sd_unet_config *c) {
    const cJSON *channels = get(p, "block_out_channels");
    static const uint32_t usual[] = {320, 640, 1280, 1280};
    c->levels = channels && cJSON_IsArray(channels) ? (uint32_t)cJSON_GetArraySize(channels) : 4;
    if (c->levels < 1 || c->levels > SD_UNET_LEVELS || (channels && !cJSON_IsArray(channels))) {
        refuse(p, "block_out_channels", "a list of 1 to 4 numbers", channels);
        c->levels = 0;
    }
    for (uint32_t i = 0; i < c->levels; i++) {
        c->channels[i] = u32_at_level(p, "block_out_channels", c->levels, i, usual[i]);
        c->layers[i] = u32_at_level(p, "layers_per_block", c->levels, i, 2);
        /* The field is misnamed in all these files: it counts heads. */
        c->heads[i] = u32_at_level(p, "attention_head_dim", c->levels, i, 8);
        if (c->layers[i] < 1 || c->layers[i] > SD_UNET_LAYERS) {
            refuse(p, "layers_per_block", "1 to 4", get(p, "layers_per_block"));
            c->layers[i] = 1;
        }
        uint32_t context = u32_at_level(p, "cross_attention_dim", c->levels, i, 1280);
        if (i && context != c->context)
            refuse(p, "cross_attention_dim", "the same number for every block",
                   get(p, "cross_attention_dim"));
        c->context = context;
        const cJSON *only = at_level(p, "only_cross_attention", c->levels, i);
        if (only && !cJSON_IsBool(only))
            refuse(p, "only_cross_attention", "true or false", only);
        c->cross_only[i] = cJSON_IsTrue(only);
    }
}

static void read_depths(struct parser *p, struct sd_unet_config *c) {
    const char *forward = "transformer_layers_per_block", *backward = "reverse_transformer_layers_per_block";
    for (uint32_t i = 0; i < c->levels && !p->status; i++) {
        uint32_t level = c->levels - 1 - i;
        const cJSON *down = at_level(p, forward, c->levels, i);
        const cJSON *up = at_level(p, forward, c->levels, level);
        bool reversed = get(p, backward) != NULL;
        if (reversed)
            up = at_level(p, backward, c->levels, i);
        if (block_attends(p, "down_block_types", c->levels, i, "DownBlock2D", "CrossAttnDownBlock2D"))
            read_depth(p, forward, down, c->layers[i], c->down_depth[i]);
        if (block_attends(p, "up_block_types", c->levels, i, "UpBlock2D", "CrossAttnUpBlock2D"))
            read_depth(p, reversed ? backward : forward, up, c->layers[level] + 1, c->up_depth[i]);
    }
}

static void read_middle(struct parser *p, struct sd_unet_config *c) {
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(p->root, "mid_block_type");
    const char *text = cJSON_GetStringValue(kind);
    if (!kind || (text && !strcmp(text, "UNetMidBlock2DCrossAttn"))) {
        c->mid_resnets = 2;
        read_depth(p, "transformer_layers_per_block",
                   at_level(p, "transformer_layers_per_block", c->levels, c->levels - 1), 1, &c->mid_depth);
    } else if (text && !strcmp(text, "UNetMidBlock2D")) {
        c->mid_resnets = 1;
    } else if (!cJSON_IsNull(kind)) {
        refuse(p, "mid_block_type", "UNetMidBlock2DCrossAttn, UNetMidBlock2D or null", kind);
    }
}

static void read_rest(struct parser *p, struct sd_unet_config *c) {
    c->in_channels = get_u32(p, "in_channels", 4);
    c->out_channels = get_u32(p, "out_channels", 4);
    c->groups = get_u32(p, "norm_num_groups", 32);
    c->eps = get_float(p, "norm_eps", 1e-5f);
    c->freq_shift = get_float(p, "freq_shift", 0);
    c->sin_first = !get_bool(p, "flip_sin_to_cos", true);
    c->time_dim = get_u32(p, "time_embedding_dim", 4 * c->channels[0]);
    c->time_cond = get_u32(p, "time_cond_proj_dim", 0);
    const cJSON *size = get(p, "sample_size");
    c->sample = size && is_u32(size) ? (uint32_t)size->valuedouble : 0;
    const cJSON *kind = get(p, "addition_embed_type");
    if (kind && (!cJSON_IsString(kind) || strcmp(kind->valuestring, "text_time")))
        refuse(p, "addition_embed_type", "null or text_time", kind);
    if (kind) {
        c->add_dim = get_u32(p, "projection_class_embeddings_input_dim", 0);
        c->add_each = get_u32(p, "addition_time_embed_dim", 0);
        if (!c->add_dim || c->add_each < 2)
            refuse(p, c->add_dim ? "addition_time_embed_dim" : "projection_class_embeddings_input_dim",
                   "a width beside text_time",
                   get(p, c->add_dim ? "addition_time_embed_dim" : "projection_class_embeddings_input_dim"));
    }
}

static void check_fixed(struct parser *p, const cJSON *item, size_t row) {
    char *text = cJSON_PrintUnformatted(item);
    bool fits = false;
    for (size_t i = 0; text && i < 4 && fixed[row].values[i]; i++)
        fits |= !strcmp(text, fixed[row].values[i]);
    cJSON_free(text);
    if (!fits)
        refuse(p, fixed[row].field, fixed[row].values[0], item);
}

static void check_field(struct parser *p, const cJSON *item) {
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!strcmp(item->string, fixed[i].field)) {
            check_fixed(p, item, i);
            return;
        }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(item->string, known[i]))
            return;
    if (item->string[0] != '_' && !cJSON_IsNull(item) && !cJSON_IsFalse(item))
        refuse(p, item->string, "no such field (it is unknown to this version)", item);
}

sd_status sd_unet_config_parse(struct sd_unet_config *out, const char *text, size_t size, const char *label,
                               sd_error *err) {
    struct parser p = {.label = label, .err = err};
    *out = (struct sd_unet_config){0};
    cJSON *root = cJSON_ParseWithLength(text, size);
    p.root = root;
    if (!cJSON_IsObject(root)) {
        p.status = sd_fail(err, SD_E_FORMAT, "%s: expected a JSON object, found none", label);
        goto done;
    }
    for (const cJSON *item = root->child; item && !p.status; item = item->next)
        check_field(&p, item);
    if (!get(&p, "block_out_channels") && !p.status)
        p.status = sd_fail(err, SD_E_FORMAT, "%s: expected a UNet's block_out_channels, found none", label);
    if (!p.status) {
        read_levels(&p, out);
        read_depths(&p, out);
    }
    if (!p.status) {
        read_middle(&p, out);
        read_rest(&p, out);
    }
    if (!p.status)
        p.status = sd_unet_config_check(out, label, err);
    const struct sd_unet_config *row = p.status ? NULL : sd_unet_config_match(out);
    out->name = row ? row->name : NULL;
done:
    cJSON_Delete(root);
    return p.status;
}
