/* Samplers: how a latent gets from noise to picture. A sampler knows a denoiser, a list of noise levels and a
 * noise source, and nothing of networks, guidance or devices. Samples are in the variance-exploding scale:
 * x = clean + sigma * noise. All arrays are host floats; their layout does not matter to a sampler. */
#ifndef SD_SAMPLE_SAMPLER_H
#define SD_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sd/base/status.h"
#include "sd/sample/noise.h"
#include "sd/sample/schedule.h"

/* Writes the estimate of the clean sample at noise level `sigma` to `denoised`, which does not overlap `x`.
 * Any status other than SD_OK (SD_E_CANCELLED too) ends the sampler, which returns it unchanged. */
typedef sd_status (*sd_denoise_fn)(void *user, const float *x, float sigma, float *denoised, sd_error *err);

/* Called after every step (counted from 0) with the sample it reached and the estimate of the clean sample
 * that it used last. A status other than SD_OK ends the sampler, which returns it unchanged. */
typedef sd_status (*sd_step_fn)(void *user, uint32_t step, uint32_t steps, const float *x,
                                const float *denoised, sd_error *err);

/* {0} is the default of every sampler. */
typedef struct sd_sampler_options {
    bool eta_set;
    float eta; /* noise added by ancestral and SDE samplers, >= 0; without eta_set the sampler's own default.
                * Deterministic samplers other than ddim, and lcm, have none and pass over it. */
    float s_churn;        /* euler, heun, dpm2: >= 0, as in algorithm 2 of arXiv 2206.00364 */
    float s_tmin, s_tmax; /* the noise levels that are churned; s_tmax 0 means no limit */
    float s_noise;        /* multiplies all noise that is added; 0 means 1 */
    uint32_t order;       /* lms 1..4, unipc and deis 1..3; 0 means the sampler's own default */
} sd_sampler_options;

/* One run. */
typedef struct sd_sampler_job {
    sd_denoise_fn denoise;
    void *denoise_user;
    sd_step_fn step; /* may be NULL */
    void *step_user;
    const float *sigmas; /* [steps + 1], strictly decreasing, positive but for the last, which may be 0 */
    uint32_t steps;      /* at least 1 */
    sd_noise *noise;     /* of the sample's length; may be NULL when sd_sampler_needs_noise says no */
    sd_sampler_options options;
} sd_sampler_job;

struct sd_run;

typedef struct sd_sampler {
    const char *name;
    const char *const *aliases; /* NULL-terminated, or NULL */
    const char *label;          /* A1111's */
    uint32_t order;             /* of accuracy in the step size */
    uint32_t order_max;         /* of options.order; 0: the sampler has no such option */
    uint32_t calls;             /* of the denoiser in a step, at most */
    bool uses_noise;            /* with default options */
    float eta;                  /* the default */
    bool brownian;              /* its noise is the path of brownian.h */
    const char *schedule;       /* the schedule that `automatic` stands for */
    sd_status (*run)(struct sd_run *run, sd_error *err);
} sd_sampler;

/* All rows, in the order shown to users; static. */
const sd_sampler *sd_samplers(uint32_t *count);

/* By name, alias or A1111 label; case, spaces, '_' and '-' do not matter. A label may end in the name of a
 * schedule ("DPM++ 2M Karras"): *schedule is then that schedule, else the sampler's default. `sampler` and
 * `schedule` may be NULL. SD_E_NOT_FOUND says which name was probably meant. */
sd_status sd_sampler_find(const char *text, const sd_sampler **sampler, const sd_schedule **schedule,
                          sd_error *err);

bool sd_sampler_needs_noise(const sd_sampler *sampler, const sd_sampler_options *options);

/* Takes `x` [count], at noise level sigmas[0], down to sigmas[steps] in place. On failure `x` holds some
 * step's sample. SD_E_ARGUMENT for a malformed job, SD_E_MEMORY, SD_E_NUMERIC when the denoiser gives NaN or
 * infinity, and whatever the callbacks return. Keeps no state: runs with different jobs are independent. */
sd_status sd_sampler_run(const sd_sampler *sampler, const sd_sampler_job *job, float *x, size_t count,
                         sd_error *err);

#endif
