/* The denoising network of Stable Diffusion 1, 2 and XL, after Ronneberger et al. 2015 (U-Net), Rombach et
 * al. 2022 (latent diffusion, arXiv:2112.10752) and Podell et al. 2023 (SDXL, arXiv:2307.01952). */
#ifndef UNET_UNET_H
#define UNET_UNET_H

#include "sd/nn/ops.h"
#include "unet/weights.h"

/* Inputs of the graph, all f32. Those that the configuration does not ask for are NULL. */
struct sd_unet_inputs {
    sd_tensor *latent;   /* [N,h,w,in_channels], step rate */
    sd_tensor *timestep; /* [N,1,1,1], step rate; 0...999, fractions allowed */
    sd_tensor *context;  /* [N,1,T,context] text states, prompt rate */
    sd_tensor *pooled;   /* [N,1,1,P] pooled text, prompt rate; with add_dim */
    sd_tensor *time_ids; /* [N*K,1,1,1], picture after picture; P + K*add_each = add_dim; with add_dim */
    sd_tensor *guidance; /* [N,1,1,time_cond] embedding of the guidance scale, prompt rate; with time_cond */
};

/* Declares the inputs for latents of h x w and `tokens` text tokens. `pooled` is P, unused without add_dim.
 * Errors are the graph's. */
void sd_unet_declare(sd_graph *g, const struct sd_unet_config *config, uint32_t n, uint32_t h, uint32_t w,
                     uint32_t tokens, uint32_t pooled, struct sd_unet_inputs *out);

/* Where the figure's boxes end, for tests and hooks. Unused entries are NULL. */
struct sd_unet_trace {
    sd_tensor *conv_in;              /* [N,h,w,channels[0]] */
    sd_tensor *time;                 /* [N,1,1,time_dim]: time embedding plus added embedding, before SiLU */
    sd_tensor *down[SD_UNET_LEVELS]; /* down_blocks.i, behind the downsampling */
    sd_tensor *mid;                  /* mid_block */
    sd_tensor *up[SD_UNET_LEVELS];   /* up_blocks.i, behind the upsampling */
};

/* Predicts the noise (or v, as the model was trained): [N,h,w,out_channels] f32. Any h and w when the weights
 * were bound plain, else multiples of 2^(levels-1). Node names start with diffusers' module paths. `trace`
 * may be NULL. Returns NULL once the graph failed. */
sd_tensor *sd_unet_forward(sd_graph *g, const struct sd_unet *unet, const struct sd_unet_inputs *in,
                           struct sd_unet_trace *trace);

#endif
