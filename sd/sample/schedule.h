/* Noise schedules: which noise levels a picture passes through. One row of the registry each. */
#ifndef SD_SAMPLE_SCHEDULE_H
#define SD_SAMPLE_SCHEDULE_H

#include <stdint.h>

#include "sd/base/status.h"
#include "sd/sample/discrete.h"

enum { SD_STEPS_MAX = 1000, SD_SIGMAS_MAX = SD_STEPS_MAX + 1 };

/* {0} is the default. */
typedef struct sd_schedule_options {
    double sigma_min,
        sigma_max; /* ends of karras, exponential, polyexponential, kl_optimal; 0: the model's */
    double rho;    /* karras (0: 7) and polyexponential (0: 1) */
    bool sdxl;     /* align_your_steps: the levels found for SDXL, else those for SD 1 */
} sd_schedule_options;

/* What a schedule is asked for and where it answers. */
typedef struct sd_schedule_request {
    const sd_discrete *model;
    uint32_t steps;
    double sigma_min, sigma_max, rho;
    bool sdxl;
} sd_schedule_request;

typedef struct sd_schedule {
    const char *name, *label;   /* label: A1111's */
    const char *const *aliases; /* NULL-terminated */
    const char *help;           /* one line */
    /* Writes the levels without the final 0, at most SD_STEPS_MAX, and returns how many. */
    uint32_t (*levels)(const sd_schedule_request *request, float *sigmas);
    uint32_t steps_max; /* 0: SD_STEPS_MAX */
} sd_schedule;

/* All rows, in the order shown to users; static. */
const sd_schedule *sd_schedules(uint32_t *count);

/* By name, alias or A1111 label; case, spaces, '_' and '-' do not matter. NULL when there is none. */
const sd_schedule *sd_schedule_find(const char *text);

/* Fills `sigmas` with strictly decreasing noise levels followed by 0, and *steps_out with their number less
 * one. That number is below `steps` where levels would repeat (beta, leading at 1,000), and above it for
 * `ddim` when `steps` does not divide 1,000. SD_E_ARGUMENT: steps outside 1..1000 or what the schedule can
 * do, or sigma_min and sigma_max out of order. `options` may be NULL. */
sd_status sd_schedule_sigmas(const sd_schedule *schedule, const sd_discrete *model, uint32_t steps,
                             const sd_schedule_options *options, float sigmas[SD_SIGMAS_MAX],
                             uint32_t *steps_out, sd_error *err);

/* What unit noise is multiplied with to be a sample at the schedule's first level: sigma, or with `leading`
 * (whose first level is not the model's last) sqrt(sigma^2 + 1), as diffusers starts. */
float sd_schedule_noise_scale(const sd_schedule *schedule, float sigma);

/* The first step of an image-to-image run: the last `strength` (0..1) of `steps`, rounded down. */
uint32_t sd_strength_first_step(uint32_t steps, double strength);

#endif
