/* The two namings of a UNet's weights: canonical (diffusers folders) and LDM (single files). */
#ifndef UNET_NAMES_H
#define UNET_NAMES_H

#include "unet/config.h"

/* What stands before the LDM names in single files. */
#define SD_UNET_LDM_PREFIX "model.diffusion_model."

/* Writes the LDM name of a weight or module to `buffer`, without prefix:
 * "down_blocks.0.resnets.1.conv1.weight" becomes "input_blocks.2.0.in_layers.2.weight";
 * "down_blocks.1.attentions.0" becomes "input_blocks.4.1". The configuration gives the numbering: layers of
 * the blocks before this one, and for upsamplers whether attention stands before them. False when the name is
 * none of a UNet's or `size` is too small. Thread-safe. */
bool sd_unet_ldm_name(const struct sd_unet_config *config, const char *canonical, char *buffer, size_t size);

/* The reverse. */
bool sd_unet_canonical_name(const struct sd_unet_config *config, const char *ldm, char *buffer, size_t size);

/* A weight source that answers to canonical names from a file with LDM names. The caller keeps the struct
 * (and what it points to) alive as long as the source is used. For sd_unet_detect, let `config` be the struct
 * that is being filled. */
struct sd_unet_ldm {
    const struct sd_weight_source *file;
    const struct sd_unet_config *config;
    const char *prefix; /* NULL: SD_UNET_LDM_PREFIX */
};
struct sd_weight_source sd_unet_ldm_source(struct sd_unet_ldm *ldm);

#endif
