#include "sd/base/values.h"

#include "sd/base/half.h"
#include "sd/base/quant.h"

#include <math.h>
#include <string.h>

bool sd_dtype_real(sd_dtype dtype) {
    switch (dtype) {
    case SD_F64:
    case SD_F32:
    case SD_F16:
    case SD_BF16:
    case SD_F8_E4M3:
    case SD_F8_E5M2:
        return true;
    default:
        return sd_dtype_quantised(dtype);
    }
}

/* ---- 8 bits ---- */

/* Four bits of exponent (bias 7), three of mantissa; all ones is NaN, and there is no infinity. */
static float f32_from_e4m3(uint8_t bits) {
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float magnitude = exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    if ((bits & 0x7F) == 0x7F)
        magnitude = NAN;
    return bits & 0x80 ? -magnitude : magnitude;
}

/* The magnitude in units of the format's spacing at that size, with the exponent put in front; carries go
 * where they belong. */
static uint32_t small_bits(float magnitude, int mantissa_bits, int bias) {
    int exponent;
    frexpf(magnitude, &exponent);
    exponent = exponent - 1 < 1 - bias ? 1 - bias : exponent - 1;
    float units = rintf(ldexpf(magnitude, mantissa_bits - exponent));
    bool normal = units >= (float)(1 << mantissa_bits);
    uint32_t field = normal ? (uint32_t)(exponent + bias) - 1 : 0;
    return (field << mantissa_bits) + (uint32_t)units;
}

static bool encode_f8(sd_dtype dtype, float value, uint8_t *out) {
    bool e4m3 = dtype == SD_F8_E4M3;
    uint32_t sign = signbit(value) ? 0x80 : 0, infinite = e4m3 ? 0x7F : 0x7C;
    if (isnan(value)) {
        *out = (uint8_t)(sign | 0x7F);
        return true;
    }
    if (isinf(value)) {
        *out = (uint8_t)(sign | infinite);
        return !e4m3;
    }
    /* Beyond any value of either format, so that the exponent fits. */
    float magnitude = fminf(fabsf(value), 0x1p17f);
    uint32_t bits = magnitude > 0 ? small_bits(magnitude, e4m3 ? 3 : 2, e4m3 ? 7 : 15) : 0;
    *out = (uint8_t)(sign | bits);
    return bits < infinite;
}

/* ---- arrays ---- */

void sd_values_decode(sd_dtype dtype, const void *data, uint64_t first, uint64_t count, float *out) {
    const uint8_t *p = (const uint8_t *)data + first * sd_dtype_size(dtype);
    if (dtype == SD_F32)
        memcpy(out, p, count * sizeof *out);
    else if (sd_dtype_quantised(dtype))
        sd_dequantise(dtype, data, first, count, out);
    else if (dtype == SD_F64)
        for (uint64_t i = 0; i < count; i++) {
            double wide;
            memcpy(&wide, p + 8 * i, sizeof wide);
            out[i] = (float)wide;
        }
    else if (dtype == SD_F8_E4M3)
        for (uint64_t i = 0; i < count; i++)
            out[i] = f32_from_e4m3(p[i]);
    else if (dtype == SD_F8_E5M2) /* the upper half of an f16 */
        for (uint64_t i = 0; i < count; i++)
            out[i] = sd_f32_from_f16((uint16_t)(p[i] << 8));
    else
        for (uint64_t i = 0; i < count; i++) {
            uint16_t bits;
            memcpy(&bits, p + 2 * i, sizeof bits);
            out[i] = dtype == SD_F16 ? sd_f32_from_f16(bits) : sd_f32_from_bf16(bits);
        }
}

static bool encode_half(sd_dtype dtype, const float *in, uint64_t count, uint8_t *out) {
    bool fits = true;
    for (uint64_t i = 0; i < count; i++) {
        uint16_t bits = dtype == SD_F16 ? sd_f16_from_f32(in[i]) : sd_bf16_from_f32(in[i]);
        fits = fits && ((bits & 0x7FFF) != (dtype == SD_F16 ? 0x7C00 : 0x7F80) || isinf(in[i]));
        memcpy(out + 2 * i, &bits, sizeof bits);
    }
    return fits;
}

bool sd_values_encode(sd_dtype dtype, const float *in, uint64_t count, void *out) {
    uint8_t *p = out;
    bool fits = true;
    if (sd_dtype_quantised(dtype))
        return sd_quantise(dtype, in, count, out);
    if (dtype == SD_F16 || dtype == SD_BF16)
        return encode_half(dtype, in, count, out);
    if (dtype == SD_F32)
        memcpy(out, in, count * sizeof *in);
    else if (dtype == SD_F64)
        for (uint64_t i = 0; i < count; i++) {
            double wide = in[i];
            memcpy(p + 8 * i, &wide, sizeof wide);
        }
    else
        for (uint64_t i = 0; i < count; i++)
            fits = encode_f8(dtype, in[i], &p[i]) && fits;
    return fits;
}
