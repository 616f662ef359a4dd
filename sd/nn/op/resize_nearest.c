/* Nearest resize, for sizes that doubling does not reach. */
#include "shaders/resize_nearest.h"

#include "sd/nn/op/source.h"
#include "shaders/shaders.h"

static void record(const sd_node *node, sd_emit *e) {
    const struct sd_vk_info *info = sd_emit_info(e);
    const sd_tensor *x = node->in[0], *out = node->out;
    const struct sd_resize_nearest_push push = {.x = sd_source_of(e, x),
                                                .out_address = sd_emit_address(e, out),
                                                .in_h = x->h,
                                                .in_w = x->w,
                                                .out_h = out->h,
                                                .out_w = out->w,
                                                .pixels = sd_tensor_rows(out),
                                                .chunks = sd_ceil_div(out->c, 4),
                                                .out_pitch = out->pitch};
    const uint32_t spec[] = {info->kind == SD_VK_CPU ? info->subgroup : 64, x->dtype == SD_F16,
                             sd_aligned4(x) && sd_aligned4(out), x->parts[0] != NULL};
    struct sd_dispatch d = {.shader = &sd_shader_resize_nearest,
                            .spec = spec,
                            .spec_count = sizeof spec / sizeof *spec,
                            .push = &push,
                            .push_bytes = sizeof push};
    sd_fold_groups(push.pixels, d.groups);
    sd_emit_dispatch(e, &d);
}

static void cost(const sd_node *node, struct sd_cost *out) {
    out->bytes = 2 * sd_value_bytes(node->out);
}

static const struct sd_op sd_op_resize_nearest = {"resize_nearest", record, cost};

sd_tensor *sd_resize_nearest(sd_graph *g, sd_tensor *x, uint32_t h, uint32_t w) {
    if (g->failed || !x)
        return NULL;
    /* The shader multiplies sizes in 32 bits. */
    if (!sd_is_real(x) || !h || !w || h > 65535 || w > 65535 || x->h > 65535 || x->w > 65535)
        return sd_graph_fail(g, SD_E_UNSUPPORTED, "resize_nearest: %s [%u,%u,%u,%u] to %u x %u",
                             sd_dtype_name(x->dtype), x->n, x->h, x->w, x->c, h, w);
    sd_tensor *out = sd_graph_tensor(g, x->dtype, x->n, h, w, x->c);
    return sd_graph_add(g, &sd_op_resize_nearest, out, &x, 1, NULL, NULL, NULL, 0);
}
