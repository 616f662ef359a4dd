#include "tests/ref/pack_weight.h"

#include "sd/base/half.h"
#include "sd/nn/weight_layout.h"
#include "tests/op/optest.h"

#include <math.h>
#include <string.h>

static float f8_value(uint8_t bits, int exponent_bits) {
    int mantissa_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (bits & 0x7F) >> mantissa_bits, mantissa = bits & ((1 << mantissa_bits) - 1);
    float sign = bits & 0x80 ? -1.0f : 1.0f;
    /* E4M3 has no infinities, and one NaN of each sign; E5M2 is the upper half of an f16. */
    if (exponent_bits == 4 ? (bits & 0x7F) == 0x7F : exponent == 31 && mantissa)
        return NAN;
    if (exponent_bits == 5 && exponent == 31)
        return sign * INFINITY;
    int whole = exponent ? mantissa + (1 << mantissa_bits) : mantissa;
    return sign * ldexpf((float)whole, (exponent ? exponent : 1) - bias - mantissa_bits);
}

static float raw_value(const struct sd_raw *raw, uint64_t i) {
    const uint16_t *half = raw->data;
    const uint8_t *byte = raw->data;
    switch (raw->dtype) {
    case SD_F16:
        return sd_f32_from_f16(half[i]);
    case SD_BF16:
        return sd_f32_from_bf16(half[i]);
    case SD_F8_E4M3:
        return f8_value(byte[i], 4);
    case SD_F8_E5M2:
        return f8_value(byte[i], 5);
    default:
        return ((const float *)raw->data)[i];
    }
}

struct packed {
    const sd_weight *w;
    const struct sd_raw *parts;
};

/* Value `inner` of a row of the packed matrix, from the part that holds the row. */
static float row_value(const struct packed *p, uint32_t row, uint64_t inner) {
    const sd_weight *w = p->w;
    if (w->form == SD_WEIGHT_GEGLU || w->form == SD_WEIGHT_GEGLU_VECTOR) /* value, gate, value, gate ... */
        row = row % 2 ? w->n / 2 + row / 2 : row / 2;
    uint32_t rows = w->n / w->parts;
    return raw_value(&p->parts[row / rows], (uint64_t)(row % rows) * w->c * w->kh * w->kw + inner);
}

/* Nearest doubling repeats each pixel: output row 2i+a reads, through tap dy of 3x3, small row
 * i + floor((a+dy-1)/2), which is tap 0 or 1 of phase a. */
static uint32_t doubled_tap(uint32_t phase, uint32_t d) {
    return phase ? (phase + d - 1) / 2 : (d + 1) / 2;
}

static float upsample_value(const struct packed *p, uint32_t phase, uint32_t row, uint32_t tap,
                            uint32_t channel) {
    float sum = 0;
    for (uint32_t dy = 0; dy < 3; dy++)
        for (uint32_t dx = 0; dx < 3; dx++)
            if (doubled_tap(phase / 2, dy) == tap / 2 && doubled_tap(phase % 2, dx) == tap % 2)
                sum += row_value(p, row, (uint64_t)channel * 9 + dy * 3 + dx);
    return sum;
}

/* Element k of a column of the packed matrix; padding is 0. */
static float matrix_value(const struct packed *p, const struct sd_gemm_layout *l, uint32_t phase,
                          uint32_t row, uint32_t k) {
    uint32_t tap = k / l->c_padded, channel = k % l->c_padded;
    if (l->block) { /* the even channels of a block first, then the odd ones */
        uint32_t i = channel % l->block, half = l->block / 2;
        channel = channel - i + (i < half ? 2 * i : 2 * (i - half) + 1);
    }
    if (row >= p->w->n || channel >= p->w->c)
        return 0;
    return p->w->form == SD_WEIGHT_UPSAMPLE ? upsample_value(p, phase, row, tap, channel)
                                            : row_value(p, row, (uint64_t)channel * l->taps + tap);
}

static void expect_f32(const sd_weight *w, uint64_t word, uint32_t found, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (found != bits && !(isnan(value) && (found & 0x7FFFFFFF) > 0x7F800000))
        fail_msg("%s: word %llu is %08x, expected %08x", w->names[0], (unsigned long long)word, found, bits);
}

static void expect_f16(const sd_weight *w, uint64_t word, uint32_t found, float low, float high) {
    const float values[] = {low, high};
    for (int i = 0; i < 2; i++) {
        uint32_t half = found >> (16 * i) & 0xFFFF, expected = sd_f16_from_f32(values[i]);
        if (half != expected && !(isnan(values[i]) && (half & 0x7FFF) > 0x7C00))
            fail_msg("%s: half %d of word %llu is %04x, expected %04x", w->names[0], i,
                     (unsigned long long)word, half, expected);
    }
}

static void check_matrix(const struct sd_vk_info *info, const struct packed *p, const uint32_t *words) {
    const sd_weight *w = p->w;
    const struct sd_gemm_layout l = sd_gemm_layout(info, w);
    uint32_t step = w->dtype == SD_F16 ? 2 : 1, run = l.run * step;
    uint64_t at = 0;
    for (uint32_t phase = 0; phase < l.phases; phase++)
        for (uint32_t tile = 0; tile < l.tiles; tile++)
            for (uint32_t first = 0; first < l.taps * l.c_padded; first += run)
                for (uint32_t row = tile * l.tile; row < (tile + 1) * l.tile; row++)
                    for (uint32_t k = first; k < first + run; k += step, at++) {
                        float value = matrix_value(p, &l, phase, row, k);
                        if (step == 1)
                            expect_f32(w, at, words[at], value);
                        else
                            expect_f16(w, at, words[at], value, matrix_value(p, &l, phase, row, k + 1));
                    }
    assert_int_equal(at * 4, w->bytes);
}

static void check_rows(const struct packed *p, const uint32_t *words) {
    const sd_weight *w = p->w;
    uint64_t at = 0;
    for (uint32_t row = 0; row < w->n; row++)
        for (uint32_t k = 0; k < w->c; k += w->dtype == SD_F16 ? 2 : 1, at++)
            if (w->dtype == SD_F16)
                expect_f16(w, at, words[at], row_value(p, row, k),
                           k + 1 < w->c ? row_value(p, row, k + 1) : 0);
            else
                expect_f32(w, at, words[at], row_value(p, row, k));
    assert_int_equal(at * 4, w->bytes);
}

void ref_check_weight(const struct sd_vk_info *info, const sd_weight *w, const struct sd_raw *parts,
                      const uint32_t *words) {
    const struct packed p = {w, parts};
    if (w->form == SD_WEIGHT_GEMM || w->form == SD_WEIGHT_GEGLU || w->form == SD_WEIGHT_UPSAMPLE)
        check_matrix(info, &p, words);
    else
        check_rows(&p, words);
}
