/* Layer normalisation: one dispatch. */
#include "shaders/layer_norm.h"

#include "sd/nn/op/source.h"
#include "shaders/shaders.h"

#include <string.h>

static void record(const sd_node *node, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    const sd_tensor *x = node->in[0], *out = node->out;
    bool cpu = info->kind == SD_VK_CPU;
    struct sd_layer_norm_push push = {.x = sd_source_of(e, x),
                                      .out_address = sd_emit_address(e, out),
                                      .gamma = node->weight[0] ? node->weight[0]->address : 0,
                                      .beta = node->weight[1] ? node->weight[1]->address : 0,
                                      .rows = sd_tensor_rows(x),
                                      .chunks = sd_ceil_div(x->c, 4),
                                      .out_pitch = out->pitch};
    memcpy(&push.eps, node->params, sizeof push.eps);
    uint32_t lanes = cpu ? info->subgroup : SD_LAYER_NORM_LANES;
    uint32_t row_lanes = cpu ? 1 : push.chunks > 128 ? 64 : 32;
    const uint32_t spec[] = {lanes,
                             row_lanes,
                             x->dtype == SD_F16,
                             out->dtype == SD_F16,
                             sd_aligned4(x) && sd_aligned4(out),
                             x->parts[0] != NULL};
    struct sd_dispatch d = {.shader = info->int64 ? &sd_shader_layer_norm_int64 : &sd_shader_layer_norm,
                            .spec = spec,
                            .spec_count = sizeof spec / sizeof *spec,
                            .push = &push,
                            .push_bytes = sizeof push};
    sd_fold_groups(sd_ceil_div(push.rows, lanes / row_lanes), d.groups);
    sd_emit_dispatch(e, &d);
}

static void cost(const sd_node *node, struct sd_cost *out) {
    out->flop = sd_value_count(node->out) * 9;
    out->bytes = sd_value_bytes(node->in[0]) + sd_value_bytes(node->out) + (uint64_t)node->out->c * 8;
}

static const struct sd_op sd_op_layer_norm = {"layer_norm", record, cost};

static bool fits(const sd_weight *w, uint32_t c) {
    return !w || (w->form == SD_WEIGHT_VECTOR && w->n == c);
}

sd_tensor *sd_layer_norm(sd_graph *g, sd_tensor *x, sd_layer layer, float eps) {
    if (g->failed || !x)
        return NULL;
    if (!sd_is_real(x) || !fits(layer.weight, x->c) || !fits(layer.bias, x->c))
        return sd_graph_fail(g, SD_E_INTERNAL, "layer_norm: %s [%u,%u,%u,%u], scale of %u",
                             sd_dtype_name(x->dtype), x->n, x->h, x->w, x->c,
                             layer.weight ? layer.weight->n : 0);
    sd_tensor *out = sd_graph_tensor(g, x->dtype, x->n, x->h, x->w, x->c);
    return sd_graph_add(g, &sd_op_layer_norm, out, &x, 1, layer.weight, layer.bias, &eps, sizeof eps);
}
