#include "sd/sample/schedule.h"

#include <math.h>
#include <stddef.h>

#include "sd/sample/beta_quantile.h"
#include "sd/sample/name.h"

enum { LAST = SD_DISCRETE_LEVELS - 1 };

/* i-th of n evenly spaced values, both ends included; the first one when n is 1. */
static double spaced(double first, double last, uint32_t i, uint32_t n) {
    return n == 1 ? first : first + (last - first) * i / (n - 1);
}

/* Timesteps evenly spaced over the whole table (k-diffusion's and A1111's default; ComfyUI's "normal"). */
static uint32_t uniform(const sd_schedule_request *r, float *sigmas) {
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = sd_discrete_sigma(r->model, spaced(LAST, 0, i, r->steps));
    return r->steps;
}

/* Equation 5 of arXiv 2206.00364. */
static uint32_t karras(const sd_schedule_request *r, float *sigmas) {
    double rho = r->rho > 0 ? r->rho : 7;
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] =
            (float)pow(spaced(pow(r->sigma_max, 1 / rho), pow(r->sigma_min, 1 / rho), i, r->steps), rho);
    return r->steps;
}

static uint32_t exponential(const sd_schedule_request *r, float *sigmas) {
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = (float)exp(spaced(log(r->sigma_max), log(r->sigma_min), i, r->steps));
    return r->steps;
}

/* A power of the ramp in log sigma; the exponential schedule when rho is 1. */
static uint32_t polyexponential(const sd_schedule_request *r, float *sigmas) {
    double rho = r->rho > 0 ? r->rho : 1, low = log(r->sigma_min), high = log(r->sigma_max);
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = (float)exp(pow(spaced(1, 0, i, r->steps), rho) * (high - low) + low);
    return r->steps;
}

/* As `uniform` with one step more, whose last level is left out. */
static uint32_t sgm_uniform(const sd_schedule_request *r, float *sigmas) {
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = sd_discrete_sigma(r->model, spaced(LAST, 0, i, r->steps + 1));
    return r->steps;
}

/* Every (1000 / steps)-th level from the top, rounded towards the top. */
static uint32_t simple(const sd_schedule_request *r, float *sigmas) {
    double stride = (double)SD_DISCRETE_LEVELS / r->steps;
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = r->model->sigmas[LAST - (int)(i * stride)];
    return r->steps;
}

/* Table 2 of arXiv 2305.08891; diffusers' timestep_spacing "trailing". */
static uint32_t trailing(const sd_schedule_request *r, float *sigmas) {
    double stride = (double)SD_DISCRETE_LEVELS / r->steps;
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = r->model->sigmas[(int)rint(SD_DISCRETE_LEVELS - i * stride) - 1];
    return r->steps;
}

/* diffusers' timestep_spacing "leading" with steps_offset 1. */
static uint32_t leading(const sd_schedule_request *r, float *sigmas) {
    uint32_t stride = SD_DISCRETE_LEVELS / r->steps;
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = sd_discrete_sigma(r->model, (r->steps - 1 - i) * stride + 1.0);
    return r->steps;
}

/* Levels 1, 1 + s, 1 + 2 s ... with s = 1000 / steps rounded down, to the end of the table. */
static uint32_t ddim(const sd_schedule_request *r, float *sigmas) {
    uint32_t stride = SD_DISCRETE_LEVELS / r->steps, count = (LAST - 1) / stride + 1;
    for (uint32_t i = 0; i < count; i++)
        sigmas[i] = r->model->sigmas[1 + (count - 1 - i) * stride];
    return count;
}

/* Quantiles of the beta distribution with both parameters 0.6 (arXiv 2407.12173). */
static uint32_t beta(const sd_schedule_request *r, float *sigmas) {
    for (uint32_t i = 0; i < r->steps; i++) {
        double quantile = sd_beta_quantile(1 - (double)i / r->steps, 0.6, 0.6);
        sigmas[i] = r->model->sigmas[(int)rint(quantile * LAST)];
    }
    return r->steps;
}

/* Half of the steps linear down to 1 - 0.025 of the largest sigma, then a parabola that meets it smoothly and
 * ends at 0. */
static uint32_t linear_quadratic(const sd_schedule_request *r, float *sigmas) {
    double threshold = 0.025, steps = r->steps, linear = r->steps / 2, rest = steps - linear;
    double top = r->model->sigmas[LAST];
    for (uint32_t i = 0; i < r->steps; i++) {
        double slope = linear > 0 ? threshold / linear : 0, fall = i * slope;
        if (i >= linear && linear > 0) {
            double past = i - linear, bend = (1 - slope * steps) / (rest * rest);
            fall = slope * i + bend * past * past;
        }
        sigmas[i] = (float)((1 - fall) * top);
    }
    return r->steps;
}

/* Evenly spaced in the arc tangent of sigma (Sabour et al. 2024, arXiv 2404.14507, appendix). */
static uint32_t kl_optimal(const sd_schedule_request *r, float *sigmas) {
    for (uint32_t i = 0; i < r->steps; i++)
        sigmas[i] = (float)tan(spaced(atan(r->sigma_max), atan(r->sigma_min), i, r->steps));
    return r->steps;
}

/* The levels that Sabour et al. 2024 (arXiv 2404.14507) found for ten steps, log-linear between them. */
enum { AYS_LEVELS = 11 };
static const double ays[2][AYS_LEVELS] = {
    {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029},
    {14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029},
};

