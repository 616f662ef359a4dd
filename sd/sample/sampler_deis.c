/* DEIS (Zhang and Chen 2023, arXiv 2204.13902) in log-rho form: the noise estimate is continued as the
 * polynomial in log sigma through the last `order` estimates and integrated over sigma exactly. */
#include <string.h>

#include "sd/sample/run.h"

enum { ORDER = 3 };

/* The antiderivative in u = log sigma of e^u * (product of (u - b[k])) for n = 0..2 roots. */
static double antiderivative(double u, uint32_t n, const double *b) {
    if (n == 0)
        return exp(u);
    if (n == 1)
        return exp(u) * (u - b[0] - 1);
    return exp(u) * ((u - b[0]) * (u - b[1]) - (2 * u - b[0] - b[1]) + 2);
}

/* The integral over [s[i], s[i+1]] of the Lagrange polynomial in log sigma of node i - j. */
static double weight(const float *s, uint32_t i, uint32_t j, uint32_t order) {
    double roots[ORDER], scale = 1, node = log(s[i - j]);
    uint32_t n = 0;
    for (uint32_t k = 0; k < order; k++)
        if (k != j) {
            roots[n] = log(s[i - k]);
            scale *= node - roots[n++];
        }
    return (antiderivative(log(s[i + 1]), n, roots) - antiderivative(log(s[i]), n, roots)) / scale;
}

sd_status sd_sampler_deis(sd_run *run, sd_error *err) {
    float *buffers[ORDER + 1];
    sd_status status = sd_run_buffers(run, ORDER + 1, buffers, err);
    float *denoised = buffers[ORDER], **slopes = buffers;
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        float *oldest = slopes[ORDER - 1];
        memmove(slopes + 1, slopes, (ORDER - 1) * sizeof *slopes);
        slopes[0] = oldest;
        double sigma = run->sigmas[i], to = run->sigmas[i + 1];
        if ((status = sd_run_denoise(run, run->x, sigma, denoised, err)) != SD_OK)
            return status;
        sd_combine(run->count, slopes[0], 1 / sigma, run->x, -1 / sigma, denoised);
        uint32_t order = i + 1 < run->order ? i + 1 : run->order;
        if (to == 0) /* log sigma has no end there */
            sd_euler_step(run, run->x, denoised, sigma, to);
        for (uint32_t j = 0; to > 0 && j < order; j++)
            sd_combine(run->count, run->x, 1, run->x, weight(run->sigmas, i, j, order), slopes[j]);
        status = sd_run_step(run, i, denoised, err);
    }
    return status;
}
