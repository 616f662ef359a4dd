/* The discrete noise model that a network was trained with: 1,000 noise levels and the maps between noise
 * level (sigma), timestep, network output and denoised sample.
 *
 * Samples are in the variance-exploding scale of Karras et al. 2022 (arXiv 2206.00364): x = clean + sigma *
 * noise. The network sees c_in * x. Betas as in Ho et al. 2020 (arXiv 2006.11239); the rescaling to zero
 * terminal signal-to-noise ratio is algorithm 1 of Lin et al. 2023 (arXiv 2305.08891). */
#ifndef SD_SAMPLE_DISCRETE_H
#define SD_SAMPLE_DISCRETE_H

#include <stdbool.h>
#include <stdint.h>

#include "sd/base/status.h"

enum { SD_DISCRETE_LEVELS = 1000 };

typedef enum sd_betas { SD_BETAS_SCALED_LINEAR = 0, SD_BETAS_LINEAR } sd_betas;

typedef enum sd_prediction { SD_PREDICT_EPSILON = 0, SD_PREDICT_V, SD_PREDICT_SAMPLE } sd_prediction;

/* {0} is Stable Diffusion's: scaled linear from 0.00085 to 0.012. */
typedef struct sd_discrete_params {
    sd_betas betas;
    double start, end; /* 0 < start <= end < 1; 0 means 0.00085 and 0.012 */
    bool zero_terminal_snr;
} sd_discrete_params;

/* Levels in ascending order. Plain data; reading it from many threads is safe. */
typedef struct sd_discrete {
    float alphas_cumprod[SD_DISCRETE_LEVELS];
    float sigmas[SD_DISCRETE_LEVELS];
    double log_sigmas[SD_DISCRETE_LEVELS];
} sd_discrete;

/* denoised = c_skip * x + c_out * network(c_in * x, timestep). */
typedef struct sd_scalings {
    float c_skip, c_out, c_in;
} sd_scalings;

/* SD_E_ARGUMENT when a beta is outside its range. With zero_terminal_snr the last alpha product is 2^-24
 * instead of 0, so that its sigma (4096) stays finite. */
sd_status sd_discrete_init(sd_discrete *model, const sd_discrete_params *params, sd_error *err);

/* The noise level at a timestep in 0..999, log-linear between whole timesteps, clamped at both ends. */
float sd_discrete_sigma(const sd_discrete *model, double timestep);

/* The inverse; a sigma outside the table gives 0 or 999. */
float sd_discrete_timestep(const sd_discrete *model, double sigma);

sd_scalings sd_discrete_scalings(sd_prediction prediction, double sigma);

#endif
