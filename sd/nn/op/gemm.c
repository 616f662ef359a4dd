/* Linear layers and convolutions: one implicit GEMM whose rows are pixels and whose columns are output
 * channels. */
#include "sd/base/checked.h"
#include "sd/nn/op/gemm_kernel.h"
#include "sd/nn/ops.h"

#include <string.h>

struct gemm {
    uint32_t taps, tap_width, stride, pad;
    bool upsample, geglu;
    bool upsampled;   /* the weight is an upsampling convolution's, but x has been enlarged already */
    bool interleaved; /* the weight is a GEGLU layer's, but the results stay as its rows are */
    sd_act act;
    bool act_last;
    uint32_t rows; /* of the whole: strips get its kernel, and with it the same bits */
};

enum { in_x, in_vector, in_residual };

static const sd_tensor *first_part(const sd_tensor *x) {
    return x->parts[0] ? x->parts[0] : x;
}

/* Rows of the GEMM: output pixels, of one phase when upsampling. */
static uint32_t rows_of(const sd_node *node, const struct gemm *q) {
    return q->upsample ? sd_tensor_rows(node->in[in_x]) : sd_tensor_rows(node->out);
}

static void fill_push(const sd_node *node, const sd_emit *e, const struct gemm *q, uint32_t c_padded,
                      struct gemm_push *p) {
    const sd_tensor *x = node->in[in_x], *a = first_part(x), *b = x->parts[1], *out = node->out;
    const sd_tensor *vector = node->in[in_vector], *residual = node->in[in_residual];
    *p = (struct gemm_push){.a = sd_emit_address(e, a),
                            .a2 = b ? sd_emit_address(e, b) : 0,
                            .weight = node->weight[0]->address,
                            .bias = node->weight[1] ? node->weight[1]->address : 0,
                            .vector = vector ? sd_emit_address(e, vector) : 0,
                            .residual = residual ? sd_emit_address(e, residual) : 0,
                            .result = sd_emit_address(e, out),
                            .rows = rows_of(node, q),
                            .columns = node->weight[0]->n,
                            .h = x->h,
                            .w = x->w,
                            .oh = q->upsample ? x->h : out->h,
                            .ow = q->upsample ? x->w : out->w,
                            .c = x->c,
                            .c1 = a->c,
                            .pitch = a->pitch,
                            .pitch2 = b ? b->pitch : 0,
                            .c_padded = c_padded,
                            .result_pitch = out->pitch,
                            .residual_pitch = residual ? residual->pitch : 0,
                            .vector_pitch = vector && vector->n > 1 ? vector->pitch : 0};
}

static uint32_t flags_of(const sd_node *node, const struct gemm *q) {
    const sd_tensor *vector = node->in[in_vector], *residual = node->in[in_residual];
    uint32_t flags = (uint32_t)q->act << GEMM_ACT_SHIFT | (q->act_last ? GEMM_FLAG_ACT_LAST : 0) |
                     q->stride << GEMM_STRIDE_SHIFT | q->pad << GEMM_PAD_SHIFT |
                     q->tap_width << GEMM_WIDTH_SHIFT | q->taps << GEMM_TAPS_SHIFT;
    flags |= node->out->dtype == SD_F16 ? GEMM_FLAG_OUT_HALF : 0;
    flags |= (q->upsample ? GEMM_FLAG_UPSAMPLE : 0) | (q->geglu ? GEMM_FLAG_GEGLU : 0);
    flags |= node->weight[1] ? GEMM_FLAG_BIAS : 0;
    flags |= vector ? GEMM_FLAG_VECTOR | (vector->dtype == SD_F16 ? GEMM_FLAG_VECTOR_HALF : 0) : 0;
    return flags |
           (residual ? GEMM_FLAG_RESIDUAL | (residual->dtype == SD_F16 ? GEMM_FLAG_RESIDUAL_HALF : 0) : 0);
}

/* Whether eight channels can be read at once: they lie in one part, inside the tensor, at multiples of 16
 * bytes. */
static bool readable_by_quads(const sd_emit *e, const sd_tensor *t) {
    uint32_t size = sd_dtype_size(t->dtype);
    return t->c % 8 == 0 && t->pitch * size % 16 == 0 && sd_emit_address(e, t) % 16 == 0;
}

