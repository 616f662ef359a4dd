#include "unet/config.h"

#include <string.h>

/* Depth of one block's transformers: of a down block with two resnets, of an up block with three. */
#define D1(a)                                                                                                \
    { a }
#define D2(a)                                                                                                \
    { a, a }
#define D3(a)                                                                                                \
    { a, a, a }

#define COMMON .out_channels = 4, .groups = 32, .time_dim = 1280, .eps = 1e-5f

#define SD1_SHAPE                                                                                            \
    COMMON, .levels = 4, .channels = {320, 640, 1280, 1280}, .layers = {2, 2, 2, 2},                         \
            .down_depth = {D2(1), D2(1), D2(1)}, .up_depth = {D3(0), D3(1), D3(1), D3(1)}, .mid_resnets = 2, \
            .mid_depth = 1
#define SD1 SD1_SHAPE, .heads = {8, 8, 8, 8}, .context = 768, .sample = 64
#define SD2 SD1_SHAPE, .heads = {5, 10, 20, 20}, .context = 1024

#define SDXL_SHAPE                                                                                           \
    COMMON, .levels = 3, .channels = {320, 640, 1280}, .heads = {5, 10, 20}, .context = 2048,                \
            .add_dim = 2816, .add_each = 256, .sample = 128
#define SDXL                                                                                                 \
    SDXL_SHAPE, .layers = {2, 2, 2}, .down_depth = {D2(0), D2(2), D2(10)},                                   \
                .up_depth = {D3(10), D3(2), D3(0)}, .mid_resnets = 2, .mid_depth = 10

#define SMALL COMMON, .context = 768, .sample = 64

