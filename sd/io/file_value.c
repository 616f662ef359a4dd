#include "sd/io/file_tensor.h"

#include "sd/base/half.h"

#include <math.h>
#include <string.h>

/* The OCP format: no infinities, NaN is all ones. */
static float from_e4m3(uint8_t bits) {
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float size = exponent == 15 && mantissa == 7 ? NAN
                 : exponent                      ? ldexpf((float)(8 + mantissa), exponent - 10)
                                                 : ldexpf((float)mantissa, -9);
    return bits & 128 ? -size : size;
}

static float from_float(sd_file_dtype dtype, const uint8_t *at) {
    uint16_t half = (uint16_t)(at[0] << 8);
    float value;
    double wide;
    if (dtype == SD_FILE_F16 || dtype == SD_FILE_BF16)
        memcpy(&half, at, sizeof half);
    switch (dtype) {
    case SD_FILE_F64:
        memcpy(&wide, at, sizeof wide);
        return (float)wide;
    case SD_FILE_F32:
        memcpy(&value, at, sizeof value);
        return value;
    case SD_FILE_BF16:
        return sd_f32_from_bf16(half);
    case SD_FILE_F8_E4M3:
        return from_e4m3(at[0]);
    default: /* F16, and E5M2, which is the upper half of one */
        return sd_f32_from_f16(half);
    }
}

static float from_whole(const uint8_t *at, unsigned bytes, bool is_signed) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    if (!is_signed)
        return (float)value;
    if (bytes < 8 && at[bytes - 1] & 128)
        value |= UINT64_MAX << 8 * bytes;
    return (float)(int64_t)value;
}

float sd_file_tensor_value(const sd_file_tensor *t, uint64_t index) {
    unsigned bytes = sd_file_dtype_bits(t->dtype) / 8;
    const uint8_t *at = t->data + index * bytes;
    switch (t->dtype) {
    case SD_FILE_F64:
    case SD_FILE_F32:
    case SD_FILE_F16:
    case SD_FILE_BF16:
    case SD_FILE_F8_E4M3:
    case SD_FILE_F8_E5M2:
        return from_float(t->dtype, at);
    case SD_FILE_I64:
    case SD_FILE_I32:
    case SD_FILE_I16:
    case SD_FILE_I8:
        return from_whole(at, bytes, true);
    case SD_FILE_U64:
    case SD_FILE_U32:
    case SD_FILE_U16:
    case SD_FILE_U8:
    case SD_FILE_BOOL:
        return from_whole(at, bytes, false);
    default:
        return NAN;
    }
}
