/* Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: blocks of 32 with one scale, and an offset in the _1 types. */
#include "sd/base/quant_internal.h"

#include <math.h>
#include <string.h>

enum { values = 32, half_block = 16 };

/* ---- codes of 4 and 5 bits ---- */

/* Value j and value j + 16 share byte j; the fifth bits, if any, are one word apart. */
static void unpack(const uint8_t *qs, const uint8_t *qh, uint8_t *q) {
    for (int j = 0; j < half_block; j++) {
        q[j] = qs[j] & 15;
        q[j + half_block] = qs[j] >> 4;
    }
    for (int i = 0; qh && i < values; i++)
        q[i] |= (uint8_t)((qh[i / 8] >> i % 8 & 1) << 4);
}

static void pack(const uint8_t *q, uint8_t *qs, uint8_t *qh) {
    for (int j = 0; j < half_block; j++)
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + half_block] & 15) << 4);
    if (!qh)
        return;
    memset(qh, 0, 4);
    for (int i = 0; i < values; i++)
        qh[i / 8] |= (uint8_t)((q[i] >> 4) << i % 8);
}

/* ---- symmetric: x = d (q - zero) ---- */

static void decode_symmetric(const uint8_t *block, const uint8_t *qh, const uint8_t *qs, int zero, float *x) {
    float d = sd_quant_get_half(block);
    uint8_t q[values];
    unpack(qs, qh, q);
    for (int i = 0; i < values; i++)
        x[i] = d * (float)((int)q[i] - zero);
}

/* The reciprocal that the codes are computed with. Scales so near 0 that theirs is infinite are 0 as half
 * floats. */
static float inverse(float d) {
    float id = d == 0 ? 0 : 1 / d;
    return isfinite(id) ? id : 0;
}

/* Cuts off the fraction. */
static uint8_t code(float value, int highest) {
    return value >= (float)highest ? (uint8_t)highest : (uint8_t)value;
}

static bool encode_symmetric(const float *x, uint8_t *block, uint8_t *qh, uint8_t *qs, int zero) {
    float extreme = x[0];
    uint8_t q[values];
    for (int i = 1; i < values; i++)
        if (fabsf(x[i]) > fabsf(extreme))
            extreme = x[i];
    float d = extreme / (float)-zero, id = inverse(d);
    for (int i = 0; i < values; i++)
        q[i] = code(x[i] * id + ((float)zero + 0.5f), 2 * zero - 1);
    pack(q, qs, qh);
    return sd_quant_put_half(block, d);
}

/* ---- with an offset: x = d q + m ---- */

static void decode_offset(const uint8_t *block, const uint8_t *qh, const uint8_t *qs, float *x) {
    float d = sd_quant_get_half(block), m = sd_quant_get_half(block + 2);
    uint8_t q[values];
    unpack(qs, qh, q);
    for (int i = 0; i < values; i++)
        x[i] = d * (float)q[i] + m;
}

static bool encode_offset(const float *x, uint8_t *block, uint8_t *qh, uint8_t *qs, int highest) {
    float least = x[0], most = x[0];
    uint8_t q[values];
    for (int i = 1; i < values; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    float d = (most - least) / (float)highest, id = inverse(d);
    for (int i = 0; i < values; i++)
        q[i] = code((x[i] - least) * id + 0.5f, highest);
    pack(q, qs, qh);
    return sd_quant_put_halves(block, d, least);
}

/* ---- the types ---- */

void sd_q4_0_decode(const uint8_t *block, float *x) {
    decode_symmetric(block, NULL, block + 2, 8, x);
}

bool sd_q4_0_encode(const float *x, uint8_t *block) {
    return encode_symmetric(x, block, NULL, block + 2, 8);
}

void sd_q5_0_decode(const uint8_t *block, float *x) {
    decode_symmetric(block, block + 2, block + 6, 16, x);
}

bool sd_q5_0_encode(const float *x, uint8_t *block) {
    return encode_symmetric(x, block, block + 2, block + 6, 16);
}

void sd_q4_1_decode(const uint8_t *block, float *x) {
    decode_offset(block, NULL, block + 4, x);
}

bool sd_q4_1_encode(const float *x, uint8_t *block) {
    return encode_offset(x, block, NULL, block + 4, 15);
}

void sd_q5_1_decode(const uint8_t *block, float *x) {
    decode_offset(block, block + 4, block + 8, x);
}

bool sd_q5_1_encode(const float *x, uint8_t *block) {
    return encode_offset(x, block, block + 4, block + 8, 31);
}

void sd_q8_0_decode(const uint8_t *block, float *x) {
    float d = sd_quant_get_half(block);
    for (int i = 0; i < values; i++)
        x[i] = d * (float)(int8_t)block[2 + i];
}

/* To the nearest whole number, halves away from zero. */
static int nearest(float value) {
    float size = fabsf(value);
    int whole = (int)size;
    whole += size - (float)whole >= 0.5f;
    return value < 0 ? -whole : whole;
}

bool sd_q8_0_encode(const float *x, uint8_t *block) {
    float largest = 0;
    for (int i = 0; i < values; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    float d = largest / 127, id = inverse(d);
    for (int i = 0; i < values; i++)
        block[2 + i] = (uint8_t)(int8_t)nearest(x[i] * id);
    return sd_quant_put_half(block, d);
}