/* Sources: the configurations published with each model. */
static const struct sd_unet_config rows[] = {
    {.name = "sd1", .in_channels = 4, SD1},
    {.name = "sd1-inpaint", .in_channels = 9, SD1},
    {.name = "sd1-pix2pix", .in_channels = 8, SD1},
    {.name = "sd1-lcm", .in_channels = 4, SD1, .time_cond = 256},
    {.name = "sd2", .in_channels = 4, SD2, .sample = 96},
    {.name = "sd2-inpaint", .in_channels = 9, SD2, .sample = 64},
    {.name = "sd2-depth", .in_channels = 5, SD2, .sample = 64},
    {.name = "sdxl", .in_channels = 4, SDXL},
    {.name = "sdxl-inpaint", .in_channels = 9, SDXL},
    {.name = "sdxl-pix2pix", .in_channels = 8, SDXL},
    {.name = "sdxl-lcm", .in_channels = 4, SDXL, .time_cond = 256},
    {.name = "sdxl-refiner",
     .in_channels = 4,
     .out_channels = 4,
     .levels = 4,
     .channels = {384, 768, 1536, 1536},
     .layers = {2, 2, 2, 2},
     .heads = {6, 12, 24, 24},
     .down_depth = {D2(0), D2(4), D2(4), D2(0)},
     .up_depth = {D3(0), D3(4), D3(4), D3(0)},
     .mid_resnets = 2,
     .mid_depth = 4,
     .context = 1280,
     .groups = 32,
     .time_dim = 1536,
     .add_dim = 2560,
     .add_each = 256,
     .sample = 128,
     .eps = 1e-5f},
    {.name = "ssd-1b",
     .in_channels = 4,
     SDXL_SHAPE,
     .layers = {2, 2, 2},
     .down_depth = {D2(0), D2(2), D2(4)},
     .up_depth = {{4, 4, 10}, {2, 1, 1}, D3(0)},
     .mid_resnets = 1},
    {.name = "vega",
     .in_channels = 4,
     SDXL_SHAPE,
     .layers = {2, 2, 2},
     .down_depth = {D2(0), D2(1), D2(2)},
     .up_depth = {D3(2), D3(1), D3(0)},
     .mid_resnets = 1},
    {.name = "koala-700m",
     .in_channels = 4,
     SDXL_SHAPE,
     .layers = {1, 1, 1},
     .down_depth = {D1(0), D1(2), D1(5)},
     .up_depth = {D2(5), D2(2), D2(0)}},
    {.name = "koala-1b",
     .in_channels = 4,
     SDXL_SHAPE,
     .layers = {1, 1, 1},
     .down_depth = {D1(0), D1(2), D1(6)},
     .up_depth = {D2(6), D2(2), D2(0)},
     .mid_resnets = 2,
     .mid_depth = 6},
    {.name = "base-sd",
     .in_channels = 4,
     SMALL,
     .layers = {1, 1, 1, 1},
     .levels = 4,
     .channels = {320, 640, 1280, 1280},
     .heads = {8, 8, 8, 8},
     .down_depth = {D1(1), D1(1), D1(1)},
     .up_depth = {D2(0), D2(1), D2(1), D2(1)},
     .mid_resnets = 2,
     .mid_depth = 1},
    {.name = "small-sd",
     .in_channels = 4,
     SMALL,
     .layers = {1, 1, 1, 1},
     .levels = 4,
     .channels = {320, 640, 1280, 1280},
     .heads = {8, 8, 8, 8},
     .down_depth = {D1(1), D1(1), D1(1)},
     .up_depth = {D2(0), D2(1), D2(1), D2(1)}},
    {.name = "tiny-sd",
     .in_channels = 4,
     SMALL,
     .layers = {1, 1, 1},
     .levels = 3,
     .channels = {320, 640, 1280},
     .heads = {8, 8, 8},
     .down_depth = {D1(1), D1(1), D1(1)},
     .up_depth = {D2(1), D2(1), D2(1)}},
    {.name = "sdxs",
     .in_channels = 4,
     SMALL,
     .layers = {1, 1, 1},
     .levels = 3,
     .channels = {320, 640, 1280},
     .heads = {5, 10, 20},
     .down_depth = {D1(0), D1(1), D1(1)},
     .up_depth = {D2(1), D2(1), D2(0)}},
    {.name = "sdxs-0.9",
     .in_channels = 4,
     COMMON,
     .levels = 3,
     .channels = {320, 640, 1280},
     .layers = {1, 1, 1},
     .heads = {5, 10, 20},
     .cross_only = {1, 0, 0},
     .down_depth = {D1(1), D1(1), D1(1)},
     .up_depth = {D2(1), D2(1), D2(1)},
     .context = 1024,
     .sample = 64},
};

const struct sd_unet_config *sd_unet_config_at(size_t index) {
    return index < sizeof rows / sizeof *rows ? &rows[index] : NULL;
}

const struct sd_unet_config *sd_unet_config_find(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

/* All that decides names, shapes and arithmetic. */
static bool same(const struct sd_unet_config *a, const struct sd_unet_config *b) {
    return a->in_channels == b->in_channels && a->out_channels == b->out_channels && a->levels == b->levels &&
           !memcmp(a->channels, b->channels, sizeof a->channels) &&
           !memcmp(a->layers, b->layers, sizeof a->layers) && !memcmp(a->heads, b->heads, sizeof a->heads) &&
           !memcmp(a->cross_only, b->cross_only, sizeof a->cross_only) &&
           !memcmp(a->down_depth, b->down_depth, sizeof a->down_depth) &&
           !memcmp(a->up_depth, b->up_depth, sizeof a->up_depth) && a->mid_resnets == b->mid_resnets &&
           a->mid_depth == b->mid_depth && a->context == b->context && a->groups == b->groups &&
           a->time_dim == b->time_dim && a->add_dim == b->add_dim && a->add_each == b->add_each &&
           a->time_cond == b->time_cond && a->sin_first == b->sin_first && a->freq_shift == b->freq_shift &&
           a->eps == b->eps;
}

const struct sd_unet_config *sd_unet_config_match(const struct sd_unet_config *config) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (same(&rows[i], config))
            return &rows[i];
    return NULL;
}

