#include "shaders/attention.h"
#include "sd/base/checked.h"
#include "sd/nn/op.h"
#include "sd/nn/ops.h"
#include "shaders/shaders.h"

#include <math.h>
#include <string.h>

enum { CPU_LANES = 16 };

static uint32_t tokens(const sd_tensor *t) {
    return t->h * t->w;
}

static uint32_t head_size(const sd_node *node, const sd_attention_params *p) {
    return node->in[0]->c / p->heads;
}

/* Bytes of a pixel's pitch. */
static uint32_t stride(const sd_tensor *t) {
    return t->pitch * sd_dtype_size(t->dtype);
}

static struct sd_attention_push push_of(const sd_node *node, const sd_attention_params *p, sd_emit *e) {
    const sd_tensor *q = node->in[0], *k = node->in[1], *v = node->in[2];
    float scale = p->scale != 0 ? p->scale : 1 / sqrtf((float)head_size(node, p));
    return (struct sd_attention_push){.q = sd_emit_address(e, q),
                                      .k = sd_emit_address(e, k),
                                      .v = sd_emit_address(e, v),
                                      .o = sd_emit_address(e, node->out),
                                      .queries = tokens(q),
                                      .keys = tokens(k),
                                      .q_pitch = stride(q) / 4,
                                      .k_pitch = stride(k) / 4,
                                      .v_pitch = stride(v) / 4,
                                      .o_pitch = stride(node->out) / 4,
                                      .heads = p->heads,
                                      .scale = scale * 1.44269504F};
}

/* A multiple of the power of two that all rows of the inputs are aligned to. */
static uint64_t places(const sd_node *node, const struct sd_attention_push *push) {
    const sd_tensor *const *in = (const sd_tensor *const *)node->in;
    return push->q | push->k | push->v | stride(in[0]) | stride(in[1]) | stride(in[2]);
}

/* Query rows of a lane and keys of a tile. The loop is written out, rows x keys x channels twice, and is fast
 * as long as a processor's instruction cache holds it, which also bounds what the driver takes to compile it
 * (docs/performance.md). */
static void cpu_tile(uint32_t d, uint32_t lanes, uint32_t queries, uint32_t *rows, uint32_t *keys) {
    static const float speed[] = {1, 1.4F, 1.9F, 2.2F}; /* of 1, 2, 4, 8 rows */
    uint32_t most = d <= 16 ? 3 : d <= 64 ? 2 : 1;
    float best = 0;
    for (uint32_t i = 0; i <= most; i++) {
        uint32_t tile = lanes << i;
        float useful = speed[i] * (float)queries / (float)(sd_ceil_div(queries, tile) * tile);
        if (useful > best) {
            best = useful;
            *rows = 1U << i;
        }
    }
    *keys = d <= 32 ? 4 : d <= 160 ? 2 : 1;
}

static void record_cpu(const sd_node *node, const sd_attention_params *p, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    const struct sd_attention_push push = push_of(node, p, e);
    /* llvmpipe calls its subgroups as wide as LP_NATIVE_VECTOR_WIDTH says, but stops at 16 lanes. */
    uint32_t lanes = info->subgroup < CPU_LANES ? info->subgroup : CPU_LANES, rows = 1, keys = 1,
             d = head_size(node, p);
    cpu_tile(d, lanes, push.queries, &rows, &keys);
    bool wide = info->int64 && places(node, &push) % 8 == 0;
    const uint32_t spec[] = {lanes, d, rows, keys, node->out->dtype == SD_F16, p->causal};
    sd_emit_dispatch(e, &(struct sd_dispatch){
                            .shader = wide ? &sd_shader_attention_cpu64 : &sd_shader_attention_cpu,
                            .spec = spec,
                            .spec_count = sizeof spec / sizeof *spec,
                            .subgroup = info->subgroup,
                            .push = &push,
                            .push_bytes = sizeof push,
                            .groups = {sd_ceil_div(push.queries, lanes * rows), p->heads * node->out->n, 1}});
}

struct gpu_tile {
    uint32_t columns, threads, rows, keys; /* channels at a time; rows of a thread */
};

static uint32_t gpu_shared_bytes(const struct gpu_tile *t) {
    uint32_t rows = t->threads / 8 * t->rows;
    return 4 * ((rows + t->keys) * (t->columns + 4) + rows * (t->keys + 4) + rows * 9);
}

/* The largest tile within the device's shared memory (half of 64 KiB at most, so that two workgroups share a
 * compute unit) whose results stay in registers. */
