/* Q3_K and Q6_K: 256 values in sub-blocks of 16 with a signed scale each. */
#include "sd/base/quant_fit.h"
#include "sd/base/quant_internal.h"

#include <string.h>

/* ---- Q3_K ---- */

static int q3_scale(const uint8_t *scales, int s) {
    int low = scales[s % 8] >> 4 * (s / 8) & 15, high = scales[8 + s % 4] >> 2 * (s / 4) & 3;
    return (low | high << 4) - 32;
}

void sd_q3_k_decode(const uint8_t *block, float *x) {
    const uint8_t *hmask = block, *qs = block + 32, *scales = block + 96;
    float d = sd_quant_get_half(block + 108);
    for (int s = 0; s < 16; s++) {
        float scale = d * (float)q3_scale(scales, s);
        int at = 16 * (s % 2);
        for (int k = at; k < at + 16; k++) {
            int low = qs[32 * (s / 8) + k] >> 2 * (s / 2 % 4) & 3, high = hmask[k] >> s / 2 & 1;
            *x++ = scale * (float)(low + 4 * high - 4);
        }
    }
}

bool sd_q3_k_encode(const float *x, uint8_t *block) {
    static const struct sd_fit_signed shape = {
        .levels = {.low = -4, .high = 3}, .sub = 16, .scale_low = -32, .scale_high = 31};
    struct sd_signed_block b;
    if (!sd_fit_signed(&shape, x, &b))
        return false;
    memset(block, 0, 110);
    for (int i = 0; i < 256; i++) {
        int q = b.q[i] + 4;
        block[i % 32] |= (uint8_t)((q >> 2) << i / 32);
        block[32 + 32 * (i / 128) + i % 32] |= (uint8_t)((q & 3) << 2 * (i / 32 % 4));
    }
    for (int s = 0; s < 16; s++) {
        int sc = b.sc[s] + 32;
        block[96 + s % 8] |= (uint8_t)((sc & 15) << 4 * (s / 8));
        block[104 + s % 4] |= (uint8_t)((sc >> 4) << 2 * (s / 4));
    }
    return sd_quant_put_half(block + 108, b.d);
}

/* ---- Q6_K ---- */

void sd_q6_k_decode(const uint8_t *block, float *x) {
    const uint8_t *ql = block, *qh = block + 128;
    float d = sd_quant_get_half(block + 208);
    for (int s = 0; s < 16; s++) {
        float scale = d * (float)(int8_t)block[192 + s];
        for (int i = 16 * s; i < 16 * s + 16; i++) {
            int low = ql[64 * (i / 128) + i % 64] >> 4 * (i / 64 % 2) & 15;
            int high = qh[32 * (i / 128) + i % 32] >> 2 * (i / 32 % 4) & 3;
            x[i] = scale * (float)((low | high << 4) - 32);
        }
    }
}

bool sd_q6_k_encode(const float *x, uint8_t *block) {
    static const struct sd_fit_signed shape = {
        .levels = {.low = -32, .high = 31}, .sub = 16, .scale_low = -128, .scale_high = 127};
    struct sd_signed_block b;
    if (!sd_fit_signed(&shape, x, &b))
        return false;
    memset(block, 0, 210);
    for (int i = 0; i < 256; i++) {
        int q = b.q[i] + 32;
        block[64 * (i / 128) + i % 64] |= (uint8_t)((q & 15) << 4 * (i / 64 % 2));
        block[128 + 32 * (i / 128) + i % 32] |= (uint8_t)((q >> 4) << 2 * (i / 32 % 4));
    }
    for (int s = 0; s < 16; s++)
        block[192 + s] = (uint8_t)b.sc[s];
    return sd_quant_put_half(block + 208, b.d);
}
