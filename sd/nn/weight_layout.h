/* How the GEMM kernels want matrices to lie in memory. */
#ifndef SD_NN_WEIGHT_LAYOUT_H
#define SD_NN_WEIGHT_LAYOUT_H

#include "sd/nn/weight.h"

/* Words of [phase][tile][K words / run][tile columns][run], K over taps and then channels padded to a
 * multiple of `step`; two neighbouring k of f16 share a word. One phase, or four where taps are summed. */
struct sd_gemm_layout {
    uint32_t tile;     /* columns (output channels) of a tile */
    uint32_t step;     /* k's that a kernel takes at once; they never cross a tap */
    uint32_t run;      /* words of a column that lie together: one (CPUs) or a step's (GPUs) */
    uint32_t block;    /* channels, from a multiple of it on, whose even ones come first; 0: none are moved */
    uint32_t c_padded; /* channels of a tap */
    uint32_t taps;     /* 1, 9 or (per phase) 4 */
    uint32_t tiles, phases;
    uint64_t words; /* 32-bit words of one phase; quantised ones lie as shaders/quant.h says */
};

/* Whether the kernels for CPUs are used: on Mesa's llvmpipe (VK_VENDOR_ID_MESA) with subgroups of up to 16
 * lanes. Beyond 16 it names more lanes than it runs, and SwiftShader takes minutes to compile kernels that
 * are unrolled this far. */
bool sd_gemm_for_cpu(const struct sd_vk_info *info);

/* The number that shaders know a packed element type by (WEIGHT_... of shaders/quant.h). */
uint32_t sd_weight_shader_type(sd_dtype dtype);

/* Depends on nothing but the device description and the weight's shape and dtype. */
struct sd_gemm_layout sd_gemm_layout(const struct sd_vk_info *info, const sd_weight *weight);

#endif
