/* Where samplers get their noise: one stream for each image of a batch, so that image i of a batch is the
 * single image of its seed. */
#ifndef SD_SAMPLE_NOISE_H
#define SD_SAMPLE_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "sd/base/rng.h"
#include "sd/base/status.h"

typedef struct sd_noise sd_noise;

typedef struct sd_noise_params {
    sd_rng_kind kind;
    const uint64_t *seeds; /* [images], copied */
    size_t images;         /* at least 1 */
    size_t values;         /* of one image, at least 1 */
    /* 0 or 1: values are delivered in the order in which they are drawn. C > 1: they are drawn as PyTorch's
     * [C, values / C] and delivered as [values / C, C], the layout of channels-last latents. */
    size_t channels;
} sd_noise_params;

/* SD_E_ARGUMENT, SD_E_MEMORY. Not thread-safe; free with sd_noise_destroy. */
sd_status sd_noise_create(sd_noise **out, const sd_noise_params *params, sd_error *err);
void sd_noise_destroy(sd_noise **noise);

/* images * values: the length of every array below. */
size_t sd_noise_count(const sd_noise *noise);

/* The next normal values of every image's stream. The first call is what a picture starts from. */
void sd_noise_randn(sd_noise *noise, float *out);

/* Prepares sd_noise_path for noise levels from sigma_min to sigma_max. */
sd_status sd_noise_path_begin(sd_noise *noise, float sigma_min, float sigma_max, sd_error *err);

/* Normal values of deviation 1 that are the increments of each image's Brownian path (brownian.h) from noise
 * level `from` down to `to`, sign and scale as k-diffusion's BrownianTreeNoiseSampler. Both kinds of stream
 * use the same path; it does not advance sd_noise_randn. */
sd_status sd_noise_path(sd_noise *noise, float from, float to, float *out, sd_error *err);

/* Says what the next sd_noise_path will be, so that a thread fills `out` meanwhile: several milliseconds at
 * 512x512, which pass while the device works. `out` is the thread's until then, or until sd_noise_settle,
 * which waits for it. Without this, or without threads, sd_noise_path takes as long itself. */
void sd_noise_path_ahead(sd_noise *noise, float from, float to, float *out);
void sd_noise_settle(sd_noise *noise);

#endif