/* Whether all pixels start at multiples of 8 bytes (4 where two halves are a pair) and hold whole pairs. */
static bool is_wide(const sd_tensor *t) {
    if (!t)
        return true;
    if (t->parts[0])
        return is_wide(t->parts[0]) && is_wide(t->parts[1]);
    return t->c % 2 == 0 && (t->dtype == SD_F16 || (t->pitch % 2 == 0 && t->offset % 2 == 0));
}

/* What the CPU kernels are compiled for. */
static uint32_t fixed_flags(const sd_node *node, const struct gemm *q, uint32_t flags) {
    uint32_t fixed = flags & (GEMM_FLAG_OUT_HALF | GEMM_FLAG_UPSAMPLE | GEMM_FLAG_GEGLU | GEMM_FLAG_VECTOR |
                              GEMM_FLAG_VECTOR_HALF | GEMM_FLAG_RESIDUAL | GEMM_FLAG_RESIDUAL_HALF |
                              7u << GEMM_ACT_SHIFT | GEMM_FLAG_ACT_LAST);
    bool wide = is_wide(node->out) && is_wide(node->in[in_vector]) && is_wide(node->in[in_residual]);
    fixed |= q->taps == 1 && q->stride == 1 ? GEMM_FIXED_LINEAR : 0;
    fixed |= is_wide(node->in[in_x]) ? GEMM_FIXED_A_WIDE : 0;
    return fixed | (wide ? GEMM_FIXED_OUT_WIDE : 0);
}

static void record(const sd_node *node, sd_emit *e) {
    struct gemm q;
    struct gemm_push push;
    memcpy(&q, node->params, sizeof q);
    const struct sd_vk_info *info = sd_emit_info(e);
    const sd_weight *weight = node->weight[0];
    const sd_tensor *a = first_part(node->in[in_x]), *b = node->in[in_x]->parts[1];
    struct sd_gemm_layout l = sd_gemm_layout(info, weight);
    fill_push(node, e, &q, l.c_padded, &push);
    push.flags = flags_of(node, &q);
    struct sd_gemm_kernel kernel = sd_gemm_choose(
        info, weight,
        &(struct sd_gemm_need){.rows = q.rows,
                               .fixed = fixed_flags(node, &q, push.flags),
                               .a_half = a->dtype == SD_F16,
                               .concat = b,
                               .quads = readable_by_quads(e, a) && (!b || readable_by_quads(e, b))});
    uint32_t column_tiles = sd_ceil_div(weight->n, kernel.columns);
    bool cpu = sd_gemm_for_cpu(info);
    uint32_t row_tiles = sd_ceil_div(push.rows, kernel.rows), y = row_tiles < 65535 ? row_tiles : 65535;
    push.row_tiles = row_tiles;
    /* The CPU kernels run all row tiles of a column tile first: its weights are what stays in a core's cache.
     */
    sd_emit_dispatch(e, &(struct sd_dispatch){.shader = kernel.shader,
                                              .spec = kernel.spec,
                                              .spec_count = kernel.spec_count,
                                              .subgroup = kernel.subgroup,
                                              .push = &push,
                                              .push_bytes = sizeof push,
                                              .groups = {cpu ? y : column_tiles, cpu ? column_tiles : y,
                                                         sd_ceil_div(row_tiles, y) * l.phases}});
}

static uint64_t tensor_bytes(const sd_tensor *t) {
    return t ? (uint64_t)sd_tensor_rows(t) * t->c * sd_dtype_size(first_part(t)->dtype) : 0;
}

static void cost(const sd_node *node, struct sd_cost *out) {
    struct gemm q;
    memcpy(&q, node->params, sizeof q);
    const sd_weight *w = node->weight[0];
    out->flop = 2 * (uint64_t)rows_of(node, &q) * (q.upsample ? 4 : 1) * w->n * w->c * q.taps;
    out->bytes = w->bytes + tensor_bytes(node->in[in_x]) + tensor_bytes(node->in[in_residual]) +
                 tensor_bytes(node->out);
}

/* A kernel of odd width misses half of itself beyond a cut; one of stride 2 at most one row of the output. */
static bool describe_strip(const sd_node *node, struct sd_strip *out) {
    struct gemm q;
    memcpy(&q, node->params, sizeof q);
    *out = (struct sd_strip){.inputs = 1u << in_x | 1u << in_residual,
                             .up = q.upsample ? 2 : 1,
                             .down = q.stride,
                             .spoilt = q.upsample || q.stride > 1 ? 1 : q.tap_width / 2};
    return q.stride == 1 || node->in[in_x]->h % q.stride == 0;
}

