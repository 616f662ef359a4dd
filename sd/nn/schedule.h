/* The steps in which sd_strips runs a graph. Internal to sd/nn/strips.c. */
#ifndef SD_NN_SCHEDULE_H
#define SD_NN_SCHEDULE_H

#include "sd/nn/piece.h"
#include "sd/nn/plan.h"
#include "sd/nn/strips.h"

struct sd_step {
    struct sd_piece piece;
    bool *freed; /* [tensor_count]: what no later step reads */
    struct sd_plan_stats plan;
    struct sd_step *next;
};

struct sd_schedule {
    sd_arena arena; /* holds the steps */
    struct sd_step *first;
    struct sd_strips_stats stats;
};

/* Tensors of more than `keep_bytes` are computed again for every step that reads them, unless that cannot be;
 * the others wait in host memory. The `place` of every tensor of the graph must be its index. */
sd_status sd_schedule_create(struct sd_schedule **out, const sd_graph *graph,
                             const struct sd_strips_limits *limits, uint64_t keep_bytes, sd_error *err);
void sd_schedule_destroy(struct sd_schedule **schedule);

#endif