static struct gpu_tile gpu_tile(uint32_t d, const struct sd_vk_info *info) {
    uint32_t most = info->shared_memory < 32768 ? info->shared_memory : 32768;
    struct gpu_tile t = {.columns = d > 160 ? 64 : d > 80 && d % 16 == 0 ? d / 2 : d};
    for (t.rows = d <= 96 ? 4 : d <= 192 ? 2 : 1; t.rows; t.rows /= 2)
        for (t.keys = 32; t.keys >= 8; t.keys /= 2)
            for (t.threads = 128; t.threads >= 64; t.threads /= 2)
                if (gpu_shared_bytes(&t) <= most && t.threads <= info->max_invocations)
                    return t;
    return (struct gpu_tile){t.columns, 64, 1, 8};
}

static void record_gpu(const sd_node *node, const sd_attention_params *p, sd_emit *e) {
    const struct sd_attention_push push = push_of(node, p, e);
    uint32_t d = head_size(node, p);
    struct gpu_tile t = gpu_tile(d, sd_emit_info(e));
    const uint32_t spec[] = {t.threads,
                             d,
                             t.rows,
                             t.keys,
                             node->out->dtype == SD_F16,
                             p->causal,
                             t.columns,
                             places(node, &push) % 16 == 0};
    sd_emit_dispatch(e, &(struct sd_dispatch){.shader = &sd_shader_attention_gpu,
                                              .spec = spec,
                                              .spec_count = sizeof spec / sizeof *spec,
                                              .push = &push,
                                              .push_bytes = sizeof push,
                                              .groups = {sd_ceil_div(push.queries, t.threads / 8 * t.rows),
                                                         p->heads * node->out->n, 1}});
}

static void record(const sd_node *node, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    sd_attention_params p;
    memcpy(&p, node->params, sizeof p);
    if (info->kind == SD_VK_CPU && info->subgroup_basic)
        record_cpu(node, &p, e);
    else
        record_gpu(node, &p, e);
}

static void cost(const sd_node *node, struct sd_cost *cost) {
    const sd_tensor *q = node->in[0], *k = node->in[1];
    uint64_t all = (uint64_t)sd_tensor_rows(q) * tokens(k) * q->c;
    cost->flop = 4 * all;
    cost->bytes = ((uint64_t)sd_tensor_rows(q) + sd_tensor_rows(k)) * 2 * q->c * sd_dtype_size(q->dtype);
}

static const struct sd_op attention = {"attention", record, cost};

/* What the GPU kernel's chunks can divide. */
static bool known_size(uint32_t d) {
    return d && (d <= 160 ? d % 8 == 0 : d % 64 == 0 && d <= 512);
}

static bool fits(const sd_tensor *t) {
    return (uint64_t)sd_tensor_rows(t) * t->pitch < UINT64_C(1) << 31;
}

sd_tensor *sd_attention(sd_graph *g, sd_tensor *q, sd_tensor *k, sd_tensor *v,
                        const sd_attention_params *params) {
    sd_tensor *in[] = {sd_graph_whole(g, q), sd_graph_whole(g, k), sd_graph_whole(g, v)};
    if (g->failed || !in[0] || !in[1] || !in[2])
        return NULL;
    q = in[0], k = in[1], v = in[2];
    uint32_t heads = params->heads;
    if (!heads || q->c % heads || !known_size(q->c / heads))
        return sd_graph_fail(g, SD_E_UNSUPPORTED,
                             "attention: expected heads of 8, 16, ... 160 or 192, 256, ... 512 channels, "
                             "found %u channels in %u heads",
                             q->c, heads);
    if (k->c != q->c || v->c != q->c || k->n != q->n || v->n != q->n || tokens(k) != tokens(v))
        return sd_graph_fail(g, SD_E_INTERNAL,
                             "attention: expected keys and values of [%u,tokens,%u], found [%u,%u,%u] and "
                             "[%u,%u,%u]",
                             q->n, q->c, k->n, tokens(k), k->c, v->n, tokens(v), v->c);
    if (q->dtype != g->act || k->dtype != g->act || v->dtype != g->act)
        return sd_graph_fail(g, SD_E_INTERNAL, "attention: expected queries, keys and values of type %s",
                             sd_dtype_name(g->act));
    if (!fits(q) || !fits(k) || !fits(v))
        return sd_graph_fail(g, SD_E_UNSUPPORTED, "attention: a tensor has more than 2^31 elements");
    return sd_graph_add(g, &attention, sd_graph_tensor(g, g->act, q->n, q->h, q->w, q->c), in, 3, NULL, NULL,
                        params, sizeof *params);
}
