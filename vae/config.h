/* Shapes of the variational autoencoders (Rombach et al. 2022, section 3.1; factor 8, KL-regularised). */
#ifndef SD_VAE_CONFIG_H
#define SD_VAE_CONFIG_H

#include "sd/nn/weight.h"

enum { SD_VAE_LEVELS = 4 };

struct sd_vae_config {
    uint32_t image_channels;          /* 3 */
    uint32_t latent_channels;         /* 4 */
    uint32_t channels[SD_VAE_LEVELS]; /* from the largest picture to the smallest */
    uint32_t levels;                  /* each but the last halves the picture: factor 2^(levels-1) */
    uint32_t layers;                  /* residual blocks a level of the encoder; the decoder has one more */
    uint32_t groups;                  /* of the group norms */
    bool quant_conv, post_quant_conv; /* 1x1 convolutions round the latent */
    float scaling_factor;             /* latent of the UNet = (z - shift) * scaling */
    float shift_factor;
};

/* The autoencoder of SD 1 and SD 2 (scaling 0.18215); SDXL's has the same shape and scaling 0.13025. */
extern const struct sd_vae_config sd_vae_sd1, sd_vae_sdxl;

/* Reads a diffusers vae/config.json. Fields that mean something this decoder cannot do are refused by name.
 */
sd_status sd_vae_config_parse(struct sd_vae_config *out, const char *json, size_t size, const char *label,
                              sd_error *err);

/* Fills levels, layers, channels, groups and the quant convolutions from the tensors of a checkpoint
 * (canonical diffusers names); scaling and shift stay as they are in *out. SD_E_NOT_FOUND when it holds no
 * decoder. */
sd_status sd_vae_detect(struct sd_vae_config *out, const struct sd_weight_source *source, sd_error *err);

/* The single-file (LDM) name of a canonical diffusers name, without "first_stage_model.". False when the name
 * has no counterpart or does not fit. Attention layers come as q, k, v and proj_out there. */
bool sd_vae_ldm_name(const struct sd_vae_config *config, const char *canonical, char *out, size_t size);

/* The name that diffusers gave the attention layers before 0.15 (query, key, value, proj_attn); false for
 * others. */
bool sd_vae_old_name(const char *canonical, char *out, size_t size);

#endif
