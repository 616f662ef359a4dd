/* TAESD, the tiny autoencoder for previews and drafts (Bohan 2023, "Tiny AutoEncoder for Stable Diffusion"):
 * as many channels throughout, no normalisation, no attention. Its latents are the UNet's, without scaling.
 */
#ifndef SD_VAE_TAESD_H
#define SD_VAE_TAESD_H

#include "sd/nn/graph.h"

#include <stdbool.h>
#include <stddef.h>

enum { SD_TAESD_STAGES = 4, SD_TAESD_BLOCKS = 3, SD_TAESD_LATENT = 4 };

/* relu(conv(relu(conv(relu(conv(x))))) + x), all 3x3. */
struct sd_taesd_block {
    sd_layer conv[3];
};

/* A convolution and the blocks behind it. */
struct sd_taesd_stage {
    sd_layer conv;
    struct sd_taesd_block block[SD_TAESD_BLOCKS];
};

/* Stages from the smallest picture to the largest (decoder), or the other way round (encoder). */
struct sd_taesd_half {
    struct sd_taesd_stage stage[SD_TAESD_STAGES];
    sd_layer conv_out;
};

struct sd_taesd_config {
    uint32_t width; /* channels between the first and the last convolution; 64 in the published ones */
    bool encoder;   /* the files often hold the decoder alone */
};

/* Looks at the weights of a source. SD_E_NOT_FOUND when it has no decoder, SD_E_UNSUPPORTED when its latents
 * are not of 4 channels, as those for SD 3 and Flux. */
sd_status sd_taesd_detect(struct sd_taesd_config *out, const struct sd_weight_source *source, sd_error *err);

/* Declares the weights with the names of diffusers' AutoencoderTiny: "decoder.layers.3.conv.0.weight". */
void sd_taesd_bind_decoder(struct sd_taesd_half *out, sd_weights *w, const struct sd_taesd_config *config);
void sd_taesd_bind_encoder(struct sd_taesd_half *out, sd_weights *w, const struct sd_taesd_config *config);

/* latent [N,h,w,4] -> picture [N,8h,8w,3] f32, about -1..1. */
sd_tensor *sd_taesd_decode(sd_graph *g, const struct sd_taesd_half *decoder, sd_tensor *latent);
/* Picture [N,H,W,3] in -1..1, H and W multiples of 8 -> latent [N,H/8,W/8,4] f32. */
sd_tensor *sd_taesd_encode(sd_graph *g, const struct sd_taesd_half *encoder, sd_tensor *picture);

/* The name in the authors' files, whose decoder has one more layer in front (the clamp):
 * "decoder.4.conv.0.weight" where `both` halves lie in one file, "4.conv.0.weight" in a file of the decoder
 * alone. False for others. */
bool sd_taesd_old_name(const char *canonical, bool both, char *out, size_t size);

#endif
