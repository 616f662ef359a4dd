/* Linear multistep (Adams-Bashforth) on unevenly spaced levels: the slope is continued as the polynomial
 * through the last `order` slopes and integrated exactly. */
#include <string.h>

#include "sd/sample/run.h"

enum { ORDER = 4 };

/* The integral over [s[i], s[i+1]] of the Lagrange polynomial that is 1 at s[i-j] and 0 at the other nodes.
 * Its degree is at most 3, for which the two-point Gauss rule is exact. */
static double weight(const float *s, uint32_t i, uint32_t j, uint32_t order) {
    double centre = ((double)s[i + 1] + s[i]) / 2, half = ((double)s[i + 1] - s[i]) / 2, sum = 0;
    for (int side = -1; side <= 1; side += 2) {
        double at = centre + side * half / sqrt(3), product = 1;
        for (uint32_t k = 0; k < order; k++)
            if (k != j)
                product *= (at - s[i - k]) / ((double)s[i - j] - s[i - k]);
        sum += product * half;
    }
    return sum;
}

sd_status sd_sampler_lms(sd_run *run, sd_error *err) {
    float *buffers[ORDER + 1];
    sd_status status = sd_run_buffers(run, ORDER + 1, buffers, err);
    float *denoised = buffers[ORDER], **slopes = buffers;
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        float *oldest = slopes[ORDER - 1];
        memmove(slopes + 1, slopes, (ORDER - 1) * sizeof *slopes);
        slopes[0] = oldest;
        double sigma = run->sigmas[i];
        if ((status = sd_run_denoise(run, run->x, sigma, denoised, err)) != SD_OK)
            return status;
        sd_combine(run->count, slopes[0], 1 / sigma, run->x, -1 / sigma, denoised);
        uint32_t order = i + 1 < run->order ? i + 1 : run->order;
        for (uint32_t j = 0; j < order; j++)
            sd_combine(run->count, run->x, 1, run->x, weight(run->sigmas, i, j, order), slopes[j]);
        status = sd_run_step(run, i, denoised, err);
    }
    return status;
}
