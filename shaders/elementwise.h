/* Push constants of shaders/elementwise.comp. */
#ifndef SD_SHADERS_ELEMENTWISE_H
#define SD_SHADERS_ELEMENTWISE_H

#include "shaders/source.h"

#define SD_ELEMENTWISE_COPY 0
#define SD_ELEMENTWISE_AFFINE 1 /* a*s + t */
#define SD_ELEMENTWISE_SILU 2
#define SD_ELEMENTWISE_GELU 3
#define SD_ELEMENTWISE_QUICK_GELU 4
#define SD_ELEMENTWISE_RELU 5
#define SD_ELEMENTWISE_TANH 6
#define SD_ELEMENTWISE_ADD 7  /* a + b */
#define SD_ELEMENTWISE_LERP 8 /* a + t*(b-a) */

struct sd_elementwise_push {
    SD_SOURCE a, b;
    SD_ADDRESS out_address;
    SD_UINT rows, chunks;           /* pixels, and vectors of four channels in each */
    SD_UINT step_rows, step_chunks; /* a workgroup's width: that many pixels and vectors further on */
    SD_UINT out_pitch;
    float s, t;
    SD_UINT unused;
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_elementwise_push) == 104, "the layout that the shader expects");
#endif

#endif
