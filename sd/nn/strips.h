/* Running a network once in less device memory than its plan asks for, with the same results to the last bit.
 *
 * The network is cut into steps. A step runs a part of the graph whole where that fits, and else one strip of
 * rows after the other, with as many rows more as its convolutions reach beyond the strip. What later steps
 * read lies in host memory. Group norms look at whole images: every one of them ends a step, after which its
 * statistics are complete. */
#ifndef SD_NN_STRIPS_H
#define SD_NN_STRIPS_H

#include "sd/nn/exec.h"

struct sd_strips_limits {
    uint64_t device; /* bytes of activations at one time */
    uint64_t all;    /* the same with what lies in host memory, for devices that share it; UINT64_MAX: any */
};

struct sd_strips_stats {
    uint64_t device_bytes; /* most activations at one time: one allocation */
    uint64_t host_bytes;   /* most host memory between steps */
    uint64_t all_bytes;    /* most of both together */
    uint64_t flop, bytes;  /* of all strips */
    uint32_t nodes, barriers, steps;
    uint32_t strips; /* of the step that is cut into most; 1 when everything runs whole */
};

typedef struct sd_strips sd_strips;

/* Decides how to run the graph within `limits`, or as near to them as it can; sd_strips_stats tells. Needs no
 * device. Borrows the graph, which must outlive it, must not change any more, and is not to be planned or run
 * otherwise. Fails with the graph's own error when the graph failed. */
sd_status sd_strips_create(sd_strips **out, sd_graph *graph, const struct sd_strips_limits *limits,
                           sd_error *err);
void sd_strips_destroy(sd_strips **strips);

const struct sd_strips_stats *sd_strips_stats(const sd_strips *strips);

/* The host's memory for an input or output of the graph, as the device lays it out. */
struct sd_strips_io {
    const sd_tensor *tensor;
    void *data; /* tensor->bytes bytes; inputs are only read */
};

/* `io` has all inputs and outputs of the graph. `options` as for every executor; its `compiled` counts anew
 * in each step. May be called again, also after a failure. */
sd_status sd_strips_run(sd_strips *strips, sd_vk *vk, const struct sd_strips_io *io, uint32_t count,
                        const struct sd_exec_options *options, sd_error *err);

#endif
