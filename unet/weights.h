/* The weights of a UNet as a tree that mirrors the figure. */
#ifndef UNET_WEIGHTS_H
#define UNET_WEIGHTS_H

#include "sd/nn/weight.h"
#include "unet/config.h"

struct sd_unet_resnet {
    sd_layer norm1, conv1; /* c -> n, 3x3 */
    sd_layer time;         /* time_dim -> n */
    sd_layer norm2, conv2; /* n -> n, 3x3 */
    sd_layer shortcut;     /* c -> n, 1x1; empty when c = n */
    bool projects;         /* whether there is a shortcut layer */
};

/* One transformer layer of width n. */
struct sd_unet_block {
    sd_layer norm1, qkv1, q1, kv1, out1; /* self-attention: qkv1; one that reads the text: q1 and kv1 */
    sd_layer norm2, q2, kv2, out2;       /* cross-attention: kv2 is context -> 2n */
    sd_layer norm3, ff_in, ff_out;       /* n -> 4n (GEGLU) -> n */
    bool reads_text;                     /* attn1 reads the text */
};

struct sd_unet_transformer {
    uint32_t depth, heads;
    sd_layer norm, proj_in, proj_out;
    struct sd_unet_block *blocks; /* depth */
};

/* A down block, an up block or the middle. */
struct sd_unet_stage {
    uint32_t layers;
    struct sd_unet_resnet resnets[SD_UNET_UP_LAYERS];
    struct sd_unet_transformer attentions[SD_UNET_UP_LAYERS]; /* depth 0: none */
    bool resamples;                                           /* whether `sampler` is there */
    sd_layer sampler;                                         /* 3x3, n -> n */
};

struct sd_unet {
    struct sd_unet_config config;
    bool plain; /* upsampling convolutions are bound as ordinary 3x3 ones */
    sd_layer conv_in;
    sd_layer time1, time2, time_cond; /* channels[0] -> time_dim -> time_dim; time_cond -> channels[0] */
    sd_layer add1, add2;              /* add_dim -> time_dim -> time_dim */
    struct sd_unet_stage down[SD_UNET_LEVELS], mid, up[SD_UNET_LEVELS];
    sd_layer norm_out, conv_out;
    sd_arena arena;
};

/* Declares every weight in `weights` by its canonical name. `plain` false: upsampling convolutions take the
 * fast form (four 2x2 filters), which serves latents whose sides are multiples of 2^(levels-1); true: the
 * ordinary 3x3 form behind a resized copy, which serves every size and costs 2.25 times the arithmetic of
 * those layers. Both cannot be had at once, because the packed filters differ: see sd_unet_needs_plain. The
 * tree is owned by the caller, the weights by `weights`, which must outlive it. */
sd_status sd_unet_bind(struct sd_unet **out, const struct sd_unet_config *config, bool plain,
                       sd_weights *weights, sd_error *err);
void sd_unet_destroy(struct sd_unet **unet);

#endif
