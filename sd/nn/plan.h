/* Where every tensor lies and when the device must wait: pure CPU, no device needed. */
#ifndef SD_NN_PLAN_H
#define SD_NN_PLAN_H

#include "sd/nn/graph.h"

struct sd_plan_options {
    uint32_t guard; /* bytes left free behind every tensor, for tests that look for stray writes */
    bool no_reuse;  /* every tensor keeps its own memory: for hooks that read intermediate results */
};

struct sd_plan_stats {
    uint64_t activation_bytes;  /* peak of the activation buffer */
    uint64_t flop[2], bytes[2]; /* by rate: once a prompt, every step */
    uint32_t nodes[2], barriers[2];
};

/* Borrows the graph, which must outlive it and not change any more. */
typedef struct sd_plan {
    sd_graph *graph;
    const sd_node **order; /* prompt-rate nodes first */
    bool *barrier;         /* barrier[i]: wait before order[i] */
    uint32_t count;
    uint32_t first_step; /* index in `order` of the first step-rate node */
    struct sd_plan_stats stats;
} sd_plan;

/* Fails with the graph's own error when the graph failed. Reads weights' sizes: call after they are known. */
sd_status sd_plan_create(sd_plan **out, sd_graph *graph, const struct sd_plan_options *options,
                         sd_error *err);
void sd_plan_destroy(sd_plan **plan);

#endif
