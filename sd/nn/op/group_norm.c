/* Group normalisation: partial statistics, their merging, and their use, as three nodes; small groups as one.
 */
#include "shaders/group_norm.h"

#include "sd/nn/op/source.h"
#include "shaders/shaders.h"

#include <string.h>

enum { small_group = 16384 }; /* values that one workgroup reads twice */

struct params {
    uint32_t lanes, columns, chunks;
    uint32_t slices, slice_pixels;
    uint32_t pixels, groups, group_channels;
    uint32_t unit; /* channels of a vector that divides groups and parts, or 0 */
    float eps;
    bool silu;
};

static struct params params_of(const sd_node *node) {
    struct params p;
    memcpy(&p, node->params, sizeof p);
    return p;
}

static uint32_t most_lanes(const struct sd_vk_info *info) {
    return info->max_invocations >= SD_GROUP_NORM_LANES ? SD_GROUP_NORM_LANES : 128;
}

/* Lanes lie over the channels first, and over several pixels when one pixel has too few. */
static void spread_lanes(struct params *p, const struct sd_vk_info *info) {
    bool cpu = info->kind == SD_VK_CPU;
    uint32_t most = cpu ? info->subgroup : most_lanes(info);
    p->columns = sd_ceil_div(p->chunks, sd_ceil_div(p->chunks, most));
    if (cpu && p->chunks > most)
        p->columns = most;
    uint32_t busy = most / p->columns * p->columns;
    p->lanes = cpu ? most : sd_ceil_div(busy, 32) * 32;
}

/* Enough workgroups for the device, each with enough pixels to be worth starting. Slices are whole rows or
 * divide them, so that a strip of the image has the same slices, and thus the same sums, as the whole. */
static void cut_slices(struct params *p, const struct sd_vk_info *info, uint32_t images, uint32_t width) {
    uint32_t slices;
    if (info->kind == SD_VK_CPU)
        slices = sd_ceil_div(p->pixels, 128);
    else {
        uint64_t blocks = (uint64_t)sd_ceil_div(p->chunks, p->columns) * images, wanted = 16ULL * info->cores;
        slices = sd_ceil_div(p->pixels, p->lanes / p->columns * 16);
        if (slices * blocks > wanted)
            slices = wanted > blocks ? (uint32_t)(wanted / blocks) : 1;
    }
    slices = slices > 1024 ? 1024 : slices;
    uint32_t wanted_pixels = sd_ceil_div(p->pixels, slices), pixels = width;
    while (pixels % 2 == 0 && pixels / 2 >= wanted_pixels)
        pixels /= 2;
    p->slice_pixels = pixels < wanted_pixels ? sd_ceil_div(wanted_pixels, width) * width : pixels;
    p->slices = sd_ceil_div(p->pixels, p->slice_pixels);
}

/* `x` is NULL in the merging pass. */
static void dispatch(sd_emit *e, uint32_t pass, const struct params *p, const struct sd_group_norm_push *push,
                     const sd_tensor *x, const sd_tensor *out) {
    const struct sd_vk_info *info = sd_emit_info(e);
    bool merge = pass == SD_GROUP_NORM_MERGE;
    uint32_t lanes = !merge ? p->lanes : info->kind == SD_VK_CPU ? info->subgroup : 128;
    const uint32_t spec[] = {lanes,
                             pass,
                             x && x->dtype == SD_F16,
                             out->dtype == SD_F16,
                             x && sd_aligned4(x) && sd_aligned4(out),
                             x && x->parts[0],
                             p->silu,
                             pass == SD_GROUP_NORM_PARTIALS && p->columns < lanes};
    const struct sd_dispatch d = {.shader = info->int64 ? &sd_shader_group_norm_int64 : &sd_shader_group_norm,
                                  .spec = spec,
                                  .spec_count = sizeof spec / sizeof *spec,
                                  .push = push,
                                  .push_bytes = sizeof *push,
                                  .groups = {merge ? p->groups : sd_ceil_div(p->chunks, p->columns),
                                             merge ? out->n : p->slices, merge ? 1 : out->n}};
    sd_emit_dispatch(e, &d);
}