static sd_status in_range(const char *label, const char *field, uint32_t value, uint32_t low, uint32_t high,
                          sd_error *err) {
    if (value >= low && value <= high)
        return SD_OK;
    return sd_fail(err, SD_E_UNSUPPORTED, "%s: %s: expected %u to %u, found %u", label, field, low, high,
                   value);
}

static sd_status check_level(const struct sd_unet_config *c, uint32_t i, const char *label, sd_error *err) {
    sd_status status;
    uint32_t top = c->levels - 1 - i; /* the up block of this level */
    bool attends = i == c->levels - 1 && c->mid_depth > 0;
    if ((status = in_range(label, "block_out_channels", c->channels[i], 1, 65536, err)) ||
        (status = in_range(label, "layers_per_block", c->layers[i], 1, SD_UNET_LAYERS, err)) ||
        (status = in_range(label, "attention heads", c->heads[i], 1, 1024, err)))
        return status;
    if (c->channels[i] % c->groups)
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: block_out_channels: expected multiples of the %u norm groups, found %u", label,
                       c->groups, c->channels[i]);
    for (uint32_t j = 0; j < c->layers[i] + 1; j++) {
        uint32_t down = j < c->layers[i] ? c->down_depth[i][j] : 0, up = c->up_depth[top][j];
        attends |= down || up;
        if ((status = in_range(label, "transformer_layers_per_block", down, 0, SD_UNET_DEPTH, err)) ||
            (status = in_range(label, "transformer_layers_per_block", up, 0, SD_UNET_DEPTH, err)))
            return status;
    }
    if (attends && c->channels[i] % c->heads[i])
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: attention heads: expected a divisor of %u channels, found %u heads", label,
                       c->channels[i], c->heads[i]);
    return SD_OK;
}

sd_status sd_unet_config_check(const struct sd_unet_config *c, const char *label, sd_error *err) {
    sd_status status;
    if ((status = in_range(label, "in_channels", c->in_channels, 1, 1024, err)) ||
        (status = in_range(label, "out_channels", c->out_channels, 1, 1024, err)) ||
        (status = in_range(label, "number of blocks", c->levels, 1, SD_UNET_LEVELS, err)) ||
        (status = in_range(label, "norm_num_groups", c->groups, 1, 1024, err)) ||
        (status = in_range(label, "cross_attention_dim", c->context, 1, 65536, err)) ||
        (status = in_range(label, "time embedding", c->time_dim, 1, 65536, err)) ||
        (status = in_range(label, "projection_class_embeddings_input_dim", c->add_dim, 0, 65536, err)) ||
        (status = in_range(label, "addition_time_embed_dim", c->add_each, c->add_dim ? 2 : 0, 65536, err)) ||
        (status = in_range(label, "time_cond_proj_dim", c->time_cond, 0, 65536, err)) ||
        (status = in_range(label, "mid block's resnets", c->mid_resnets, 0, 2, err)) ||
        (status = in_range(label, "transformer_layers_per_block", c->mid_depth, 0,
                           c->mid_resnets == 2 ? SD_UNET_DEPTH : 0, err)))
        return status;
    if (c->channels[0] % 2 || c->add_each % 2)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected sinusoids of even width, found %u and %u", label,
                       c->channels[0], c->add_each);
    if (!(c->eps > 0 && c->eps < 1) || !(c->freq_shift >= 0 && c->freq_shift <= 1))
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: expected norm_eps in (0,1) and freq_shift in [0,1], found %g and %g", label,
                       (double)c->eps, (double)c->freq_shift);
    for (uint32_t i = 0; i < c->levels; i++)
        if ((status = check_level(c, i, label, err)))
            return status;
    return SD_OK;
}

bool sd_unet_needs_plain(const struct sd_unet_config *c, uint32_t h, uint32_t w) {
    uint32_t step = 1u << (c->levels - 1);
    return h % step || w % step;
}
