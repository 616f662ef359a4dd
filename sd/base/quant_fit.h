/* The search for scales that make the sum of squared errors of a quantised block small. */
#ifndef SD_BASE_QUANT_FIT_H
#define SD_BASE_QUANT_FIT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "sd/base/half.h"

enum { SD_FIT_VALUES = 256, SD_FIT_SUB = 32, SD_FIT_SUBS = 16 };

/* To a whole number, halves to even; below 2^22. */
static inline float sd_fit_round(float value) {
    return value + 12582912.0f - 12582912.0f;
}

/* A half float near the value; not 0 unless the value is, because then the whole block would be. */
static inline float sd_fit_half(float value) {
    float half = sd_f32_from_f16(sd_f16_from_f32(value));
    return half == 0 && value != 0 ? copysignf(0x1p-24f, value) : half;
}

/* ---- x = d sc level(q) ---- */

/* What a code may stand for. */
struct sd_fit_levels {
    int low, high;       /* the codes */
    const int8_t *table; /* level(q) = table[q], rising; NULL: q itself */
};

/* The scale s for which s level(q), with the best q for each of the n values (a multiple of 4, at most
 * SD_FIT_SUB), comes nearest; 0 for zeros. Finite values only. */
float sd_fit_scale(const struct sd_fit_levels *levels, const float *x, int n);

/* The best code of each value for this scale. */
void sd_fit_codes(const struct sd_fit_levels *levels, const float *x, int n, float scale, int8_t *q);

struct sd_fit_signed {
    struct sd_fit_levels levels;
    int sub;                   /* values of a sub-block: 16 or 32 */
    int scale_low, scale_high; /* range of sc */
};

struct sd_signed_block {
    float d; /* a half float's value */
    int8_t sc[SD_FIT_SUBS];
    int8_t q[SD_FIT_VALUES];
};

/* 256 finite values; false when d does not fit in a half float. */
bool sd_fit_signed(const struct sd_fit_signed *shape, const float *x, struct sd_signed_block *out);

/* ---- x = d sc q - dmin mn ---- */

struct sd_fit_affine {
    int sub;        /* values of a sub-block: 16 or 32 */
    int code_high;  /* codes are 0..code_high */
    int scale_high; /* sc and mn are 0..scale_high */
};

struct sd_affine_block {
    float d, dmin; /* half floats' values */
    uint8_t sc[SD_FIT_SUBS], mn[SD_FIT_SUBS];
    uint8_t q[SD_FIT_VALUES];
};

/* 256 finite values; false when d or dmin does not fit in a half float. */
bool sd_fit_affine(const struct sd_fit_affine *shape, const float *x, struct sd_affine_block *out);

#endif