static struct sd_group_norm_push push_of(const struct params *p) {
    return (struct sd_group_norm_push){.pixels = p->pixels,
                                       .slices = p->slices,
                                       .slice_pixels = p->slice_pixels,
                                       .chunks = p->chunks,
                                       .columns = p->columns,
                                       .group_channels = p->group_channels,
                                       .eps = p->eps};
}

static void record_partials(const sd_node *node, sd_emit *e) {
    const struct params p = params_of(node);
    struct sd_group_norm_push push = push_of(&p);
    push.x = sd_source_of(e, node->in[0]);
    push.partials = sd_emit_address(e, node->out);
    dispatch(e, SD_GROUP_NORM_PARTIALS, &p, &push, node->in[0], node->out);
}

static void record_merge(const sd_node *node, sd_emit *e) {
    const struct params p = params_of(node);
    struct sd_group_norm_push push = push_of(&p);
    push.partials = sd_emit_address(e, node->in[0]);
    push.coefficients = sd_emit_address(e, node->out);
    push.gamma = node->weight[0] ? node->weight[0]->address : 0;
    push.beta = node->weight[1] ? node->weight[1]->address : 0;
    dispatch(e, SD_GROUP_NORM_MERGE, &p, &push, NULL, node->out);
}

static void record_apply(const sd_node *node, sd_emit *e) {
    const struct params p = params_of(node);
    struct sd_group_norm_push push = push_of(&p);
    push.x = sd_source_of(e, node->in[0]);
    push.coefficients = sd_emit_address(e, node->in[1]);
    push.out_address = sd_emit_address(e, node->out);
    push.out_pitch = node->out->pitch;
    dispatch(e, SD_GROUP_NORM_APPLY, &p, &push, node->in[0], node->out);
}

static void record_whole(const sd_node *node, sd_emit *e) {
    const struct params p = params_of(node);
    const struct sd_vk_info *info = sd_emit_info(e);
    const sd_tensor *x = node->in[0], *out = node->out;
    struct sd_group_norm_push push = push_of(&p);
    push.x = sd_source_of(e, x);
    push.out_address = sd_emit_address(e, out);
    push.out_pitch = out->pitch;
    push.gamma = node->weight[0] ? node->weight[0]->address : 0;
    push.beta = node->weight[1] ? node->weight[1]->address : 0;
    const uint32_t spec[] = {info->kind == SD_VK_CPU ? info->subgroup : most_lanes(info),
                             SD_GROUP_NORM_WHOLE,
                             x->dtype == SD_F16,
                             out->dtype == SD_F16,
                             false,
                             x->parts[0] != NULL,
                             p.silu,
                             false,
                             p.unit};
    const struct sd_dispatch d = {.shader = info->int64 ? &sd_shader_group_norm_int64 : &sd_shader_group_norm,
                                  .spec = spec,
                                  .spec_count = sizeof spec / sizeof *spec,
                                  .push = &push,
                                  .push_bytes = sizeof push,
                                  .groups = {p.groups, out->n, 1}};
    sd_emit_dispatch(e, &d);
}

static void cost_partials(const sd_node *node, struct sd_cost *out) {
    out->flop = sd_value_count(node->in[0]) * 6;
    out->bytes = sd_value_bytes(node->in[0]) + sd_value_bytes(node->out);
}

static void cost_merge(const sd_node *node, struct sd_cost *out) {
    out->flop = sd_value_count(node->in[0]) * 5;
    out->bytes = sd_value_bytes(node->in[0]) + sd_value_bytes(node->out);
}

static void cost_apply(const sd_node *node, struct sd_cost *out) {
    out->flop = sd_value_count(node->out) * (params_of(node).silu ? 19 : 3);
    out->bytes = sd_value_bytes(node->in[0]) + sd_value_bytes(node->out);
    if (node->in[1])
        out->bytes += sd_value_bytes(node->in[1]);
}

static void cost_whole(const sd_node *node, struct sd_cost *out) {
    cost_apply(node, out);
    out->flop += sd_value_count(node->out) * 6;
    out->bytes = 2 * sd_value_bytes(node->in[0]) + sd_value_bytes(node->out);
}

static bool describe_partials(const sd_node *node, struct sd_strip *out) {
    uint32_t width = node->in[0]->w, slice = params_of(node).slice_pixels;
    *out = (struct sd_strip){
        .inputs = 1, .up = slice < width ? width / slice : 1, .down = slice < width ? 1 : slice / width};
    return true;
}

