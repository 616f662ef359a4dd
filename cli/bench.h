/* Shared by the files of `sdvk bench`. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/cli.h"

#include "sd/tools.h"

/* What `sdvk bench` was asked for. */
struct bench {
    sd_bench_params network;
    sd_bench_op_params op; /* op.op NULL: a network */
    const char *device, *model;
    const char *only_op, *only_network; /* the last option that only an op or a network has */
    bool json, peaks;
};

/* Whether *at holds the character `before` (unless 0) and a whole number from 1 to 65536; it then points
 * behind them. */
bool bench_count(const char **at, char before, uint32_t *out);

/* Options of single ops. -1 to go on, the exit code after a wrong value, -2 when the option is none of them.
 */
int bench_op_option(struct bench *b, const char *name, const char *value);
/* "conv2d 64x64, 320 to 640 channels, ..." */
void bench_op_text(const sd_bench_op_params *op);
/* The op's shape as members of a JSON object, each after a comma. */
void bench_op_json(const sd_bench_op_params *op);

#endif
