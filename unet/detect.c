#include "unet/config.h"

#include <stdio.h>
#include <string.h>

struct detect {
    const struct sd_weight_source *source;
    struct sd_unet_config *c;
    bool matrix; /* a proj_in was seen that is a matrix, not a 1x1 convolution */
};

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static bool
find(const struct detect *d, struct sd_raw *raw, const char *format, ...) {
    char name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return d->source->find(d->source->user, name, raw) && raw->rank >= 1 && raw->shape[0] <= UINT32_MAX;
}

/* Size of an axis; 0 when the tensor has no such axis or it is absurd. */
static uint32_t axis(const struct sd_raw *raw, uint32_t index) {
    return index < raw->rank && raw->shape[index] <= UINT32_MAX ? (uint32_t)raw->shape[index] : 0;
}

/* Transformer layers of the attention module `name` at `level`; 0 when it does not exist. */
static uint32_t depth_of(struct detect *d, const char *name, uint32_t level) {
    struct sd_raw raw;
    uint32_t depth = 0;
    if (!find(d, &raw, "%s.proj_in.weight", name))
        return 0;
    d->matrix = raw.rank == 2;
    while (depth < SD_UNET_DEPTH && find(d, &raw, "%s.transformer_blocks.%u.norm1.weight", name, depth))
        depth++;
    if (find(d, &raw, "%s.transformer_blocks.0.attn2.to_k.weight", name))
        d->c->context = axis(&raw, 1);
    if (find(d, &raw, "%s.transformer_blocks.0.attn1.to_k.weight", name))
        d->c->cross_only[level] = axis(&raw, 1) != d->c->channels[level];
    return depth;
}

static void look_down(struct detect *d) {
    struct sd_unet_config *c = d->c;
    struct sd_raw raw;
    char name[64];
    do {
        uint32_t i = c->levels++;
        while (c->layers[i] < SD_UNET_LAYERS &&
               find(d, &raw, "down_blocks.%u.resnets.%u.conv1.weight", i, c->layers[i])) {
            c->channels[i] = axis(&raw, 0);
            snprintf(name, sizeof name, "down_blocks.%u.attentions.%u", i, c->layers[i]);
            c->down_depth[i][c->layers[i]++] = depth_of(d, name, i);
        }
    } while (c->levels < SD_UNET_LEVELS &&
             find(d, &raw, "down_blocks.%u.downsamplers.0.conv.weight", c->levels - 1));
}

static void look_up(struct detect *d) {
    struct sd_unet_config *c = d->c;
    struct sd_raw raw;
    char name[64];
    uint32_t last = c->levels - 1;
    while (c->mid_resnets < 2 && find(d, &raw, "mid_block.resnets.%u.conv1.weight", c->mid_resnets))
        c->mid_resnets++;
    c->mid_depth = depth_of(d, "mid_block.attentions.0", last);
    for (uint32_t i = 0; i < c->levels; i++)
        for (uint32_t j = 0; j < c->layers[last - i] + 1; j++) {
            snprintf(name, sizeof name, "up_blocks.%u.attentions.%u", i, j);
            c->up_depth[i][j] = depth_of(d, name, last - i);
        }
}

/* Heads, groups and constants leave no trace in the shapes. */
static void fill_unseen(struct detect *d) {
    struct sd_unet_config *c = d->c;
    c->groups = 32;
    c->eps = 1e-5f;
    c->add_each = c->add_dim ? 256 : 0;
    for (size_t i = 0;; i++) {
        const struct sd_unet_config *row = sd_unet_config_at(i);
        if (!row)
            break;
        memcpy(c->heads, row->heads, sizeof c->heads);
        if (sd_unet_config_match(c) == row) {
            *c = *row;
            return;
        }
    }
    memset(c->heads, 0, sizeof c->heads);
    for (uint32_t i = 0; i < c->levels; i++)
        c->heads[i] = d->matrix && c->channels[i] % 64 == 0 ? c->channels[i] / 64 : 8;
}

sd_status sd_unet_detect(struct sd_unet_config *c, const struct sd_weight_source *source, sd_error *err) {
    struct detect d = {.source = source, .c = c};
    struct sd_raw in, out, time, raw;
    *c = (struct sd_unet_config){0};
    const char *missing = !find(&d, &in, "conv_in.weight")     ? "conv_in.weight"
                          : !find(&d, &out, "conv_out.weight") ? "conv_out.weight"
                          : !find(&d, &time, "time_embedding.linear_1.weight")
                              ? "time_embedding.linear_1.weight"
                              : NULL;
    if (missing)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: expected a Stable Diffusion UNet, found no %s",
                       source->label, missing);
    c->in_channels = axis(&in, 1);
    c->out_channels = axis(&out, 0);
    c->time_dim = axis(&time, 0);
    if (find(&d, &raw, "add_embedding.linear_1.weight"))
        c->add_dim = axis(&raw, 1);
    if (find(&d, &raw, "time_embedding.cond_proj.weight"))
        c->time_cond = axis(&raw, 1);
    look_down(&d);
    look_up(&d);
    if (!c->context)
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: expected a UNet with cross-attention, found none in %u levels of blocks",
                       source->label, c->levels);
    fill_unseen(&d);
    return sd_unet_config_check(c, source->label, err);
}
