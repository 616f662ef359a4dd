/* Push constants and specialization constants of the GEMM kernels, shared by C and GLSL. */
#ifndef GEMM_H
#define GEMM_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define ADDRESS uint64_t
#else
#define ADDRESS uvec2
#endif

#define GEMM_FLAG_OUT_HALF 1u
#define GEMM_FLAG_UPSAMPLE 2u
#define GEMM_FLAG_GEGLU 4u
#define GEMM_FLAG_BIAS 8u
#define GEMM_FLAG_VECTOR 16u
#define GEMM_FLAG_VECTOR_HALF 32u
#define GEMM_FLAG_RESIDUAL 64u
#define GEMM_FLAG_RESIDUAL_HALF 128u
#define GEMM_ACT_SHIFT 8         /* 3 bits: sd_act */
#define GEMM_FLAG_ACT_LAST 2048u /* the activation comes behind the residual */
#define GEMM_STRIDE_SHIFT 12
#define GEMM_PAD_SHIFT 16
#define GEMM_WIDTH_SHIFT 20 /* taps in a row */
#define GEMM_TAPS_SHIFT 24

/* Only in the constant GEMM_FIXED. */
#define GEMM_FIXED_LINEAR 0x10000000u /* one tap, and the result's pixels are the input's */
#define GEMM_FIXED_A_WIDE                                                                                    \
    0x20000000u /* the input's pixels start at multiples of 8 bytes and hold whole pairs */
#define GEMM_FIXED_OUT_WIDE 0x40000000u /* so do those of the result and of what is added to it */

struct gemm_push {
    ADDRESS a, a2; /* input; second part of a concatenation */
    ADDRESS weight, bias;
    ADDRESS vector;   /* [images,1,1,N]: added before the activation */
    ADDRESS residual; /* added after it, or before it with GEMM_FLAG_ACT_LAST, which GEGLU needs */
    ADDRESS result;
    uint rows;          /* GEMM rows: output pixels (of one phase when upsampling) */
    uint columns;       /* output channels, before GEGLU halves them */
    uint h, w;          /* input picture */
    uint oh, ow;        /* picture that `rows` counts */
    uint c, c1;         /* channels of the input, of its first part */
    uint pitch, pitch2; /* elements between input pixels, of the first and second part */
    uint c_padded;      /* weight rows a tap */
    uint result_pitch, residual_pitch;
    uint vector_pitch; /* elements between images; 0: one for all */
    uint row_tiles;
    uint flags; /* GEMM_FLAG_... */
};

#ifndef GL_core_profile
#undef uint
#undef ADDRESS
_Static_assert(sizeof(struct gemm_push) == 120, "as the shader lays it out");

/* Specialization constants, by index. What only the epilogue or the tap's address needs is a flag on GPUs,
 * where a uniform branch costs next to nothing. CPUs run both sides of it: their kernels are compiled for
 * such flags. */
enum {
    GEMM_LANES, /* invocations of a workgroup */
    GEMM_A_HALF,
    GEMM_W_TYPE, /* WEIGHT_... of shaders/quant.h */
    GEMM_CONCAT,
    GEMM_FIXED, /* CPU kernels: flags that they are compiled for */
    GEMM_CPU_SPECS,
    /* Kernels for GPUs: */
    GEMM_QUADS = GEMM_FIXED, /* activations can be read 16 bytes at a time */
    GEMM_BM,                 /* rows and columns of a workgroup's tile */
    GEMM_BN,
    GEMM_STEP, /* channels of a tap that the weights are packed in: 16 or 32 */
    GEMM_GPU_SPECS,
    /* With cooperative matrices: */
    GEMM_SUBGROUP = GEMM_GPU_SPECS,
    GEMM_WM, /* rows and columns of a subgroup's part of the tile */
    GEMM_WN,
    GEMM_FM, /* shape of a matrix operation */
    GEMM_FN,
    GEMM_FK,
    GEMM_COOP_SPECS
};
#endif
#endif
