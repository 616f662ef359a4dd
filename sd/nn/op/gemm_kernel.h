/* Which kernel runs a GEMM on a device, and with which tile. */
#ifndef SD_NN_OP_GEMM_KERNEL_H
#define SD_NN_OP_GEMM_KERNEL_H

#include "sd/nn/op.h"
#include "sd/nn/weight_layout.h"
#include "shaders/gemm.h"

/* What the choice depends on, besides the device's description. */
struct sd_gemm_need {
    uint32_t rows;  /* of one phase */
    uint32_t fixed; /* GEMM_FIXED_... and flags of shaders/gemm.h that CPU kernels are compiled for */
    bool a_half, concat;
    bool
        quads; /* 8 neighbouring channels never straddle parts or the end, and lie at multiples of 16 bytes */
};

struct sd_gemm_kernel {
    const struct sd_shader *shader;
    uint32_t rows, columns; /* of a workgroup's tile */
    uint32_t subgroup;      /* required size, or 0 */
    uint32_t spec[GEMM_COOP_SPECS], spec_count;
};

struct sd_gemm_kernel sd_gemm_choose(const struct sd_vk_info *info, const sd_weight *weight,
                                     const struct sd_gemm_need *need);

#endif
