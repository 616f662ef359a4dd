/* What the sampler files share. Private to this folder. */
#ifndef SD_SAMPLE_RUN_H
#define SD_SAMPLE_RUN_H

#include <math.h>

#include "sd/sample/sampler.h"

enum { SD_RUN_BUFFERS = 8 };

/* A run in progress, set up by sd_sampler_run. */
typedef struct sd_run {
    const sd_sampler *sampler;
    const sd_sampler_job *job;
    const float *sigmas; /* [steps + 1] */
    uint32_t steps;
    float *x; /* [count] */
    size_t count;
    double eta, s_noise;  /* defaults filled in */
    uint32_t order;       /* the same; 0 where the sampler has none */
    float *memory;        /* all buffers */
    float *noise_scratch; /* [count] */
} sd_run;

/* The rows' functions, one file each. */
sd_status sd_sampler_euler(sd_run *run, sd_error *err);
sd_status sd_sampler_euler_a(sd_run *run, sd_error *err);
sd_status sd_sampler_heun(sd_run *run, sd_error *err);
sd_status sd_sampler_dpm2(sd_run *run, sd_error *err);
sd_status sd_sampler_dpm2_a(sd_run *run, sd_error *err);
sd_status sd_sampler_dpmpp_2s_a(sd_run *run, sd_error *err);
sd_status sd_sampler_dpmpp_sde(sd_run *run, sd_error *err);
sd_status sd_sampler_dpmpp_2m(sd_run *run, sd_error *err);
sd_status sd_sampler_dpmpp_2m_sde(sd_run *run, sd_error *err);
sd_status sd_sampler_dpmpp_2m_sde_heun(sd_run *run, sd_error *err);
sd_status sd_sampler_dpmpp_3m_sde(sd_run *run, sd_error *err);
sd_status sd_sampler_ddim(sd_run *run, sd_error *err);
sd_status sd_sampler_unipc(sd_run *run, sd_error *err);
sd_status sd_sampler_lms(sd_run *run, sd_error *err);
sd_status sd_sampler_deis(sd_run *run, sd_error *err);
sd_status sd_sampler_lcm(sd_run *run, sd_error *err);

/* Hands out `n` (up to SD_RUN_BUFFERS) zeroed arrays of `count` floats; once a run. Freed with the run. */
sd_status sd_run_buffers(sd_run *run, uint32_t n, float **buffers, sd_error *err);

/* Calls the denoiser; SD_E_NUMERIC when its output is not finite. */
sd_status sd_run_denoise(sd_run *run, const float *x, double sigma, float *denoised, sd_error *err);

/* To be called at the end of every step. */
sd_status sd_run_step(sd_run *run, uint32_t step, const float *denoised, sd_error *err);

/* x += deviation * s_noise * noise; nothing is drawn when deviation is 0. The noise belongs to the way from
 * noise level `from` to `to`. */
sd_status sd_run_add_noise(sd_run *run, float *x, double deviation, double from, double to, sd_error *err);

/* Before the denoiser is called: samplers whose noise is a Brownian path say which part of it the next
 * sd_run_add_noise will add, so that it is ready by then. Nothing happens at `to` 0, where none is added. */
void sd_run_expect_noise(sd_run *run, double from, double to);

/* Algorithm 2 of arXiv 2206.00364: raises x from sigmas[step] to the noise level returned in *sigma. Nothing
 * is drawn for a step that is not churned. */
sd_status sd_run_churn(sd_run *run, uint32_t step, double *sigma, sd_error *err);

/* Splits a step into a deterministic part down to *down and noise of deviation *up, such that
 * down^2 + up^2 = to^2. */
void sd_ancestral_step(double from, double to, double eta, double *down, double *up);

/* x moves along the line through `denoised` from noise level `from` to `to` (an Euler step). */
void sd_euler_step(sd_run *run, float *x, const float *denoised, double from, double to);

/* out = a * x + b * y; out may be x or y. */
void sd_combine(size_t count, float *out, double a, const float *x, double b, const float *y);

/* -log(sigma): the time in which the exponential integrators are linear; infinite at 0. */
static inline double sd_lambda(double sigma) {
    return sigma > 0 ? -log(sigma) : INFINITY;
}

#endif
