/* What the files of the quantised formats share. */
#ifndef SD_BASE_QUANT_INTERNAL_H
#define SD_BASE_QUANT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "sd/base/half.h"

enum { SD_QUANT_BLOCK = 256 }; /* values of the largest block */

static inline float sd_quant_get_half(const uint8_t *p) {
    return sd_f32_from_f16((uint16_t)(p[0] | p[1] << 8));
}

/* False when the value is too large for a half float (or NaN). */
static inline bool sd_quant_put_half(uint8_t *p, float value) {
    uint16_t half = sd_f16_from_f32(value);
    p[0] = (uint8_t)(half & 0xFF);
    p[1] = (uint8_t)(half >> 8);
    return (half & 0x7C00) != 0x7C00;
}

/* Two of them, `first` at p and `second` behind it. */
static inline bool sd_quant_put_halves(uint8_t *p, float first, float second) {
    bool fits = sd_quant_put_half(p, first);
    return sd_quant_put_half(p + 2, second) && fits;
}

/* One block from finite values; false when a scale does not fit. */
typedef bool sd_quant_encode(const float *x, uint8_t *block);
typedef void sd_quant_decode(const uint8_t *block, float *x);

sd_quant_encode sd_q4_0_encode, sd_q4_1_encode, sd_q5_0_encode, sd_q5_1_encode, sd_q8_0_encode;
sd_quant_decode sd_q4_0_decode, sd_q4_1_decode, sd_q5_0_decode, sd_q5_1_decode, sd_q8_0_decode;
sd_quant_encode sd_q2_k_encode, sd_q3_k_encode, sd_q4_k_encode, sd_q5_k_encode, sd_q6_k_encode;
sd_quant_decode sd_q2_k_decode, sd_q3_k_decode, sd_q4_k_decode, sd_q5_k_decode, sd_q6_k_decode;
sd_quant_encode sd_iq4_nl_encode, sd_iq4_xs_encode;
sd_quant_decode sd_iq4_nl_decode, sd_iq4_xs_decode;

#endif