static const struct sd_strip_rule strips = {describe_strip, NULL};
static const struct sd_op op_linear = {"linear", record, cost};
static const struct sd_op op_conv2d = {"conv2d", record, cost};
static const struct sd_op op_upsample_conv2d = {"upsample_conv2d", record, cost};

static bool has_shape(const sd_tensor *a, const sd_tensor *b, uint32_t c) {
    return a->n == b->n && a->h == b->h && a->w == b->w && a->c == c;
}

/* A concatenation can be read in place when no K step crosses its seam. */
static sd_tensor *readable(sd_graph *g, sd_tensor *x, const sd_weight *w) {
    if (!x || !x->parts[0])
        return x;
    const sd_tensor *a = x->parts[0], *b = x->parts[1];
    bool fits =
        !a->parts[0] && !b->parts[0] && a->dtype == b->dtype && a->c % sd_gemm_layout(&g->info, w).step == 0;
    return fits ? x : sd_graph_whole(g, x);
}

/* Whether the layer was bound for this operation: the kernels take sizes from both. */
static bool bound_for(const struct gemm *q, const sd_weight *w, const sd_weight *bias) {
    sd_weight_form form = q->upsample || q->upsampled  ? SD_WEIGHT_UPSAMPLE
                          : q->geglu || q->interleaved ? SD_WEIGHT_GEGLU
                                                       : SD_WEIGHT_GEMM;
    uint32_t k = q->upsample ? 3 : q->tap_width;
    return w->form == form && w->kh == k && w->kw == k && k % 2 &&
           (!bias ||
            (bias->n == w->n && bias->form == (q->geglu ? SD_WEIGHT_GEGLU_VECTOR : SD_WEIGHT_VECTOR)));
}

/* One node; in front of GEGLU the residual has the weight's rows, in their order. */
static sd_tensor *build_one(sd_graph *g, const struct sd_op *op, sd_tensor *x, sd_layer layer,
                            const struct gemm *q, uint32_t h, uint32_t w, const sd_fuse *fuse) {
    if (g->failed || !x || !layer.weight)
        return sd_graph_fail(g, SD_E_INTERNAL, "%s: an input or the weight is missing", op->name);
    if (x->c != layer.weight->c)
        return sd_graph_fail(g, SD_E_INTERNAL, "%s: expected %u input channels, found %u", op->name,
                             layer.weight->c, x->c);
    if (!bound_for(q, layer.weight, layer.bias))
        return sd_graph_fail(g, SD_E_INTERNAL, "%s: '%s' or its bias was bound for another operation",
                             op->name, layer.weight->names[0]);
    x = readable(g, x, layer.weight);
    sd_tensor *residual = sd_graph_whole(g, fuse->residual), *vector = sd_graph_whole(g, fuse->vector);
    sd_tensor *out = sd_graph_tensor(g, fuse->f32 ? SD_F32 : g->act, x ? x->n : 1, h, w,
                                     layer.weight->n / (q->geglu ? 2 : 1));
    if (!x || !out)
        return NULL;
    if (residual && !has_shape(residual, out, q->geglu ? layer.weight->n : out->c))
        return sd_graph_fail(g, SD_E_INTERNAL, "%s: the residual's shape is not the output's", op->name);
    if (vector &&
        (vector->c != out->c || vector->h * vector->w != 1 || (vector->n != 1 && vector->n != out->n)))
        return sd_graph_fail(g, SD_E_INTERNAL,
                             "%s: expected a vector of [1,1,1,%u] or [%u,1,1,%u], found [%u,%u,%u,%u]",
                             op->name, out->c, out->n, out->c, vector->n, vector->h, vector->w, vector->c);
    sd_tensor *inputs[] = {[in_x] = x, [in_vector] = vector, [in_residual] = residual};
    struct gemm params = *q;
    params.act = fuse->act;
    params.act_last = fuse->act_last;
    params.rows = sd_tensor_rows(q->upsample ? x : out);
    out = sd_graph_add(g, op, out, inputs, 3, layer.weight, layer.bias, &params, sizeof params);
    return sd_strips_allowed(g, out, &strips);
}

