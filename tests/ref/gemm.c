#include "tests/ref/gemm.h"

#include "sd/nn/ops.h"

#include <math.h>

static double gelu(double x) {
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
}

static double activate(int act, double x) {
    switch (act) {
    case SD_ACT_SILU:
        return x / (1 + exp(-x));
    case SD_ACT_GELU:
        return gelu(x);
    case SD_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case SD_ACT_RELU:
        return x < 0 ? 0 : x;
    case SD_ACT_TANH:
        return tanh(x);
    default:
        return x;
    }
}

static double sum_at(const struct ref_conv *q, uint32_t n, uint32_t y, uint32_t x, uint32_t o) {
    uint32_t h = q->upsample ? q->h * 2 : q->h, w = q->upsample ? q->w * 2 : q->w;
    double sum = q->bias ? (double)q->bias[o] : 0;
    if (q->side)
        sum += (double)q->side[((uint64_t)(n * q->oh + y) * q->ow + x) * q->oc + o];
    for (uint32_t ky = 0; ky < q->kernel; ky++)
        for (uint32_t kx = 0; kx < q->kernel; kx++) {
            int64_t iy = (int64_t)y * q->stride + ky - q->pad, ix = (int64_t)x * q->stride + kx - q->pad;
            if (iy < 0 || ix < 0 || iy >= h || ix >= w)
                continue;
            uint64_t sy = q->upsample ? (uint64_t)iy / 2 : (uint64_t)iy,
                     sx = q->upsample ? (uint64_t)ix / 2 : (uint64_t)ix;
            const float *in = q->x + ((n * q->h + sy) * q->w + sx) * q->c;
            for (uint32_t c = 0; c < q->c; c++)
                sum += (double)in[c] * (double)q->weight[((o * q->c + c) * q->kernel + ky) * q->kernel + kx];
        }
    return sum;
}

void ref_conv(const struct ref_conv *q, float *out) {
    uint32_t width = q->geglu ? q->oc / 2 : q->oc;
    for (uint32_t n = 0; n < q->n; n++)
        for (uint32_t y = 0; y < q->oh; y++)
            for (uint32_t x = 0; x < q->ow; x++)
                for (uint32_t o = 0; o < width; o++) {
                    uint64_t at = ((uint64_t)(n * q->oh + y) * q->ow + x) * width + o;
                    double v = sum_at(q, n, y, x, o);
                    if (q->geglu)
                        v *= gelu(sum_at(q, n, y, x, o + width));
                    if (q->vector)
                        v += (double)q->vector[(q->one_vector ? 0 : n) * q->oc + o];
                    double residual = q->residual ? (double)q->residual[at] : 0;
                    out[at] = (float)(q->act_last ? activate(q->act, v + residual)
                                                  : activate(q->act, v) + residual);
                }
}
