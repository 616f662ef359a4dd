/* Plain C references of the normalisations: double sums, biased variance. */
#ifndef REF_NORM_H
#define REF_NORM_H

#include "sd/nn/ops.h"

/* x and out [n,pixels,c]; gamma and beta [c], NULL for ones and zeros. */
void ref_group_norm(float *out, const float *x, uint32_t n, uint32_t pixels, uint32_t c, uint32_t groups,
                    const float *gamma, const float *beta, float eps, sd_act act);
/* x and out [rows,c]. */
void ref_layer_norm(float *out, const float *x, uint32_t rows, uint32_t c, const float *gamma,
                    const float *beta, float eps);

#endif
