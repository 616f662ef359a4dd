/* Between pictures and latents: a model's VAE, or the TAESD that was given for it. Internal to the sd room.
 */
#ifndef SD_AUTOENCODER_H
#define SD_AUTOENCODER_H

#include "sd/cancel.h"
#include "sd/checkpoint.h"
#include "vae/taesd.h"
#include "vae/vae.h"

struct sd_autoencoder {
    bool tiny_decoder, tiny_encoder; /* TAESD's */
    struct sd_vae_decoder decoder;
    struct sd_vae_encoder encoder;
    struct sd_taesd_config tiny_config;
    struct sd_taesd_half tiny[2];                  /* decoder, encoder */
    sd_weights *decoder_weights, *encoder_weights; /* the encoder loads when first used */
};

/* Finds the VAE's configuration, for files->vae. SD_E_NOT_FOUND when there is neither VAE nor TAESD. */
sd_status sd_autoencoder_configure(sd_checkpoint *files, sd_error *err);

/* Loads the decoder; `cancel` (or NULL) stops it, here and below. */
sd_status sd_autoencoder_open(struct sd_autoencoder *a, sd_vk *vk, const sd_checkpoint *files,
                              sd_weight_precision precision, const sd_cancel *cancel, sd_error *err);
/* Loads the encoder unless it is there. SD_E_NOT_FOUND when the files have none. */
sd_status sd_autoencoder_need_encoder(struct sd_autoencoder *a, sd_vk *vk, const sd_checkpoint *files,
                                      sd_weight_precision precision, const sd_cancel *cancel, sd_error *err);
void sd_autoencoder_close(struct sd_autoencoder *a, sd_vk *vk);

/* z [N,h,w,latent] as the decoder reads it -> picture [N,8h,8w,3] f32, about -1..1. */
sd_tensor *sd_autoencoder_decode(sd_graph *g, const struct sd_autoencoder *a,
                                 const struct sd_vae_config *config, sd_tensor *z);
/* Picture [N,H,W,3] in -1..1 -> [N,H/8,W/8,latent or more] f32, of which the first `latent` channels are the
 * latent as the encoder gives it. */
sd_tensor *sd_autoencoder_encode(sd_graph *g, const struct sd_autoencoder *a,
                                 const struct sd_vae_config *config, sd_tensor *picture);

/* latent of the UNet = (latent of the autoencoder - shift) * scale. */
struct sd_latent_scale {
    float shift, scale;
};
struct sd_latent_scale sd_autoencoder_scale(bool tiny, const struct sd_vae_config *config);

#endif
