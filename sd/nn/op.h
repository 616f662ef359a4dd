/* What an op is: a name and how to put it on the device. One `const struct sd_op` per file of sd/nn/op. */
#ifndef SD_NN_OP_H
#define SD_NN_OP_H

#include "sd/base/checked.h"
#include "sd/nn/graph.h"
#include "shaders/shader.h"

/* Work of one node, for plans and benchmarks. */
struct sd_cost {
    uint64_t flop;  /* a multiply-add counts two */
    uint64_t bytes; /* read and written, weights included */
};

/* One dispatch. Tensors' and weights' device addresses go into the push constants. */
struct sd_dispatch {
    const struct sd_shader *shader;
    const uint32_t *spec; /* specialization constants 0..spec_count-1 */
    uint32_t spec_count;
    uint32_t subgroup; /* required subgroup size, or 0 */
    const void *push;
    uint32_t push_bytes;
    uint32_t groups[3]; /* any size: more than the device's limits is refused with a message */
};

/* Where record() puts its dispatches. It is called more than once for a node, and must emit the same. */
typedef struct sd_emit sd_emit;

const struct sd_vk_info *sd_emit_info(const sd_emit *e);
/* Device address of the tensor's first element (views included); not for concatenations: ask for the parts.
 */
uint64_t sd_emit_address(const sd_emit *e, const sd_tensor *t);
/* Copies what it needs. */
void sd_emit_dispatch(sd_emit *e, const struct sd_dispatch *dispatch);
/* Between dependent dispatches of one node; between nodes the planner sees to it. */
void sd_emit_barrier(sd_emit *e);

struct sd_op {
    const char *name;
    void (*record)(const sd_node *node, sd_emit *e); /* Vulkan's */
    void (*cost)(const sd_node *node, struct sd_cost *cost);
};

/* How the rows of an output follow from those of in[0], for running a node on a strip of rows. */
struct sd_strip {
    uint32_t inputs;   /* bit i: of in[i] only the strip is read; every other input is read whole */
    uint32_t up, down; /* `up` rows of the output for `down` rows of in[0]; the last ones may be fewer */
    uint32_t spoilt;   /* rows of the output next to a cut that are wrong, as rows beyond it are missing */
};

struct sd_strip_rule {
    /* False when this node needs its inputs whole. Inputs of the strip other than in[0] have the output's
     * rows. */
    bool (*describe)(const sd_node *node, struct sd_strip *out);
    /* Adapts the parameters of a node whose tensors got other heights; NULL where none depends on them. */
    void (*fit)(sd_node *node);
};

/* For builders, behind sd_graph_add: the node that writes `out` can run on strips. Returns `out`. */
static inline sd_tensor *sd_strips_allowed(sd_graph *g, sd_tensor *out, const struct sd_strip_rule *rule) {
    if (out)
        g->nodes[out->producer]->strips = rule;
    return out;
}

/* `count` workgroups in one row, or in several when the row would pass the limit that every device allows.
 * The shader numbers them y * width + x and ignores those behind the last. */
static inline void sd_fold_groups(uint32_t count, uint32_t groups[3]) {
    groups[0] = count <= 65535 ? count : 32768;
    groups[1] = sd_ceil_div(count, groups[0]);
    groups[2] = 1;
}

#endif
