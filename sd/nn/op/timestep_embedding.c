/* Sinusoidal embedding of timesteps, sizes and guidance scales. */
#include "shaders/timestep_embedding.h"

#include "sd/nn/op/source.h"
#include "shaders/shaders.h"

#include <string.h>

struct params {
    bool cos_first;
    float shift;
};

static void record(const sd_node *node, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    const sd_tensor *t = node->in[0], *out = node->out;
    struct params params;
    memcpy(&params, node->params, sizeof params);
    const struct sd_timestep_embedding_push push = {.t = sd_emit_address(e, t),
                                                    .out_address = sd_emit_address(e, out),
                                                    .t_pitch = t->pitch,
                                                    .rows = sd_tensor_rows(t),
                                                    .dim = out->c,
                                                    .cos_first = params.cos_first,
                                                    .shift = params.shift};
    const uint32_t lanes = info->kind == SD_VK_CPU ? info->subgroup : 64;
    const struct sd_dispatch d = {.shader = &sd_shader_timestep_embedding,
                                  .spec = &lanes,
                                  .spec_count = 1,
                                  .push = &push,
                                  .push_bytes = sizeof push,
                                  .groups = {push.rows, 1, 1}};
    sd_emit_dispatch(e, &d);
}

static void cost(const sd_node *node, struct sd_cost *out) {
    out->flop = sd_value_count(node->out) * 30;
    out->bytes = sd_value_bytes(node->out);
}

static const struct sd_op sd_op_timestep_embedding = {"timestep_embedding", record, cost};

sd_tensor *sd_timestep_embedding(sd_graph *g, sd_tensor *t, uint32_t dim, bool flip_sin_to_cos, float shift) {
    if (g->failed || !t)
        return NULL;
    if (t->dtype != SD_F32 || t->c != 1 || t->parts[0] || !((float)(dim / 2) > shift))
        return sd_graph_fail(g, SD_E_INTERNAL,
                             "timestep_embedding: %u channels of %s [%u,%u,%u,%u], shift %g", dim,
                             sd_dtype_name(t->dtype), t->n, t->h, t->w, t->c, (double)shift);
    const struct params params = {flip_sin_to_cos, shift};
    sd_tensor *out = sd_graph_tensor(g, SD_F32, t->n, t->h, t->w, dim);
    return sd_graph_add(g, &sd_op_timestep_embedding, out, &t, 1, NULL, NULL, &params, sizeof params);
}
