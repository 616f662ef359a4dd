#include "tests/ref/norm.h"

#include "tests/ref/elementwise.h"

#include <math.h>

/* `count` runs of `width` values, `pitch` apart, normalised together. */
static void normalise(float *out, const float *x, uint32_t count, uint32_t width, uint32_t pitch,
                      const float *gamma, const float *beta, float eps, sd_act act) {
    double mean = 0, variance = 0, total = (double)count * width;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < width; k++)
            mean += x[i * pitch + k] / total;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < width; k++)
            variance += (x[i * pitch + k] - mean) * (x[i * pitch + k] - mean) / total;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < width; k++) {
            double y = (x[i * pitch + k] - mean) / sqrt(variance + eps);
            y = y * (gamma ? gamma[k] : 1) + (beta ? beta[k] : 0);
            out[i * pitch + k] = ref_activate((float)y, act);
        }
}

void ref_group_norm(float *out, const float *x, uint32_t n, uint32_t pixels, uint32_t c, uint32_t groups,
                    const float *gamma, const float *beta, float eps, sd_act act) {
    uint32_t width = c / groups;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c; k += width)
            normalise(out + i * pixels * c + k, x + i * pixels * c + k, pixels, width, c,
                      gamma ? gamma + k : NULL, beta ? beta + k : NULL, eps, act);
}

void ref_layer_norm(float *out, const float *x, uint32_t rows, uint32_t c, const float *gamma,
                    const float *beta, float eps) {
    for (size_t r = 0; r < rows; r++)
        normalise(out + r * c, x + r * c, 1, c, c, gamma, beta, eps, SD_ACT_NONE);
}
