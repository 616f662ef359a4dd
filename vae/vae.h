/* Encoder and decoder between pictures and latents. */
#ifndef SD_VAE_VAE_H
#define SD_VAE_VAE_H

#include "sd/nn/graph.h"
#include "vae/config.h"

enum { SD_VAE_LAYERS = 17 };

/* GroupNorm, SiLU, 3x3, twice, and a 1x1 shortcut where the width changes. */
struct sd_vae_resnet {
    sd_layer norm1, conv1, norm2, conv2,
        shortcut; /* shortcut.weight NULL when input and output are as wide */
};

/* Single-head self-attention over all pixels. */
struct sd_vae_attention {
    sd_layer norm, qkv, out; /* qkv: [3c,c], query over key over value */
};

struct sd_vae_mid {
    struct sd_vae_resnet resnet[2];
    struct sd_vae_attention attention;
};

struct sd_vae_level {
    struct sd_vae_resnet resnet[SD_VAE_LAYERS];
    sd_layer resample; /* weight NULL at the last level */
};

struct sd_vae_decoder {
    sd_layer post_quant, conv_in;
    struct sd_vae_mid mid;
    struct sd_vae_level up[SD_VAE_LEVELS]; /* in the order of running: smallest picture first */
    sd_layer norm_out, conv_out;
};

struct sd_vae_encoder {
    sd_layer conv_in;
    struct sd_vae_level down[SD_VAE_LEVELS];
    struct sd_vae_mid mid;
    sd_layer norm_out, conv_out, quant;
};

/* Declares the weights with canonical diffusers names. */
void sd_vae_bind_decoder(struct sd_vae_decoder *out, sd_weights *w, const struct sd_vae_config *config);
void sd_vae_bind_encoder(struct sd_vae_encoder *out, sd_weights *w, const struct sd_vae_config *config);

/* z [N,h,w,latent] (already divided by the scaling factor) -> picture [N,8h,8w,3] f32, about -1..1. */
sd_tensor *sd_vae_decode(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_decoder *d,
                         sd_tensor *z);

/* Picture [N,H,W,3] in -1..1, H and W multiples of 2^(levels-1) -> moments [N,H/8,W/8,2*latent] f32: means,
 * then logarithms of variances. */
sd_tensor *sd_vae_encode(sd_graph *g, const struct sd_vae_config *config, const struct sd_vae_encoder *e,
                         sd_tensor *picture);

#endif
