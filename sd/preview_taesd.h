/* The TAESD that lies in the context's model folder, for previews alone. Internal to the sd room. */
#ifndef SD_PREVIEW_TAESD_H
#define SD_PREVIEW_TAESD_H

#include "sd/model.h"

/* {0}: there is none. */
struct sd_preview_taesd {
    sd_checkpoint *files;
    struct sd_autoencoder autoencoder;
};

/* Finds the one of the model's family as A1111 (VAE-taesd, VAE-approx) and ComfyUI (vae_approx) keep it, and
 * loads its decoder: a file called taesd_decoder or taesd (taesdxl... for SDXL), or diffusers' folder of that
 * name. SD_OK without `files` where there is none. */
sd_status sd_preview_taesd_open(struct sd_preview_taesd *out, const sd_model *model, sd_error *err);
void sd_preview_taesd_close(struct sd_preview_taesd *taesd, sd_vk *vk);

#endif