/* The layer with what its weight has at its side: up (down x), of which `down` reads as the layer does and
 * `up` is linear, arrives as a residual in front of the activation. The caller's own residual takes the same
 * way, unless it belongs behind the activation: then it costs a node. */
static sd_tensor *build(sd_graph *g, const struct sd_op *op, sd_tensor *x, sd_layer layer,
                        const struct gemm *q, uint32_t h, uint32_t w, const sd_fuse *fuse) {
    static const sd_fuse none;
    fuse = fuse ? fuse : &none;
    const struct sd_weight_side *side = layer.weight ? layer.weight->side : NULL;
    if (!side)
        return build_one(g, op, x, layer, q, h, w, fuse);
    bool behind = fuse->residual && fuse->act && !fuse->act_last;
    struct gemm down = *q;
    const struct gemm up = {.taps = 1, .tap_width = 1, .stride = 1, .interleaved = q->geglu};
    const sd_fuse term = {.residual = behind ? NULL : fuse->residual, .f32 = fuse->f32};
    down.geglu = down.upsampled = false;
    sd_tensor *t = build_one(g, op, x, (sd_layer){side->down, NULL}, &down, h, w, &none);
    t = build_one(g, &op_linear, t, (sd_layer){side->up, NULL}, &up, h, w, &term);
    const sd_fuse sum = {.vector = fuse->vector,
                         .residual = t,
                         .act = fuse->act,
                         .act_last = fuse->act || q->geglu,
                         .f32 = fuse->f32};
    t = build_one(g, op, x, layer, q, h, w, &sum);
    return behind ? sd_add(g, t, fuse->residual) : t;
}

sd_tensor *sd_linear(sd_graph *g, sd_tensor *x, sd_layer layer, const sd_fuse *fuse) {
    const struct gemm q = {.taps = 1, .tap_width = 1, .stride = 1};
    return build(g, &op_linear, x, layer, &q, x ? x->h : 0, x ? x->w : 0, fuse);
}

sd_tensor *sd_linear_geglu(sd_graph *g, sd_tensor *x, sd_layer layer) {
    const struct gemm q = {.taps = 1, .tap_width = 1, .stride = 1, .geglu = true};
    return build(g, &op_linear, x, layer, &q, x ? x->h : 0, x ? x->w : 0, NULL);
}

sd_tensor *sd_conv2d(sd_graph *g, sd_tensor *x, sd_layer layer, const sd_fuse *fuse) {
    uint32_t k = layer.weight ? layer.weight->kh : 1;
    const struct gemm q = {.taps = k * k, .tap_width = k, .stride = 1, .pad = k / 2};
    return build(g, &op_conv2d, x, layer, &q, x ? x->h : 0, x ? x->w : 0, fuse);
}

sd_tensor *sd_conv2d_down(sd_graph *g, sd_tensor *x, sd_layer layer, uint32_t pad_before,
                          const sd_fuse *fuse) {
    const struct gemm q = {.taps = 9, .tap_width = 3, .stride = 2, .pad = pad_before};
    if (x && (x->h + pad_before < 2 || x->w + pad_before < 2))
        return sd_graph_fail(g, SD_E_ARGUMENT, "a picture of %u x %u is too small to be halved", x->w, x->h);
    uint32_t h = x ? (x->h + pad_before - 2) / 2 + 1 : 0, w = x ? (x->w + pad_before - 2) / 2 + 1 : 0;
    return build(g, &op_conv2d, x, layer, &q, h, w, fuse);
}

sd_tensor *sd_upsample_conv2d(sd_graph *g, sd_tensor *x, sd_layer layer, const sd_fuse *fuse) {
    const struct gemm summed = {.taps = 4, .tap_width = 2, .stride = 1, .pad = 1, .upsample = true},
                      nine = {.taps = 9, .tap_width = 3, .stride = 1, .pad = 1, .upsampled = true};
    uint32_t h = x ? x->h * 2 : 0, w = x ? x->w * 2 : 0;
    if (!layer.weight || !sd_dtype_quantised(layer.weight->dtype))
        return build(g, &op_upsample_conv2d, x, layer, &summed, h, w, fuse);
    return build(g, &op_conv2d, sd_resize_nearest(g, x, h, w), layer, &nine, h, w, fuse);
}
