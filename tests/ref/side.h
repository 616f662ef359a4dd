/* What a layer's weight has at its side (struct sd_weight_side), for op tests. */
#ifndef REF_SIDE_H
#define REF_SIDE_H

#include "tests/op/optest.h"
#include "tests/ref/gemm.h"

/* Gives the layer, whose upsampling sums taps or not, random thin matrices of type `stored`, of rank 1 to 24
 * and with values of `up` below 1/8, and q->side what they add. The layer is the one that `q` describes. */
void side_attach(optest *t, sd_layer layer, struct ref_conv *q, sd_dtype stored, bool summed);

#endif