static bool describe_apply(const sd_node *node, struct sd_strip *out) {
    (void)node;
    *out = (struct sd_strip){.inputs = 1, .up = 1, .down = 1};
    return true;
}

static void fit_slices(sd_node *node) {
    struct params p = params_of(node);
    p.pixels = node->in[0]->h * node->in[0]->w;
    p.slices = sd_ceil_div(p.pixels, p.slice_pixels);
    memcpy(node->params, &p, sizeof p);
}

static const struct sd_strip_rule partials_strips = {describe_partials, fit_slices};
static const struct sd_strip_rule apply_strips = {describe_apply, fit_slices};
static const struct sd_op sd_op_whole = {"group_norm", record_whole, cost_whole};
static const struct sd_op sd_op_partials = {"group_norm_partials", record_partials, cost_partials};
static const struct sd_op sd_op_merge = {"group_norm_merge", record_merge, cost_merge};
static const struct sd_op sd_op_apply = {"group_norm", record_apply, cost_apply};

static bool divides(uint32_t unit, const sd_tensor *t) {
    return t->parts[0] ? divides(unit, t->parts[0]) && divides(unit, t->parts[1])
                       : t->c % unit == 0 && t->pitch % unit == 0 && t->offset % unit == 0;
}

/* Vectors for the whole group at once; 0 when the group is too large for one workgroup, or odd. */
static uint32_t unit_of(const struct params *p, const sd_tensor *x) {
    if ((uint64_t)p->pixels * p->group_channels > small_group)
        return 0;
    for (uint32_t unit = 4; unit > 1; unit /= 2)
        if (p->group_channels % unit == 0 && divides(unit, x))
            return unit;
    return 0;
}

static bool fits(const sd_weight *w, uint32_t c) {
    return !w || (w->form == SD_WEIGHT_VECTOR && w->n == c);
}

sd_tensor *sd_group_norm(sd_graph *g, sd_tensor *x, sd_layer layer, uint32_t groups, float eps, sd_act act) {
    if (g->failed || !x)
        return NULL;
    if (!sd_is_real(x) || !groups || x->c % groups || !fits(layer.weight, x->c) || !fits(layer.bias, x->c) ||
        (act != SD_ACT_NONE && act != SD_ACT_SILU))
        return sd_graph_fail(
            g, SD_E_INTERNAL, "group_norm: %u groups of %s [%u,%u,%u,%u], scale of %u, activation %d", groups,
            sd_dtype_name(x->dtype), x->n, x->h, x->w, x->c, layer.weight ? layer.weight->n : 0, (int)act);
    struct params p = {.pixels = x->h * x->w,
                       .groups = groups,
                       .group_channels = x->c / groups,
                       .chunks = sd_ceil_div(x->c, 4),
                       .eps = eps,
                       .silu = act == SD_ACT_SILU};
    if ((p.unit = unit_of(&p, x))) {
        sd_tensor *whole = sd_graph_tensor(g, x->dtype, x->n, x->h, x->w, x->c);
        return sd_graph_add(g, &sd_op_whole, whole, &x, 1, layer.weight, layer.bias, &p, sizeof p);
    }
    spread_lanes(&p, &g->info);
    cut_slices(&p, &g->info, x->n, x->w);
    sd_tensor *partials = sd_graph_tensor(g, SD_F32, x->n, p.slices, 2, p.chunks * 4);
    partials = sd_graph_add(g, &sd_op_partials, partials, &x, 1, NULL, NULL, &p, sizeof p);
    sd_strips_allowed(g, partials, &partials_strips);
    sd_tensor *coefficients = sd_graph_tensor(g, SD_F32, x->n, 3, 1, p.chunks * 4);
    coefficients =
        sd_graph_add(g, &sd_op_merge, coefficients, &partials, 1, layer.weight, layer.bias, &p, sizeof p);
    sd_tensor *out = sd_graph_tensor(g, x->dtype, x->n, x->h, x->w, x->c);
    sd_tensor *const inputs[] = {x, coefficients};
    out = sd_graph_add(g, &sd_op_apply, out, inputs, 2, NULL, NULL, &p, sizeof p);
    return sd_strips_allowed(g, out, &apply_strips);
}