static uint32_t align_your_steps(const sd_schedule_request *r, float *sigmas) {
    const double *levels = ays[r->sdxl];
    for (uint32_t i = 0; i < r->steps; i++) {
        double at = spaced(0, AYS_LEVELS - 1, i, r->steps);
        int low = at < AYS_LEVELS - 2 ? (int)at : AYS_LEVELS - 2;
        sigmas[i] = (float)exp(log(levels[low]) + (at - low) * log(levels[low + 1] / levels[low]));
    }
    return r->steps;
}

/* The 50 timesteps 19, 39 ... 999 of latent consistency distillation (arXiv 2310.04378), evenly thinned. */
enum { LCM_TIMESTEPS = 50 };

static uint32_t lcm(const sd_schedule_request *r, float *sigmas) {
    for (uint32_t i = 0; i < r->steps; i++) {
        uint32_t index = LCM_TIMESTEPS - 1 - i * LCM_TIMESTEPS / r->steps;
        sigmas[i] = r->model->sigmas[(index + 1) * (SD_DISCRETE_LEVELS / LCM_TIMESTEPS) - 1];
    }
    return r->steps;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static const sd_schedule rows[] = {
    {"uniform", "Uniform", NAMES("linspace", "discrete", "default"),
     "timesteps evenly spaced (k-diffusion, A1111)", uniform, 0},
    {"karras", "Karras", NULL, "evenly spaced in the 7th root of sigma", karras, 0},
    {"exponential", "Exponential", NULL, "evenly spaced in log sigma", exponential, 0},
    {"polyexponential", "Polyexponential", NULL, "a power of a ramp in log sigma", polyexponential, 0},
    {"sgm_uniform", "SGM Uniform", NULL, "timesteps evenly spaced, the last left out", sgm_uniform, 0},
    {"simple", "Simple", NULL, "every n-th level from the top", simple, 0},
    {"normal", "Normal", NULL, "timesteps evenly spaced (ComfyUI's name of uniform)", uniform, 0},
    {"ddim", "DDIM", NAMES("ddim_uniform"), "every n-th level from the bottom", ddim, 0},
    {"trailing", "Trailing", NULL, "diffusers' trailing spacing", trailing, 0},
    {"leading", "Leading", NULL, "diffusers' leading spacing with an offset of 1", leading, 0},
    {"beta", "Beta", NULL, "quantiles of a beta distribution", beta, 0},
    {"linear_quadratic", "Linear Quadratic", NULL, "slow at first, then a parabola", linear_quadratic, 0},
    {"kl_optimal", "KL Optimal", NULL, "evenly spaced in the arc tangent of sigma", kl_optimal, 0},
    {"align_your_steps", "Align Your Steps", NAMES("ays"), "levels optimised for ten steps", align_your_steps,
     0},
    {"lcm", "LCM", NULL, "the timesteps of latent consistency models", lcm, LCM_TIMESTEPS},
};

const sd_schedule *sd_schedules(uint32_t *count) {
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

const sd_schedule *sd_schedule_find(const char *text) {
    char folded[SD_NAME_MAX];
    if (!sd_name_fold(text, folded))
        return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (sd_name_is(folded, rows[i].name, rows[i].aliases))
            return &rows[i];
    return NULL;
}

/* Samplers divide by the distance between levels: a level that does not fall below the last one is dropped.
 */
static uint32_t keep_decreasing(float *sigmas, uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (sigmas[i] > 0 && (kept == 0 || sigmas[i] < sigmas[kept - 1]))
            sigmas[kept++] = sigmas[i];
    sigmas[kept] = 0;
    return kept;
}

sd_status sd_schedule_sigmas(const sd_schedule *schedule, const sd_discrete *model, uint32_t steps,
                             const sd_schedule_options *options, float sigmas[SD_SIGMAS_MAX],
                             uint32_t *steps_out, sd_error *err) {
    sd_schedule_options given = options ? *options : (sd_schedule_options){0};
    uint32_t most = schedule->steps_max ? schedule->steps_max : SD_STEPS_MAX;
    if (steps < 1 || steps > most)
        return sd_fail(err, SD_E_ARGUMENT, "steps: the schedule '%s' expects 1 to %u, found %u",
                       schedule->name, most, steps);
    sd_schedule_request request = {model, steps, given.sigma_min, given.sigma_max, given.rho, given.sdxl};
    if (request.sigma_min == 0)
        request.sigma_min = model->sigmas[0];
    if (request.sigma_max == 0)
        request.sigma_max = model->sigmas[LAST];
    if (!(request.sigma_min > 0 && request.sigma_min < request.sigma_max && isfinite(request.sigma_max)))
        return sd_fail(err, SD_E_ARGUMENT, "sigmas: expected 0 < smallest < largest, found %g and %g",
                       request.sigma_min, request.sigma_max);
    if (!(request.rho >= 0 && isfinite(request.rho)))
        return sd_fail(err, SD_E_ARGUMENT, "rho: expected a positive number, found %g", request.rho);
    *steps_out = keep_decreasing(sigmas, schedule->levels(&request, sigmas));
    return SD_OK;
}

uint32_t sd_strength_first_step(uint32_t steps, double strength) {
    if (!(strength > 0))
        return steps;
    return strength >= 1 ? 0 : steps - (uint32_t)(steps * strength);
}

float sd_schedule_noise_scale(const sd_schedule *schedule, float sigma) {
    return schedule->levels == leading ? sqrtf(sigma * sigma + 1) : sigma;
}
