/* Tensors of the graph: shape, layout and place. */
#ifndef SD_NN_TENSOR_H
#define SD_NN_TENSOR_H

#include "sd/base/dtype.h"
#include "sd/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How often a value changes. Nodes inherit the fastest rate of their inputs; weights never change, so what
 * depends on the prompt alone (keys and values of cross-attention) is computed once a prompt. */
typedef enum sd_rate { SD_RATE_PROMPT, SD_RATE_STEP } sd_rate;

/* An activation, channels last: [n,h,w,c], the same memory as [n,tokens,c] with h*w tokens. Tensors belong to
 * their graph. Device memory is f32, f16 or i32; f16 tensors have an even `pitch` and `offset`. */
typedef struct sd_tensor {
    uint32_t n, h, w, c;
    sd_dtype dtype;
    uint32_t pitch;  /* elements from a pixel to the next; c for an owner, more for a slice of channels */
    uint32_t offset; /* elements from the owner's first element */
    struct sd_tensor *owner; /* whose memory it is; itself unless it is a view */
    /* A channel concatenation that was never copied: first this tensor's `parts[0]`, then `parts[1]`; owner
     * is NULL. Ops that cannot read two parts get a copy from the builder (sd_graph_whole). */
    struct sd_tensor *parts[2];
    const char *name;
    sd_rate rate;
    int32_t producer;   /* index of the node that writes it; -1 for inputs */
    bool input, output; /* inputs and outputs keep their memory for the whole life of the plan */
    /* Filled by the planner, for owners: */
    uint64_t place; /* byte offset in the activation buffer */
    uint64_t bytes;
} sd_tensor;

/* Pixels (or tokens) of the whole batch. */
static inline uint32_t sd_tensor_rows(const sd_tensor *t) {
    return t->n * t->h * t->w;
}

#endif
