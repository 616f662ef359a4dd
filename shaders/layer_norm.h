/* Push constants of shaders/layer_norm.comp. */
#ifndef SD_SHADERS_LAYER_NORM_H
#define SD_SHADERS_LAYER_NORM_H

#include "shaders/source.h"

#define SD_LAYER_NORM_LANES 128 /* of a workgroup at most */

struct sd_layer_norm_push {
    SD_SOURCE x;
    SD_ADDRESS out_address, gamma, beta;
    SD_UINT rows, chunks; /* tokens, and vectors of four channels in each */
    SD_UINT out_pitch;
    float eps;
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_layer_norm_push) == 72, "the layout that the shader expects");
#endif

#endif
