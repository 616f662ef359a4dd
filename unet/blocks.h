/* The boxes that the UNet's figure is made of. All tensors are channels last; NULL in, NULL out. */
#ifndef UNET_BLOCKS_H
#define UNET_BLOCKS_H

#include "sd/nn/ops.h"
#include "unet/weights.h"

/* ResnetBlock2D: x [N,H,W,c], may be a concatenation; `time` [N,1,1,time_dim], already through SiLU.
 * Returns [N,H,W,n]. */
sd_tensor *sd_unet_resnet(sd_graph *g, const struct sd_unet_config *config, const struct sd_unet_resnet *w,
                          sd_tensor *x, sd_tensor *time);

/* Transformer2DModel: x [N,H,W,n], context [N,1,T,context]. Returns [N,H,W,n]; x itself when the depth is 0.
 */
sd_tensor *sd_unet_transformer(sd_graph *g, const struct sd_unet_config *config,
                               const struct sd_unet_transformer *w, sd_tensor *x, sd_tensor *context);

/* Nearest upsampling to the size of `like` and a 3x3 convolution: x [N,H,W,n], like [N,h,w,any] with h and w
 * 2H or 2H-1. Returns [N,h,w,n]. */
sd_tensor *sd_unet_upsample(sd_graph *g, const struct sd_unet_stage *w, bool plain, sd_tensor *x,
                            const sd_tensor *like);

#endif
