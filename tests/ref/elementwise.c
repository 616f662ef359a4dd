#include "tests/ref/elementwise.h"

#include "sd/base/half.h"

#include <math.h>

float ref_activate(float x, sd_act act) {
    double v = x;
    switch (act) {
    case SD_ACT_SILU:
        return (float)(v / (1 + exp(-v)));
    case SD_ACT_GELU:
        return isinf(v) && v < 0 ? 0 : (float)(0.5 * v * erfc(-v * sqrt(0.5)));
    case SD_ACT_QUICK_GELU:
        return (float)(v / (1 + exp(-1.702 * v)));
    case SD_ACT_RELU:
        return x < 0 ? 0 : x;
    case SD_ACT_TANH:
        return (float)tanh(v);
    default:
        return x;
    }
}

float ref_scale(float x, float scale, float shift) {
    return (float)((double)x * scale + shift);
}

float ref_lerp(float a, float b, float t) {
    return (float)(a + (double)t * ((double)b - a));
}

float ref_half(float x) {
    return sd_f32_from_f16(sd_f16_from_f32(x));
}
