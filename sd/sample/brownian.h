/* A Brownian path that is a function of its seed alone: however it is asked, in steps of any size and order,
 * W(b) - W(a) is the same. Samplers of stochastic equations use it so that the number of steps does not
 * change the path.
 *
 * The numbers are those of torchsde 0.2.6's BrownianTree (tolerance 1e-6, pool of 24 words) on PyTorch's CPU:
 * Brownian bridges on a tree that halves [t0, t1], each node with a seed that NumPy's SeedSequence derives
 * from the entropy and the node's place (O'Neill, "Developing a seed_seq alternative", 2015). */
#ifndef SD_SAMPLE_BROWNIAN_H
#define SD_SAMPLE_BROWNIAN_H

#include <stddef.h>
#include <stdint.h>

#include "sd/base/status.h"

typedef struct sd_brownian sd_brownian;

/* A path of `n` independent values over [t0, t1], 0 <= t0 < t1 finite, both rounded to 1e-6. SD_E_MEMORY,
 * SD_E_ARGUMENT. Keeps about twenty-five arrays of `n` floats. Not thread-safe; free with
 * sd_brownian_destroy. */
sd_status sd_brownian_create(sd_brownian **out, uint64_t entropy, double t0, double t1, size_t n,
                             sd_error *err);
void sd_brownian_destroy(sd_brownian **tree);

/* Fills `out` with W(b) - W(a), a <= b; times outside [t0, t1] count as its ends, and times are rounded to
 * 1e-6. SD_E_MEMORY. */
sd_status sd_brownian_increment(sd_brownian *tree, double a, double b, float *out, sd_error *err);

/* `count` (up to 8) words of the seed sequence of `entropy` and, when depth is not negative, of the spawn key
 * (place, depth). */
void sd_seed_sequence(uint64_t entropy, uint64_t place, int depth, uint32_t *words, uint32_t count);

#endif
