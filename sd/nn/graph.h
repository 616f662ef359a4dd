/* Recording a network: nodes with inferred shapes and sticky errors. */
#ifndef SD_NN_GRAPH_H
#define SD_NN_GRAPH_H

#include "sd/base/arena.h"
#include "sd/nn/tensor.h"
#include "sd/nn/weight.h"
#include "sd/vk/device.h"

enum { SD_NODE_INPUTS = 6, SD_NODE_PARAMS = 96 };

typedef struct sd_node {
    const struct sd_op *op;
    sd_tensor *in[SD_NODE_INPUTS]; /* optional inputs are NULL */
    const sd_weight *weight[2];    /* weight, bias; NULL where the op has none */
    sd_tensor *out;
    const char *name;
    sd_rate rate;
    const struct sd_strip_rule *strips;               /* how it runs on a strip of rows; NULL: only whole */
    _Alignas(8) unsigned char params[SD_NODE_PARAMS]; /* the op's own struct */
} sd_node;

/* A graph under construction. After a failure `failed` is set, every builder returns NULL at once, and the
 * caller checks once with sd_graph_status. One thread. */
typedef struct sd_graph {
    sd_arena arena;
    struct sd_vk_info info; /* the device it is built for: ops pick variants by it */
    sd_dtype act;           /* type of activations: SD_F32 or SD_F16 */
    sd_node **nodes;
    uint32_t node_count, node_capacity;
    sd_tensor **tensors;
    uint32_t tensor_count, tensor_capacity;
    char scope[128]; /* prefix of node names, see sd_graph_scope */
    bool failed;
    sd_error error;
} sd_graph;

sd_status sd_graph_create(sd_graph **out, const struct sd_vk_info *info, sd_dtype act, sd_error *err);
void sd_graph_destroy(sd_graph **graph);

/* SD_OK, or the first error with its message. */
sd_status sd_graph_status(const sd_graph *g, sd_error *err);

/* Makes the graph fail with a message; returns NULL for `return sd_graph_fail(...)`. */
sd_tensor *sd_graph_fail(sd_graph *g, sd_status status, const char *format, ...) SD_PRINTF(3, 4);

/* Names of the nodes that follow start with this (for profiles and hooks): "down.0.res.1". */
void sd_graph_scope(sd_graph *g, const char *format, ...) SD_PRINTF(2, 3);

/* A tensor that the host writes before a run; its memory is never shared. SD_F32, SD_F16 or SD_I32. */
sd_tensor *sd_graph_input(sd_graph *g, const char *name, sd_rate rate, sd_dtype dtype, uint32_t n, uint32_t h,
                          uint32_t w, uint32_t c);
/* Keeps the tensor's memory until the next run so that the host can read it; returns it. */
sd_tensor *sd_graph_output(sd_graph *g, sd_tensor *t, const char *name);

/* For builders of ops: a new owner tensor; a node that writes `out`. `inputs` may hold NULLs. Builders check
 * shapes first and report through sd_graph_fail. */
sd_tensor *sd_graph_tensor(sd_graph *g, sd_dtype dtype, uint32_t n, uint32_t h, uint32_t w, uint32_t c);
sd_tensor *sd_graph_add(sd_graph *g, const struct sd_op *op, sd_tensor *out, sd_tensor *const *inputs,
                        uint32_t input_count, const sd_weight *weight, const sd_weight *bias,
                        const void *params, size_t params_size);
/* The tensor itself, or a copy when it is a concatenation of two parts. */
sd_tensor *sd_graph_whole(sd_graph *g, sd_tensor *t);

#endif
