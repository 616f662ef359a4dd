#include "sd/nn/graph.h"

#include "sd/base/checked.h"
#include "sd/nn/op.h"
#include "sd/nn/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sd_status sd_graph_create(sd_graph **out, const struct sd_vk_info *info, sd_dtype act, sd_error *err) {
    *out = NULL;
    if (act != SD_F32 && act != SD_F16)
        return sd_fail(err, SD_E_ARGUMENT, "activations: expected F32 or F16, found %s", sd_dtype_name(act));
    sd_graph *g = calloc(1, sizeof *g);
    if (!g)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    g->info = *info;
    g->act = act;
    *out = g;
    return SD_OK;
}

void sd_graph_destroy(sd_graph **graph) {
    if (!*graph)
        return;
    sd_arena_clear(&(*graph)->arena);
    free((*graph)->nodes);
    free((*graph)->tensors);
    free(*graph);
    *graph = NULL;
}

sd_status sd_graph_status(const sd_graph *g, sd_error *err) {
    return g->failed ? sd_fail(err, g->error.status, "%s", g->error.message) : SD_OK;
}

sd_tensor *sd_graph_fail(sd_graph *g, sd_status status, const char *format, ...) {
    if (g->failed)
        return NULL;
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    g->failed = true;
    sd_fail(&g->error, status, "%s%s%s", g->scope, g->scope[0] ? ": " : "", text);
    return NULL;
}

void sd_graph_scope(sd_graph *g, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(g->scope, sizeof g->scope, format, args);
    va_end(args);
}

/* Room for one more pointer in a growing list. */
static void *grown(void *list, uint32_t count, uint32_t *capacity) {
    if (count < *capacity)
        return list;
    uint32_t more = *capacity ? *capacity * 2 : 64;
    void *bigger = realloc(list, (size_t)more * sizeof(void *));
    if (bigger)
        *capacity = more;
    return bigger;
}

static bool tensor_bytes(const sd_tensor *t, uint64_t *bytes) {
    uint64_t rows, elements;
    return sd_mul_u64((uint64_t)t->n * t->h, t->w, &rows) && rows <= UINT32_MAX && t->pitch >= t->c &&
           sd_mul_u64(rows, t->pitch, &elements) && elements <= UINT32_MAX &&
           sd_mul_u64(elements, sd_dtype_size(t->dtype), bytes);
}

sd_tensor *sd_graph_tensor(sd_graph *g, sd_dtype dtype, uint32_t n, uint32_t h, uint32_t w, uint32_t c) {
    if (g->failed)
        return NULL;
    if (!n || !h || !w || !c)
        return sd_graph_fail(g, SD_E_INTERNAL, "a tensor of shape [%u,%u,%u,%u] is empty", n, h, w, c);
    sd_tensor *t = sd_arena_alloc(&g->arena, sizeof *t);
    sd_tensor **list = grown(g->tensors, g->tensor_count, &g->tensor_capacity);
    if (list)
        g->tensors = list;
    if (!t || !list)
        return sd_graph_fail(g, SD_E_MEMORY, "out of memory");
    *t = (sd_tensor){.n = n, .h = h, .w = w, .c = c, .dtype = dtype, .pitch = c, .producer = -1};
    if (dtype == SD_F16)
        t->pitch += c & 1;
    /* Kernels index with 32 bits. */
    if ((uint64_t)n * h > UINT32_MAX || !tensor_bytes(t, &t->bytes))
        return sd_graph_fail(g, SD_E_UNSUPPORTED,
                             "a tensor of shape [%u,%u,%u,%u] has more than 2^32 elements", n, h, w, c);
    t->owner = t;
    g->tensors[g->tensor_count++] = t;
    return t;
}

sd_tensor *sd_graph_input(sd_graph *g, const char *name, sd_rate rate, sd_dtype dtype, uint32_t n, uint32_t h,
                          uint32_t w, uint32_t c) {
    sd_tensor *t = sd_graph_tensor(g, dtype, n, h, w, c);
    if (!t)
        return NULL;
    t->name = name;
    t->rate = rate;
    t->input = true;
    return t;
}

sd_tensor *sd_graph_output(sd_graph *g, sd_tensor *t, const char *name) {
    t = sd_graph_whole(g, t);
    if (!t)
        return NULL;
    t->owner->output = true;
    t->name = name;
    return t;
}

static sd_rate faster(sd_rate a, sd_rate b) {
    return a > b ? a : b;
}

static sd_rate rate_of(const sd_tensor *t) {
    return t->parts[0] ? faster(rate_of(t->parts[0]), rate_of(t->parts[1])) : t->owner->rate;
}

sd_tensor *sd_graph_add(sd_graph *g, const struct sd_op *op, sd_tensor *out, sd_tensor *const *inputs,
                        uint32_t input_count, const sd_weight *weight, const sd_weight *bias,
                        const void *params, size_t params_size) {
    if (g->failed || !out)
        return NULL;
    if (input_count > SD_NODE_INPUTS || params_size > SD_NODE_PARAMS)
        return sd_graph_fail(g, SD_E_INTERNAL, "op %s has too many inputs or parameters", op->name);
    sd_node *node = sd_arena_alloc(&g->arena, sizeof *node);
    sd_node **list = grown(g->nodes, g->node_count, &g->node_capacity);
    if (list)
        g->nodes = list;
    if (!node || !list)
        return sd_graph_fail(g, SD_E_MEMORY, "out of memory");
    node->op = op;
    node->out = out;
    node->weight[0] = weight;
    node->weight[1] = bias;
    for (uint32_t i = 0; i < input_count; i++)
        if ((node->in[i] = inputs[i]))
            node->rate = faster(node->rate, rate_of(inputs[i]));
    if (params_size)
        memcpy(node->params, params, params_size);
    node->name = sd_arena_printf(&g->arena, "%s%s%s", g->scope, g->scope[0] ? "." : "", op->name);
    if (!node->name)
        return sd_graph_fail(g, SD_E_MEMORY, "out of memory");
    out->producer = (int32_t)g->node_count;
    out->rate = node->rate;
    g->nodes[g->node_count++] = node;
    return out;
}

sd_tensor *sd_graph_whole(sd_graph *g, sd_tensor *t) {
    if (g->failed)
        return NULL;
    return t && t->parts[0] ? sd_copy(g, t) : t;
}
