/* The two noise streams that pictures are made from. Same seed, same draws, same numbers on every machine.
 *
 * SD_RNG_CPU is PyTorch's CPU `randn`: MT19937 (Matsumoto and Nishimura 1998) seeded with the low 32 bits of
 * the seed. Draws of 16 and more take one 24-bit uniform per value and transform blocks of 16 (Box-Muller,
 * the cosines in the first eight, the sines in the last); a length that is no multiple of 16 draws 16 fresh
 * uniforms for its last 16 values. Shorter draws go through double precision with 53-bit uniforms, one spare
 * value being kept for the next short draw.
 *
 * SD_RNG_GPU is PyTorch's CUDA `randn`: Philox 4x32-10 (Salmon et al. 2011) with key = seed and counter =
 * (draw number, 0, element, 0); an element is the first Box-Muller value of the first two words. CUDA gives
 * this as long as it starts one thread per element, which every device does up to 2,048 elements a
 * multiprocessor; beyond that its numbers depend on the device and this stream simply goes on.
 *
 * The CPU stream agrees with PyTorch's AVX2 build to 3e-7 (99 of 100 values in every bit: it may fuse
 * multiplications and additions, which this library never does), the other with recorded draws to 6e-7. */
#ifndef SD_BASE_RNG_H
#define SD_BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sd_rng_kind { SD_RNG_CPU = 0, SD_RNG_GPU } sd_rng_kind;

/* Plain data: a copy is an independent stream at the same position. Not thread-safe. */
typedef struct sd_rng {
    sd_rng_kind kind;
    uint64_t seed;
    uint64_t draws;      /* number of finished sd_rng_randn calls that filled anything */
    uint32_t state[624]; /* MT19937 only */
    uint32_t next;       /* first unused word of `state` */
    bool has_spare;      /* MT19937 only: the second value of the last pair of a short draw */
    double spare;
} sd_rng;

void sd_rng_init(sd_rng *rng, sd_rng_kind kind, uint64_t seed);

/* Fills `out` with `n` normal values of mean 0 and deviation 1. One call is one `randn` of that many
 * elements: two calls of n / 2 do not give the values of one call of n. */
void sd_rng_randn(sd_rng *rng, float *out, size_t n);

/* The Philox 4x32-10 block function. */
void sd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
