/* The harness of the op tests: a graph of one or a few nodes, run on the device with guards round every
 * tensor, and the result compared with the C reference of tests/ref. */
#ifndef OPTEST_H
#define OPTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/nn/exec.h"
#include "sd/nn/ops.h"

typedef struct optest optest;

/* Opens the device once for a group of tests (cmocka group set-up and tear-down). The environment variable
 * SDVK_TEST_DEVICE picks it as --device would, SDVK_TEST_SUBGROUP requires a subgroup size. */
int optest_open(void **state);
int optest_close(void **state);
/* Opens it with the description of a GPU, for kernels that are chosen by that alone: they need nothing that a
 * CPU device lacks. */
int optest_open_as_gpu(void **state);

/* A new graph with activations of type `act`. */
optest *optest_begin(void **state, sd_dtype act);
sd_graph *optest_graph(optest *t);
/* Bind layers to be used in the graph here (sd_bind_...). */
sd_weights *optest_weights(optest *t);
const struct sd_vk_info *optest_info(optest *t);

/* Seeded random numbers: uniform in [-1, 1), and integers in [low, high]. */
float optest_uniform(optest *t);
uint32_t optest_int(optest *t, uint32_t low, uint32_t high);
void optest_seed(optest *t, uint64_t seed);
/* How many random cases to run of `all`: all of them, or where SDVK_TEST_SHARE is n every n-th (at least 8),
 * for the runs on further devices. */
uint64_t optest_cases(uint64_t all);
/* `count` random values (freed with the test), rounded to what `dtype` can hold exactly (SD_F32 or SD_F16).
 */
float *optest_random(optest *t, size_t count, sd_dtype dtype);

/* An input of the graph's activation type that will hold `data` (kept by reference until optest_run). */
sd_tensor *optest_input(optest *t, uint32_t n, uint32_t h, uint32_t w, uint32_t c, const float *data);
sd_tensor *optest_input_i32(optest *t, uint32_t n, uint32_t h, uint32_t w, uint32_t c, const int32_t *data);
/* The checkpoint tensor `name` that bound layers will find, stored as `dtype` (values are given as floats).
 */
void optest_tensor(optest *t, const char *name, sd_dtype dtype, uint32_t rank, const uint64_t *shape,
                   const float *values);

/* The same with a quantised type: `blocks` (freed with the test) hold the values. */
void optest_blocks(optest *t, const char *name, sd_dtype dtype, uint32_t rank, const uint64_t *shape,
                   void *blocks);

/* Loads all weights that are bound, after which none may be added. Graphs of layers whose weights stay
 * quantised are built after that, since they depend on it. */
void optest_load(optest *t);

/* Loads the weights unless they are, plans with guards, runs, checks that no guard byte changed, and returns
 * the output's values as floats [n,h,w,c] (freed with the test). Fails the test on any error. */
const float *optest_run(optest *t, sd_tensor *out);
/* Destroys graph, weights and all memory handed out. */
void optest_end(optest **t);

/* Fails unless |got - want| <= absolute + relative * |want| for all values; a NaN or infinity must stand
 * where one is expected. `what` (printf) names the parameters in the message. */
void optest_compare(const float *got, const float *want, size_t count, double relative, double absolute,
                    const char *what, ...);

#endif
