/* Elementwise ops: one shader, told apart by a specialization constant. */
#include "shaders/elementwise.h"

#include "sd/nn/op/source.h"
#include "shaders/shaders.h"

#include <string.h>

struct params {
    uint32_t op;
    float s, t;
};

static struct params params_of(const sd_node *node) {
    struct params p;
    memcpy(&p, node->params, sizeof p);
    return p;
}

static bool no_gaps(const sd_tensor *t) {
    return !t->parts[0] && t->pitch == t->c;
}

static void record(const sd_node *node, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    const struct params params = params_of(node);
    const sd_tensor *a = node->in[0], *b = node->in[1] ? node->in[1] : a, *out = node->out;
    bool cpu = info->kind == SD_VK_CPU;
    uint32_t lanes = cpu ? info->subgroup : 128, items = cpu ? 64 : 4;
    uint32_t count = sd_tensor_rows(out) * out->c;
    bool flat = no_gaps(a) && no_gaps(b) && no_gaps(out) && count % 4 == 0;
    bool aligned = flat || (sd_aligned4(a) && sd_aligned4(b) && sd_aligned4(out));
    /* A slice without gaps still may start anywhere. */
    aligned = aligned && a->offset % 4 == 0 && b->offset % 4 == 0;
    struct sd_elementwise_push push = {.a = sd_source_of(e, a),
                                       .b = sd_source_of(e, b),
                                       .out_address = sd_emit_address(e, out),
                                       .rows = flat ? 1 : sd_tensor_rows(out),
                                       .chunks = flat ? count / 4 : sd_ceil_div(out->c, 4),
                                       .out_pitch = out->pitch,
                                       .s = params.s,
                                       .t = params.t};
    if (flat)
        push.a.split = push.a.c = push.b.split = push.b.c = count;
    push.step_rows = lanes / push.chunks;
    push.step_chunks = lanes % push.chunks;
    const uint32_t spec[] = {lanes,
                             items,
                             params.op,
                             a->dtype == SD_F16,
                             b->dtype == SD_F16,
                             out->dtype == SD_F16,
                             aligned,
                             a->parts[0] != NULL,
                             b->parts[0] != NULL};
    struct sd_dispatch d = {.shader = info->int64 ? &sd_shader_elementwise_int64 : &sd_shader_elementwise,
                            .spec = spec,
                            .spec_count = sizeof spec / sizeof *spec,
                            .push = &push,
                            .push_bytes = sizeof push};
    sd_fold_groups(sd_ceil_div(push.rows * push.chunks, lanes * items), d.groups);
    sd_emit_dispatch(e, &d);
}

static void cost(const sd_node *node, struct sd_cost *out) {
    static const unsigned char flop[] = {0, 2, 16, 24, 16, 1, 16, 1, 3};
    out->flop = sd_value_count(node->out) * flop[params_of(node).op];
    out->bytes = sd_value_bytes(node->in[0]) + sd_value_bytes(node->out);
    if (node->in[1])
        out->bytes += sd_value_bytes(node->in[1]);
}

static const struct sd_op sd_op_copy = {"copy", record, cost};
static const struct sd_op sd_op_cast = {"cast", record, cost};
static const struct sd_op sd_op_activate = {"activate", record, cost};
static const struct sd_op sd_op_scale = {"scale", record, cost};
static const struct sd_op sd_op_add = {"add", record, cost};
static const struct sd_op sd_op_lerp = {"lerp", record, cost};

static sd_tensor *build(sd_graph *g, const struct sd_op *op, sd_tensor *a, sd_tensor *b, sd_dtype dtype,
                        struct params params) {
    if (g->failed || !a)
        return NULL;
    if (b && !sd_same_shape(a, b))
        return sd_graph_fail(g, SD_E_INTERNAL,
                             "%s: expected two tensors of one shape, found [%u,%u,%u,%u] "
                             "and [%u,%u,%u,%u]",
                             op->name, a->n, a->h, a->w, a->c, b->n, b->h, b->w, b->c);
    const sd_tensor *wrong = !sd_is_real(a) ? a : b && !sd_is_real(b) ? b : NULL;
    if (params.op != SD_ELEMENTWISE_COPY && wrong)
        return sd_graph_fail(g, SD_E_INTERNAL, "%s: expected F32 or F16, found %s", op->name,
                             sd_dtype_name(wrong->dtype));
    sd_tensor *out = sd_graph_tensor(g, dtype, a->n, a->h, a->w, a->c);
    sd_tensor *const inputs[] = {a, b};
    return sd_graph_add(g, op, out, inputs, 2, NULL, NULL, &params, sizeof params);
}

sd_tensor *sd_copy(sd_graph *g, sd_tensor *x) {
    return x ? build(g, &sd_op_copy, x, NULL, x->dtype, (struct params){SD_ELEMENTWISE_COPY, 1, 0}) : NULL;
}

sd_tensor *sd_cast(sd_graph *g, sd_tensor *x, sd_dtype dtype) {
    if (g->failed || !x || x->dtype == dtype)
        return g->failed ? NULL : x;
    if (!sd_is_real(x) || (dtype != SD_F32 && dtype != SD_F16))
        return sd_graph_fail(g, SD_E_INTERNAL, "cast: from %s to %s", sd_dtype_name(x->dtype),
                             sd_dtype_name(dtype));
    return build(g, &sd_op_cast, x, NULL, dtype, (struct params){SD_ELEMENTWISE_COPY, 1, 0});
}

sd_tensor *sd_activate(sd_graph *g, sd_tensor *x, sd_act act) {
    static const uint32_t ops[] = {SD_ELEMENTWISE_COPY,       SD_ELEMENTWISE_SILU, SD_ELEMENTWISE_GELU,
                                   SD_ELEMENTWISE_QUICK_GELU, SD_ELEMENTWISE_RELU, SD_ELEMENTWISE_TANH};
    if (g->failed || !x)
        return NULL;
    if (act == SD_ACT_NONE)
        return x;
    if (act > SD_ACT_TANH)
        return sd_graph_fail(g, SD_E_INTERNAL, "activate: unknown function %d", (int)act);
    return build(g, &sd_op_activate, x, NULL, x->dtype, (struct params){ops[act], 1, 0});
}

sd_tensor *sd_scale(sd_graph *g, sd_tensor *x, float scale, float shift) {
    return x ? build(g, &sd_op_scale, x, NULL, x->dtype, (struct params){SD_ELEMENTWISE_AFFINE, scale, shift})
             : NULL;
}

sd_tensor *sd_add(sd_graph *g, sd_tensor *a, sd_tensor *b) {
    return a && b ? build(g, &sd_op_add, a, b, a->dtype, (struct params){SD_ELEMENTWISE_ADD, 1, 0}) : NULL;
}

sd_tensor *sd_lerp(sd_graph *g, sd_tensor *a, sd_tensor *b, float t) {
    return a && b ? build(g, &sd_op_lerp, a, b, a->dtype, (struct params){SD_ELEMENTWISE_LERP, 1, t}) : NULL;
}
