/* Reference of linear layers and convolutions on float arrays, with sums in double. */
#ifndef REF_GEMM_H
#define REF_GEMM_H

#include <stdbool.h>
#include <stdint.h>

struct ref_conv {
    uint32_t n, h, w, c;          /* input [n,h,w,c] */
    uint32_t oh, ow, oc;          /* output [n,oh,ow,oc], before GEGLU */
    uint32_t kernel, stride, pad; /* zero padding before the first row and column */
    bool upsample;                /* nearest 2x before the convolution */
    bool geglu;                   /* out [n,oh,ow,oc/2] = value * gelu(gate); the gates are the second half */
    bool act_last;                /* behind the residual */
    int act;                      /* sd_act */
    const float *x, *weight, *bias, *vector,
        *residual; /* weight [oc,c,k,k]; vector [n or 1,oc]; NULL: none */
    bool one_vector;
    const float *side; /* [n,oh,ow,oc], added to the sums; NULL: none */
};

void ref_conv(const struct ref_conv *q, float *out);

#endif
