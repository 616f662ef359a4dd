/* UniPC (Zhao et al. 2023, arXiv 2302.04867) with data prediction and B_2(h) = e^h - 1: a predictor of order
 * p and a corrector that reuses the next step's estimate. In samples of the variance-exploding scale alpha is
 * 1 and lambda is -log sigma. The last steps fall to lower order, as in the reference. */
#include <string.h>

#include "sd/sample/run.h"

enum { ORDER = 3 };

/* Solves the n x n system a * x = b, n <= ORDER, by elimination with row exchanges; b becomes x. */
static void solve(uint32_t n, double a[ORDER][ORDER], double *b) {
    for (uint32_t k = 0; k < n; k++) {
        uint32_t best = k;
        for (uint32_t r = k + 1; r < n; r++)
            if (fabs(a[r][k]) > fabs(a[best][k]))
                best = r;
        for (uint32_t c = 0; c < n; c++) {
            double swap = a[k][c];
            a[k][c] = a[best][c], a[best][c] = swap;
        }
        double swap = b[k];
        b[k] = b[best], b[best] = swap;
        for (uint32_t r = k + 1; r < n; r++) {
            double factor = a[r][k] / a[k][k];
            for (uint32_t c = k; c < n; c++)
                a[r][c] -= factor * a[k][c];
            b[r] -= factor * b[k];
        }
    }
    for (uint32_t k = n; k-- > 0;) {
        for (uint32_t c = k + 1; c < n; c++)
            b[k] -= a[k][c] * b[c];
        b[k] /= a[k][k];
    }
}

/* Where the estimates behind a step lie, in units of the step: nodes[0..order-2] < 0, nodes[order-1] = 1. */
static double place_nodes(const sd_run *run, uint32_t from, uint32_t order, double *nodes) {
    double here = sd_lambda(run->sigmas[from]), h = sd_lambda(run->sigmas[from + 1]) - here;
    for (uint32_t k = 1; k < order; k++)
        nodes[k - 1] = (sd_lambda(run->sigmas[from - k]) - here) / h;
    nodes[order - 1] = 1;
    return h;
}

/* The weights of the divided differences at the first `n` nodes: the conditions of order n (theorem 3.1). */
static void weights(uint32_t n, const double *nodes, double h, double *rho) {
    double matrix[ORDER][ORDER], phi = expm1(-h) / -h - 1, factorial = 1;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < n; k++)
            matrix[i][k] = pow(nodes[k], i);
        rho[i] = phi * factorial / expm1(-h);
        factorial *= i + 2;
        phi = phi / -h - 1 / factorial;
    }
    solve(n, matrix, rho);
}

/* x = the sample after step `from`, given the one before it. `past` holds the estimates at levels from,
 * from - 1 ...; `next` is the estimate at the step's end for the corrector, NULL for the predictor. */
static void advance(sd_run *run, uint32_t from, uint32_t order, const float *before, float *const *past,
                    const float *next, float *x) {
    double nodes[ORDER], rho[ORDER] = {0}, ratio = (double)run->sigmas[from + 1] / run->sigmas[from];
    double h = place_nodes(run, from, order, nodes);
    uint32_t n = next ? order : order - 1;
    if (n == 1)
        rho[0] = 0.5;
    else if (n > 1)
        weights(n, nodes, h, rho);
    /* -expm1(-h) = 1 - ratio is both the gain of the estimate and B(h). */
    double gain = 1 - ratio, own = gain;
    for (uint32_t k = 0; k < n; k++)
        own -= gain * rho[k] / nodes[k];
    sd_combine(run->count, x, ratio, before, own, past[0]);
    for (uint32_t k = 0; k < n; k++)
        sd_combine(run->count, x, 1, x, gain * rho[k] / nodes[k], k + 1 < order ? past[k + 1] : next);
}

sd_status sd_sampler_unipc(sd_run *run, sd_error *err) {
    float *buffers[ORDER + 2];
    sd_status status = sd_run_buffers(run, ORDER + 2, buffers, err);
    /* buffers[0] is where the next estimate goes; past = buffers + 1. */
    float *before = buffers[ORDER + 1];
    uint32_t order = 0;
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        if ((status = sd_run_denoise(run, run->x, run->sigmas[i], buffers[0], err)) != SD_OK)
            return status;
        if (i > 0)
            advance(run, i - 1, order, before, buffers + 1, buffers[0], run->x);
        float *newest = buffers[0];
        buffers[0] = buffers[ORDER];
        memmove(buffers + 2, buffers + 1, (ORDER - 1) * sizeof *buffers);
        buffers[1] = newest;
        uint32_t left = run->steps - i;
        order = i + 1 < run->order ? i + 1 : run->order;
        order = left < order ? left : order;
        memcpy(before, run->x, run->count * sizeof(float));
        advance(run, i, order, before, buffers + 1, NULL, run->x);
        status = sd_run_step(run, i, newest, err);
    }
    return status;
}
