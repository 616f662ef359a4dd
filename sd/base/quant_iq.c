/* IQ4_NL and IQ4_XS: codes of 4 bits that stand for 16 uneven levels. */
#include "sd/base/quant_fit.h"
#include "sd/base/quant_internal.h"

#include <math.h>
#include <string.h>

static const int8_t table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static const struct sd_fit_levels levels = {.low = 0, .high = 15, .table = table};

/* 32 codes in 16 bytes: codes k and k + 16 share one. */
static void decode(const uint8_t *qs, float scale, float *x) {
    for (int k = 0; k < 16; k++) {
        x[k] = scale * (float)table[qs[k] & 15];
        x[k + 16] = scale * (float)table[qs[k] >> 4];
    }
}

static void pack(const int8_t *q, uint8_t *qs) {
    for (int k = 0; k < 16; k++)
        qs[k] = (uint8_t)(q[k] | q[k + 16] << 4);
}

void sd_iq4_nl_decode(const uint8_t *block, float *x) {
    decode(block + 2, sd_quant_get_half(block), x);
}

bool sd_iq4_nl_encode(const float *x, uint8_t *block) {
    int8_t q[32];
    if (!sd_quant_put_half(block, sd_fit_scale(&levels, x, 32)))
        return false;
    sd_fit_codes(&levels, x, 32, sd_quant_get_half(block), q);
    pack(q, block + 2);
    return true;
}

static int scale_of(const uint8_t *block, int s) {
    int low = block[4 + s / 2] >> 4 * (s % 2) & 15, high = block[2 + s / 4] >> 2 * (s % 4) & 3;
    return (low | high << 4) - 32;
}

void sd_iq4_xs_decode(const uint8_t *block, float *x) {
    float d = sd_quant_get_half(block);
    for (int s = 0; s < 8; s++)
        decode(block + 8 + 16 * s, d * (float)scale_of(block, s), x + 32 * s);
}

bool sd_iq4_xs_encode(const float *x, uint8_t *block) {
    static const struct sd_fit_signed shape = {
        .levels = {.low = 0, .high = 15, .table = table}, .sub = 32, .scale_low = -32, .scale_high = 31};
    struct sd_signed_block b;
    if (!sd_fit_signed(&shape, x, &b))
        return false;
    memset(block, 0, 8);
    for (int s = 0; s < 8; s++) {
        int sc = b.sc[s] + 32;
        block[2 + s / 4] |= (uint8_t)((sc >> 4) << 2 * (s % 4));
        block[4 + s / 2] |= (uint8_t)((sc & 15) << 4 * (s % 2));
        pack(b.q + 32 * s, block + 8 + 16 * s);
    }
    return sd_quant_put_half(block, b.d);
}
