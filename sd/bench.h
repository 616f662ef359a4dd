/* What the benchmarks of networks and of single ops share. Internal to the sd room. */
#ifndef SD_BENCH_H
#define SD_BENCH_H

#include "sd/context.h"
#include "sd/stage.h"
#include "sd/tools.h"

/* Type of the activations, and how the weights are stored. */
sd_dtype sd_bench_act(const sd_context *context, sd_precision precision);
sd_weight_precision sd_bench_weights(sd_precision precision);

/* Random numbers in [-1, 1) into all inputs, 0 into those of integers. Zeros would be as much work, but GPUs
 * take less power for them and then clock higher than with real numbers. */
sd_status sd_bench_fill(struct sd_stage *stage, sd_error *err);
/* One run to warm up and `runs` counted ones (100 at most): first, median and best of their seconds. */
sd_status sd_bench_measure(struct sd_stage *stage, sd_vk *vk, uint32_t runs, sd_bench_result *out,
                           sd_error *err);
/* Sizes and work of one run. */
void sd_bench_count(const struct sd_stage *stage, const sd_weights *weights, sd_bench_result *out);
/* Rows of time by op, and by shape if `shapes`; most seconds first. The stage's executor is made anew. */
sd_status sd_bench_profile(struct sd_stage *stage, sd_vk *vk, bool shapes, sd_bench_result *out,
                           sd_error *err);

#endif
