/* What distinguishes one UNet of the Stable Diffusion family from another: numbers, never code. */
#ifndef UNET_CONFIG_H
#define UNET_CONFIG_H

#include "sd/base/status.h"
#include "sd/nn/weight.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levels of resolution, resnets of a down block (an up block has one more), transformer layers in a row. */
enum { SD_UNET_LEVELS = 4, SD_UNET_LAYERS = 4, SD_UNET_UP_LAYERS = SD_UNET_LAYERS + 1, SD_UNET_DEPTH = 24 };

/* Level 0 has the size of the latent, every further level half of the one before it (rounded up).
 * down_blocks.i works at level i, up_blocks.i at level levels-1-i, mid_block at the last level. */
struct sd_unet_config {
    const char *name; /* of the row it equals, or NULL; see sd_unet_config_name */
    uint32_t in_channels, out_channels;
    uint32_t levels;
    uint32_t channels[SD_UNET_LEVELS];
    uint32_t layers[SD_UNET_LEVELS]; /* resnets of down_blocks.i; the up block of that level has one more */
    uint32_t heads[SD_UNET_LEVELS];  /* attention heads at that level; 1 or more also where unused */
    uint32_t cross_only[SD_UNET_LEVELS]; /* 1: attn1 reads the text too (SDXS), 0: it is self-attention */
    /* Transformer layers behind each resnet, 0 for none; indexed by block and resnet as in the names. */
    uint32_t down_depth[SD_UNET_LEVELS][SD_UNET_LAYERS];
    uint32_t up_depth[SD_UNET_LEVELS][SD_UNET_UP_LAYERS];
    uint32_t mid_resnets; /* 2; 1: no attention between; 0: no middle block */
    uint32_t mid_depth;
    uint32_t context;   /* width of the text encoder's states (cross_attention_dim) */
    uint32_t groups;    /* of every group norm */
    uint32_t time_dim;  /* of the time embedding, 4 * channels[0] */
    uint32_t add_dim;   /* width of pooled text + sinusoidal time ids (SDXL), 0 for none */
    uint32_t add_each;  /* width of one time id's sinusoid */
    uint32_t time_cond; /* width of the guidance embedding (LCM), 0 for none */
    uint32_t sample;    /* latent size the model was trained for, 0 when unknown */
    uint32_t sin_first; /* 1: the sinusoids' sines come before the cosines (flip_sin_to_cos false) */
    float freq_shift;   /* of the sinusoids */
    float eps;          /* of the resnets' group norms and the last one */
};

/* The row of that name ("sd1", "sd1-inpaint", "sd2", "sdxl", "sdxl-refiner" ...), or NULL. */
const struct sd_unet_config *sd_unet_config_find(const char *name);
/* The row at `index`, or NULL behind the last. */
const struct sd_unet_config *sd_unet_config_at(size_t index);
/* The row whose weights have the same names and shapes and whose heads, groups and constants are the same
 * (`sample` is not compared), or NULL. */
const struct sd_unet_config *sd_unet_config_match(const struct sd_unet_config *config);

/* SD_E_UNSUPPORTED with the field's name when a number is out of range or does not fit the others. `label`
 * starts the message. */
sd_status sd_unet_config_check(const struct sd_unet_config *config, const char *label, sd_error *err);

/* Reads diffusers' unet/config.json (`size` bytes of text; `label` is its path, for messages). Fields that
 * are absent have diffusers' defaults. SD_E_FORMAT when it is not such a file, SD_E_UNSUPPORTED naming the
 * field for anything that would change the network in a way that this version does not do, unknown fields
 * included (unless null or false). */
sd_status sd_unet_config_parse(struct sd_unet_config *out, const char *text, size_t size, const char *label,
                               sd_error *err);

/* Finds the configuration by looking at which weights exist and at their shapes. `source` answers to
 * canonical (diffusers) names, e.g. the source of unet/names.h over a single file. What shapes do not show is
 * taken from the row that fits, else from the family's habit: 32 groups, eps 1e-5, heads of 64 channels when
 * proj_in is a matrix and 8 heads when it is a 1x1 convolution. SD_E_NOT_FOUND names the first
 * weight that a UNet must have and `source` has not; SD_E_UNSUPPORTED says what was seen. `out` is filled
 * while looking, so that a name-mapping source may read it. */
sd_status sd_unet_detect(struct sd_unet_config *out, const struct sd_weight_source *source, sd_error *err);

/* Latents whose sizes cannot be halved levels-1 times need the plain form of the upsampling convolutions (see
 * sd_unet_bind). */
bool sd_unet_needs_plain(const struct sd_unet_config *config, uint32_t h, uint32_t w);

#endif
