/* Push constants of shaders/resize_nearest.comp. */
#ifndef SD_SHADERS_RESIZE_NEAREST_H
#define SD_SHADERS_RESIZE_NEAREST_H

#include "shaders/source.h"

struct sd_resize_nearest_push {
    SD_SOURCE x;
    SD_ADDRESS out_address;
    SD_UINT in_h, in_w, out_h, out_w;
    SD_UINT pixels; /* of all output images */
    SD_UINT chunks; /* vectors of four channels of a pixel */
    SD_UINT out_pitch;
    SD_UINT unused;
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_resize_nearest_push) == 72, "the layout that the shader expects");
#endif

#endif
