/* Between pictures and latents, and the denoising network as a function. Internal to the sd room. */
#ifndef SD_LATENT_H
#define SD_LATENT_H

#include "sd/model.h"
#include "sd/nn/strips.h"
#include "sd/stage.h"
#include "sd/text.h"

/* The UNet ready for one size and one pair of prompts. Latents are channels last on the host too. */
struct sd_denoiser {
    sd_model *model;
    struct sd_stage stage;
    struct sd_unet_inputs in;
    sd_tensor *out;
    /* Without guidance 1, with it 2, without and with the prompt, or 3 where the UNet edits a picture:
     * without both, with the picture, with both. */
    uint32_t batch;
    uint32_t height, width, channels, in_channels;
    const struct sd_params *params;
    const float *extra;    /* [h][w][in_channels - channels] */
    float *input, *output; /* [batch][h][w][in_channels or channels] */
};

/* How many evaluations guidance takes. */
uint32_t sd_denoiser_batch(const sd_model *model, bool guided);

/* `plan_only`: conditioning's sizes are all that is read. cond->prompts 1 means no guidance. `params` are a
 * resolved request's; they, and `extra` (NULL for a UNet that reads latents alone), must outlive the
 * denoiser. */
sd_status sd_denoiser_create(struct sd_denoiser *d, sd_model *model, const struct sd_conditioning *cond,
                             const sd_params *params, const float *extra, bool plan_only,
                             const struct sd_watch *watch, sd_error *err);
void sd_denoiser_destroy(struct sd_denoiser *d);

/* One guided evaluation: x [h][w][channels] at noise level sigma -> denoised, same shape. */
sd_status sd_denoise(struct sd_denoiser *d, const float *x, double sigma, float *denoised, sd_error *err);

/* Both halves of the autoencoder take the picture's size and the memory that they may use from `params`,
 * which are a resolved request's. Where memory is short they work in strips (sd/nn/strips.h), which changes
 * no bit of the result. */

/* latent [h][w][channels] in the UNet's scale -> RGB bytes [8h][8w][3]. Repeats in f32 when f16 overflows. */
sd_status sd_decode(sd_model *model, const sd_params *params, const struct sd_watch *watch,
                    const float *latent, uint8_t *pixels, sd_error *err);
/* The same by a TAESD for the model's latents, where that is not the model's own. */
sd_status sd_decode_by(sd_model *model, const struct sd_autoencoder *decoder, const sd_params *params,
                       const struct sd_watch *watch, const float *latent, uint8_t *pixels, sd_error *err);
/* What the decoder would take. */
sd_status sd_decode_plan(sd_model *model, const sd_params *params, struct sd_strips_stats *out,
                         sd_error *err);

/* Picture [H][W][3] in -1..1 of the request's size -> the mean of the latent distribution in the UNet's
 * scale, [h][w][channels]. The mean, because a sample would add noise that no seed of the request names. */
sd_status sd_encode(sd_model *model, const sd_params *params, const struct sd_watch *watch, float *picture,
                    float *latent, sd_error *err);
/* RGB bytes as the encoder reads them, [H][W][3] in -1..1. */
void sd_picture_floats(const sd_picture *picture, float *out);

/* sd_generate without the decoder: *latents [count][h][w][channels] (free with free()), *values of one image.
 */
sd_status sd_generate_latents(sd_model *model, const sd_params *params, float **latents, size_t *values,
                              sd_error *err);

#endif
