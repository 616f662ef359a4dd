/* Inputs of op tests in every form that an op may meet. */
#ifndef REF_OPERAND_H
#define REF_OPERAND_H

#include "tests/op/optest.h"

enum operand_form { OPERAND_WHOLE, OPERAND_SLICE, OPERAND_CONCAT, OPERAND_FORMS };

struct operand {
    sd_tensor *tensor;
    float *values; /* what it holds, [n,h,w,c] without gaps */
};

/* Random values of the graph's activation type, times `scale` plus `shift`, as a tensor of its own, a slice
 * of a wider one, or two parts of random widths. */
struct operand operand_make(optest *t, enum operand_form form, uint32_t n, uint32_t h, uint32_t w, uint32_t c,
                            float scale, float shift);

/* Makes the graph as for another device than the one it runs on, so that all variants of kernels are tested
 * everywhere: bit 0 of `variant` asks for those of GPUs, bit 1 for those without 64-bit integers. */
void operand_variant(optest *t, uint32_t variant);

#endif
