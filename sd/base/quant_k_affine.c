/* Q2_K, Q4_K and Q5_K: 256 values in sub-blocks with a scale and an offset each. */
#include "sd/base/quant_fit.h"
#include "sd/base/quant_internal.h"

#include <string.h>

/* ---- Q2_K ---- */

void sd_q2_k_decode(const uint8_t *block, float *x) {
    const uint8_t *scales = block, *qs = block + 16;
    float d = sd_quant_get_half(block + 80), dmin = sd_quant_get_half(block + 82);
    for (int s = 0; s < 16; s++) {
        float scale = d * (float)(scales[s] & 15), offset = dmin * (float)(scales[s] >> 4);
        const uint8_t *from = qs + 32 * (s / 8) + 16 * (s % 2);
        for (int k = 0; k < 16; k++)
            x[16 * s + k] = scale * (float)(from[k] >> 2 * (s / 2 % 4) & 3) - offset;
    }
}

bool sd_q2_k_encode(const float *x, uint8_t *block) {
    struct sd_affine_block b;
    if (!sd_fit_affine(&(struct sd_fit_affine){.sub = 16, .code_high = 3, .scale_high = 15}, x, &b))
        return false;
    memset(block, 0, 84);
    for (int s = 0; s < 16; s++)
        block[s] = (uint8_t)(b.sc[s] | b.mn[s] << 4);
    for (int i = 0; i < 256; i++)
        block[16 + 32 * (i / 128) + i % 32] |= (uint8_t)(b.q[i] << 2 * (i / 32 % 4));
    return sd_quant_put_halves(block + 80, b.d, b.dmin);
}

/* ---- Q4_K and Q5_K ---- */

/* Eight scales and eight offsets of 6 bits in 12 bytes. */
static void get_scales(const uint8_t *p, uint8_t *sc, uint8_t *mn) {
    for (int s = 0; s < 4; s++) {
        sc[s] = p[s] & 63;
        mn[s] = p[s + 4] & 63;
        sc[s + 4] = (uint8_t)((p[s + 8] & 15) | p[s] >> 6 << 4);
        mn[s + 4] = (uint8_t)(p[s + 8] >> 4 | p[s + 4] >> 6 << 4);
    }
}

static void put_scales(const uint8_t *sc, const uint8_t *mn, uint8_t *p) {
    for (int s = 0; s < 4; s++) {
        p[s] = (uint8_t)(sc[s] | sc[s + 4] >> 4 << 6);
        p[s + 4] = (uint8_t)(mn[s] | mn[s + 4] >> 4 << 6);
        p[s + 8] = (uint8_t)((sc[s + 4] & 15) | mn[s + 4] << 4);
    }
}

/* `qh` is NULL for codes of 4 bits. */
static void decode(const uint8_t *block, const uint8_t *qh, const uint8_t *qs, float *x) {
    float d = sd_quant_get_half(block), dmin = sd_quant_get_half(block + 2);
    uint8_t sc[8], mn[8];
    get_scales(block + 4, sc, mn);
    for (int s = 0; s < 8; s++) {
        float scale = d * (float)sc[s], offset = dmin * (float)mn[s];
        for (int k = 0; k < 32; k++) {
            int q = qs[32 * (s / 2) + k] >> 4 * (s % 2) & 15;
            if (qh)
                q |= (qh[k] >> s & 1) << 4;
            x[32 * s + k] = scale * (float)q - offset;
        }
    }
}

static bool encode(const float *x, int code_high, uint8_t *block, uint8_t *qh, uint8_t *qs) {
    struct sd_affine_block b;
    if (!sd_fit_affine(&(struct sd_fit_affine){.sub = 32, .code_high = code_high, .scale_high = 63}, x, &b))
        return false;
    put_scales(b.sc, b.mn, block + 4);
    memset(qs, 0, 128);
    if (qh)
        memset(qh, 0, 32);
    for (int i = 0; i < 256; i++) {
        qs[32 * (i / 64) + i % 32] |= (uint8_t)((b.q[i] & 15) << 4 * (i / 32 % 2));
        if (qh)
            qh[i % 32] |= (uint8_t)((b.q[i] >> 4) << i / 32);
    }
    return sd_quant_put_halves(block, b.d, b.dmin);
}

void sd_q4_k_decode(const uint8_t *block, float *x) {
    decode(block, NULL, block + 16, x);
}

bool sd_q4_k_encode(const float *x, uint8_t *block) {
    return encode(x, 15, block, NULL, block + 16);
}

void sd_q5_k_decode(const uint8_t *block, float *x) {
    decode(block, block + 16, block + 48, x);
}

bool sd_q5_k_encode(const float *x, uint8_t *block) {
    return encode(x, 31, block, block + 16, block + 48);
}
