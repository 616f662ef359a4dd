/* Token embedding: rows of a table and of one behind it, plus rows of a table of positions. */
#include "shaders/embedding.h"

#include "sd/nn/op/source.h"
#include "shaders/shaders.h"

/* Rows of f16 tables are padded to whole words. */
static struct sd_source table_of(const sd_weight *w) {
    return (struct sd_source){.part0 = w->address,
                              .part1 = w->address,
                              .pitch0 = w->c + (w->dtype == SD_F16 ? w->c % 2 : 0),
                              .split = w->c,
                              .c = w->c};
}

static void record(const sd_node *node, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    const sd_tensor *tokens = node->in[0], *extra = node->in[1], *out = node->out;
    const sd_weight *rows = node->weight[0], *positions = node->weight[1] ? node->weight[1] : rows;
    const struct sd_embedding_push push = {.table = table_of(rows),
                                           .positions = table_of(positions),
                                           .tokens = sd_emit_address(e, tokens),
                                           .out_address = sd_emit_address(e, out),
                                           .extra = extra ? sd_emit_address(e, extra) : 0,
                                           .table_rows = rows->n,
                                           .extra_rows = extra ? sd_tensor_rows(extra) : 0,
                                           .extra_pitch = extra ? extra->pitch : 0,
                                           .count = sd_tensor_rows(tokens),
                                           .sequence = tokens->h * tokens->w,
                                           .chunks = sd_ceil_div(out->c, 4),
                                           .out_pitch = out->pitch};
    const uint32_t spec[] = {info->kind == SD_VK_CPU ? info->subgroup : 64,
                             rows->dtype == SD_F16,
                             positions->dtype == SD_F16,
                             out->dtype == SD_F16,
                             out->c % 4 == 0 && (!extra || sd_aligned4(extra)),
                             node->weight[1] != NULL,
                             extra != NULL,
                             extra && extra->dtype == SD_F16};
    struct sd_dispatch d = {.shader = &sd_shader_embedding,
                            .spec = spec,
                            .spec_count = sizeof spec / sizeof *spec,
                            .push = &push,
                            .push_bytes = sizeof push};
    sd_fold_groups(push.count, d.groups);
    sd_emit_dispatch(e, &d);
}

static void cost(const sd_node *node, struct sd_cost *out) {
    out->flop = node->weight[1] ? sd_value_count(node->out) : 0;
    out->bytes = sd_value_bytes(node->in[0]) + 3 * sd_value_bytes(node->out);
}

static const struct sd_op sd_op_embedding = {"embedding", record, cost};

sd_tensor *sd_embedding(sd_graph *g, sd_tensor *tokens, const sd_weight *rows, const sd_weight *positions) {
    return sd_embedding_extended(g, tokens, rows, NULL, positions);
}

sd_tensor *sd_embedding_extended(sd_graph *g, sd_tensor *tokens, const sd_weight *rows, sd_tensor *extra,
                                 const sd_weight *positions) {
    if (g->failed || !tokens)
        return NULL;
    if (!rows || tokens->dtype != SD_I32 || tokens->c != 1 || tokens->parts[0] || tokens->pitch != 1)
        return sd_graph_fail(g, SD_E_INTERNAL,
                             "embedding: expected i32 tokens [N,1,T,1], found %s [%u,%u,%u,%u]",
                             sd_dtype_name(tokens->dtype), tokens->n, tokens->h, tokens->w, tokens->c);
    if (positions && (positions->c != rows->c || positions->n < tokens->h * tokens->w))
        return sd_graph_fail(g, SD_E_UNSUPPORTED,
                             "embedding: expected positions [%u or more,%u], found [%u,%u]",
                             tokens->h * tokens->w, rows->c, positions->n, positions->c);
    if (extra && (extra->c != rows->c || extra->parts[0] || !sd_is_real(extra)))
        return sd_graph_fail(g, SD_E_INTERNAL, "embedding: expected extra rows of %u reals, found %s [%u,%u]",
                             rows->c, sd_dtype_name(extra->dtype), sd_tensor_rows(extra), extra->c);
    sd_tensor *const in[] = {tokens, extra};
    sd_tensor *out = sd_graph_tensor(g, g->act, tokens->n, tokens->h, tokens->w, rows->c);
    return sd_graph_add(g, &sd_op_embedding, out, in, 2, rows, positions, NULL, 0);
}
