/* Single ops with random operands: what a network's profile shows, one shape at a time. */
#include "sd/bench.h"

#include "sd/base/clock.h"
#include "sd/base/str.h"
#include "sd/nn/ops.h"

#include <stdio.h>
#include <string.h>

enum {
    /* Fields that an op takes beside size, batch, runs and precision. */
    takes_channels = 1,
    takes_second = 2,
    takes_outputs = 4,
    takes_kernel = 8,
    takes_heads = 16, /* keys, heads, head_size */
    takes_groups = 32,
    /* What it can do beside its own. */
    fuse_vector = 64,
    fuse_residual = 128,
    fuse_silu = 256,
    fuse_gelu = 512,
    fuse_quick_gelu = 1024,
    fuse_causal = 2048,
    takes_epilogue = fuse_vector | fuse_residual | fuse_silu | fuse_gelu | fuse_quick_gelu,
    takes_gemm = takes_channels | takes_second | takes_outputs | takes_epilogue
};

/* Tokens of CLIP's vocabulary, and seconds that a submission should last. */
enum { vocabulary = 49408, most_repeats = 1024, most_pixels = 1 << 24 };
static const double submission_seconds = 0.02;

struct subject;

struct row {
    const char *name;
    unsigned takes;
    void (*bind)(struct subject *s);                           /* the weights, if it has any */
    sd_tensor *(*build)(sd_graph *g, const struct subject *s); /* one op */
};

struct subject {
    sd_bench_op_params p;
    const struct row *row;
    unsigned fuse;
    sd_weights *weights;
    sd_layer layer;
    sd_tensor *x, *other, *values; /* the input; a second one; attention's values */
    sd_fuse epilogue;
    struct sd_stage stage;
    struct sd_watch watch;
};

static uint32_t inputs_of(const struct subject *s) {
    return s->p.channels + s->p.second;
}

static const struct {
    const char *name;
    unsigned bit;
} fuses[] = {{"vector", fuse_vector}, {"residual", fuse_residual},     {"silu", fuse_silu},
             {"gelu", fuse_gelu},     {"quick_gelu", fuse_quick_gelu}, {"causal", fuse_causal}};

enum { fuse_count = sizeof fuses / sizeof *fuses };

/* 0 when there is none of this name. */
static unsigned fuse_named(const char *name, size_t length) {
    for (size_t i = 0; i < fuse_count; i++)
        if (strlen(fuses[i].name) == length && !strncmp(fuses[i].name, name, length))
            return fuses[i].bit;
    return 0;
}

static sd_act act_of(unsigned fuse) {
    return fuse & fuse_silu         ? SD_ACT_SILU
           : fuse & fuse_gelu       ? SD_ACT_GELU
           : fuse & fuse_quick_gelu ? SD_ACT_QUICK_GELU
                                    : SD_ACT_NONE;
}

static void bind_linear(struct subject *s) {
    s->layer = sd_bind_linear(s->weights, s->p.outputs, inputs_of(s), true, "op");
}

static void bind_geglu(struct subject *s) {
    s->layer = sd_bind_geglu(s->weights, 2 * s->p.outputs, inputs_of(s), "op");
}

static void bind_conv(struct subject *s) {
    s->layer = sd_bind_conv(s->weights, s->p.outputs, inputs_of(s), s->p.kernel ? s->p.kernel : 3, "op");
}

static void bind_upsample(struct subject *s) {
    s->layer = sd_bind_upsample(s->weights, s->p.outputs, inputs_of(s), "op");
}

static void bind_norm(struct subject *s) {
    s->layer = sd_bind_norm(s->weights, inputs_of(s), "op");
}

static void bind_embedding(struct subject *s) {
    s->layer.weight = sd_bind_table(s->weights, vocabulary, s->p.channels, "op.weight");
    s->layer.bias = sd_bind_table(s->weights, s->p.width * s->p.height, s->p.channels, "op.positions");
}

static sd_tensor *build_linear(sd_graph *g, const struct subject *s) {
    return sd_linear(g, s->x, s->layer, &s->epilogue);
}

static sd_tensor *build_geglu(sd_graph *g, const struct subject *s) {
    return sd_linear_geglu(g, s->x, s->layer);
}

static sd_tensor *build_conv(sd_graph *g, const struct subject *s) {
    return sd_conv2d(g, s->x, s->layer, &s->epilogue);
}

static sd_tensor *build_down(sd_graph *g, const struct subject *s) {
    return sd_conv2d_down(g, s->x, s->layer, 1, &s->epilogue);
}

static sd_tensor *build_upsample(sd_graph *g, const struct subject *s) {
    return sd_upsample_conv2d(g, s->x, s->layer, &s->epilogue);
}

static sd_tensor *build_resize(sd_graph *g, const struct subject *s) {
    return sd_resize_nearest(g, s->x, 2 * s->p.height, 2 * s->p.width);
}

static sd_tensor *build_attention(sd_graph *g, const struct subject *s) {
    const sd_attention_params params = {.heads = s->p.heads, .causal = s->fuse & fuse_causal};
    return sd_attention(g, s->x, s->other, s->values, &params);
}

static sd_tensor *build_group_norm(sd_graph *g, const struct subject *s) {
    return sd_group_norm(g, s->x, s->layer, s->p.groups, 1e-5f, act_of(s->fuse));
}

static sd_tensor *build_layer_norm(sd_graph *g, const struct subject *s) {
    return sd_layer_norm(g, s->x, s->layer, 1e-5f);
}

static sd_tensor *build_activate(sd_graph *g, const struct subject *s) {
    return sd_activate(g, s->x, act_of(fuse_named(s->row->name, strlen(s->row->name))));
}

static sd_tensor *build_add(sd_graph *g, const struct subject *s) {
    return sd_add(g, s->x, s->other);
}

static sd_tensor *build_lerp(sd_graph *g, const struct subject *s) {
    return sd_lerp(g, s->x, s->other, 7.5f);
}

static sd_tensor *build_scale(sd_graph *g, const struct subject *s) {
    return sd_scale(g, s->x, 0.5f, 0.25f);
}

static sd_tensor *build_copy(sd_graph *g, const struct subject *s) {
    return sd_copy(g, s->x);
}

static sd_tensor *build_cast(sd_graph *g, const struct subject *s) {
    return sd_cast(g, s->x, g->act == SD_F16 ? SD_F32 : SD_F16);
}

static sd_tensor *build_embedding(sd_graph *g, const struct subject *s) {
    return sd_embedding(g, s->x, s->layer.weight, s->layer.bias);
}

static sd_tensor *build_timestep(sd_graph *g, const struct subject *s) {
    return sd_timestep_embedding(g, s->x, s->p.channels, true, 0);
}

static const struct row rows[] = {
    {"linear", takes_gemm, bind_linear, build_linear},
    {"geglu", takes_channels | takes_second | takes_outputs, bind_geglu, build_geglu},
    {"conv2d", takes_gemm | takes_kernel, bind_conv, build_conv},
    {"conv2d_down", takes_gemm, bind_conv, build_down},
    {"upsample_conv2d", takes_gemm, bind_upsample, build_upsample},
    {"resize_nearest", takes_channels, NULL, build_resize},
    {"attention", takes_heads | fuse_causal, NULL, build_attention},
    {"group_norm", takes_channels | takes_second | takes_groups | fuse_silu, bind_norm, build_group_norm},
    {"layer_norm", takes_channels, bind_norm, build_layer_norm},
    {"silu", takes_channels | takes_second, NULL, build_activate},
    {"gelu", takes_channels | takes_second, NULL, build_activate},
    {"quick_gelu", takes_channels | takes_second, NULL, build_activate},
    {"add", takes_channels, NULL, build_add},
    {"lerp", takes_channels, NULL, build_lerp},
    {"scale", takes_channels | takes_second, NULL, build_scale},
    {"copy", takes_channels | takes_second, NULL, build_copy},
    {"cast", takes_channels, NULL, build_cast},
    {"embedding", takes_channels, bind_embedding, build_embedding},
    {"timestep_embedding", takes_channels, NULL, build_timestep},
};

const char *sd_bench_op_name(size_t index) {
    return index < sizeof rows / sizeof *rows ? rows[index].name : NULL;
}

static const struct row *find_row(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (name && !strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

static sd_status unknown_op(const char *name, sd_error *err) {
    const char *names[sizeof rows / sizeof *rows + 1] = {NULL};
    sd_str list = {0};
    for (size_t i = 0; (names[i] = sd_bench_op_name(i)); i++)
        sd_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = sd_closest(name, names);
    sd_status status = near ? sd_fail(err, SD_E_ARGUMENT, "unknown op '%s'; did you mean '%s'?", name, near)
                            : sd_fail(err, SD_E_ARGUMENT, "unknown op '%s'; there are %s", name,
                                      list.text ? list.text : "none");
    sd_str_clear(&list);
    return status;
}

#define FIELD(name) #name, offsetof(sd_bench_op_params, name)

static const struct {
    const char *name;
    size_t offset;
    unsigned takes; /* 0: every op has it */
    uint32_t fallback, most;
} fields[] = {
    {FIELD(batch), 0, 1, 64},
    {FIELD(width), 0, 64, 65536},
    {FIELD(height), 0, 64, 65536},
    {FIELD(keys), takes_heads, 0, most_pixels},
    {FIELD(channels), takes_channels, 320, 65536},
    {FIELD(second), takes_second, 0, 65536},
    {FIELD(outputs), takes_outputs, 0, 65536},
    {FIELD(kernel), takes_kernel, 3, 3},
    {FIELD(heads), takes_heads, 8, 65536},
    {FIELD(head_size), takes_heads, 40, 512},
    {FIELD(groups), takes_groups, 32, 65536},
    {FIELD(runs), 0, 10, 100},
};

enum { field_count = sizeof fields / sizeof *fields };

/* "conv2d has no heads; it takes batch, width ..." */
static sd_status not_taken(const struct row *row, const char *what, sd_error *err) {
    sd_str list = {0};
    for (size_t i = 0; i < field_count; i++)
        if (!fields[i].takes || row->takes & fields[i].takes)
            sd_str_printf(&list, "%s%s", i ? ", " : "", fields[i].name);
    for (size_t i = 0; i < fuse_count; i++)
        if (row->takes & fuses[i].bit)
            sd_str_printf(&list, ", fuse %s", fuses[i].name);
    sd_status status = sd_fail(err, SD_E_ARGUMENT, "%s has no %s; it takes %s", row->name, what,
                               list.text ? list.text : "nothing");
    sd_str_clear(&list);
    return status;
}

static sd_status resolve_fields(sd_bench_op_params *p, const struct row *row, sd_error *err) {
    for (size_t i = 0; i < field_count; i++) {
        uint32_t *value = (uint32_t *)((char *)p + fields[i].offset);
        if (fields[i].takes && !(row->takes & fields[i].takes)) {
            if (*value)
                return not_taken(row, fields[i].name, err);
            continue;
        }
        *value = *value ? *value : fields[i].fallback;
        if (*value > fields[i].most)
            return sd_fail(err, SD_E_ARGUMENT, "%s: expected 1 to %u, found %u", fields[i].name,
                           fields[i].most, *value);
    }
    if (row->takes & takes_outputs && !p->outputs)
        p->outputs = p->channels + p->second;
    if (row->takes & takes_heads && !p->keys)
        p->keys = p->width * p->height;
    return SD_OK;
}

/* Bits of the names in p->fuse, which '+' separates. */
static sd_status parse_fuse(const sd_bench_op_params *p, const struct row *row, unsigned *out,
                            sd_error *err) {
    *out = 0;
    for (const char *at = p->fuse; at && *at;) {
        size_t length = strcspn(at, "+");
        unsigned bit = fuse_named(at, length);
        if (!(row->takes & bit)) {
            char word[64];
            snprintf(word, sizeof word, "fuse %.*s", (int)(length < 40 ? length : 40), at);
            return not_taken(row, word, err);
        }
        *out |= bit;
        at += length + (at[length] == '+');
    }
    unsigned acts = *out & (fuse_silu | fuse_gelu | fuse_quick_gelu);
    if (acts & (acts - 1))
        return sd_fail(err, SD_E_ARGUMENT, "fuse: expected one of silu, gelu and quick_gelu, found '%s'",
                       p->fuse);
    return SD_OK;
}

static sd_status resolve(sd_bench_op_params *p, const struct row **row, unsigned *fuse, sd_error *err) {
    if (!p->op || !(*row = find_row(p->op)))
        return unknown_op(p->op ? p->op : "", err);
    sd_status status = resolve_fields(p, *row, err);
    if (status || (status = parse_fuse(p, *row, fuse, err)))
        return status;
    uint32_t channels = p->channels + p->second;
    if ((uint64_t)p->width * p->height > most_pixels)
        return sd_fail(err, SD_E_ARGUMENT, "size: expected up to %u pixels, found %u x %u", most_pixels,
                       p->width, p->height);
    if (p->kernel && p->kernel % 2 == 0)
        return sd_fail(err, SD_E_ARGUMENT, "kernel: expected 1 or 3, found %u", p->kernel);
    if (p->groups && channels % p->groups)
        return sd_fail(err, SD_E_ARGUMENT, "groups: expected a divisor of the %u channels, found %u",
                       channels, p->groups);
    return SD_OK;
}

sd_status sd_bench_op_resolve(sd_bench_op_params *params, sd_error *err) {
    const struct row *row;
    unsigned fuse;
    return resolve(params, &row, &fuse, err);
}

static sd_tensor *input(sd_graph *g, sd_dtype dtype, uint32_t n, uint32_t h, uint32_t w, uint32_t c) {
    return sd_graph_input(g, "input", SD_RATE_STEP, dtype, n, h, w, c);
}

/* The tensors that the op reads. */
static void declare(struct subject *s) {
    const struct row *row = s->row;
    const sd_bench_op_params *p = &s->p;
    sd_graph *g = s->stage.graph;
    uint32_t n = p->batch, h = p->height, w = p->width;
    if (row->takes & takes_heads) {
        uint32_t c = p->heads * p->head_size;
        s->x = input(g, g->act, n, h, w, c);
        s->other = input(g, g->act, n, 1, p->keys, c);
        s->values = input(g, g->act, n, 1, p->keys, c);
    } else if (row->build == build_embedding)
        s->x = input(g, SD_I32, n, h, w, 1);
    else if (row->build == build_timestep)
        s->x = input(g, SD_F32, n, h, w, 1);
    else
        s->x = input(g, g->act, n, h, w, p->channels);
    if (p->second)
        s->x = sd_concat(g, s->x, input(g, g->act, n, h, w, p->second));
    if (row->build == build_add || row->build == build_lerp)
        s->other = input(g, g->act, n, h, w, p->channels);
    bool up = row->build == build_upsample, down = row->build == build_down;
    s->epilogue = (sd_fuse){.act = act_of(s->fuse)};
    if (s->fuse & fuse_vector)
        s->epilogue.vector = input(g, g->act, n, 1, 1, p->outputs);
    if (s->fuse & fuse_residual)
        s->epilogue.residual = input(g, g->act, n,
                                     up     ? 2 * h
                                     : down ? (h + 1) / 2
                                            : h,
                                     up     ? 2 * w
                                     : down ? (w + 1) / 2
                                            : w,
                                     p->outputs);
}

/* `repeats` times the op in one submission, ready to run. */
static sd_status record(sd_context *context, struct subject *s, uint32_t repeats, sd_error *err) {
    sd_stage_end(&s->stage);
    sd_status status =
        sd_stage_begin(&s->stage, sd_vk_info(context->vk), sd_bench_act(context, s->p.precision), err);
    if (status)
        return status;
    declare(s);
    for (uint32_t i = 0; i < repeats; i++)
        s->row->build(s->stage.graph, s);
    s->watch.cancel = s->p.cancel;
    status = sd_stage_finish(&s->stage, context->vk, &s->watch, err);
    return status ? status : sd_bench_fill(&s->stage, err);
}

static sd_status measure(sd_context *context, struct subject *s, sd_bench_result *out, sd_error *err) {
    double began = sd_now();
    sd_status status = record(context, s, out->repeats = 1, err);
    double record_seconds = sd_now() - began;
    if (status || (status = sd_bench_measure(&s->stage, context->vk, 1, out, err)))
        return status;
    double first_seconds = out->first_seconds;
    sd_bench_count(&s->stage, s->weights, out);
    while (out->best_seconds < submission_seconds / 2 && out->repeats < most_repeats) {
        double more = submission_seconds / out->best_seconds * out->repeats + 1;
        out->repeats = more < most_repeats ? (uint32_t)more : most_repeats;
        if ((status = record(context, s, out->repeats, err)) ||
            (status = sd_bench_measure(&s->stage, context->vk, 1, out, err)))
            return status;
    }
    status = sd_bench_measure(&s->stage, context->vk, s->p.runs, out, err);
    out->record_seconds = record_seconds;
    out->first_seconds = first_seconds;
    out->median_seconds /= out->repeats;
    out->best_seconds /= out->repeats;
    return status;
}

static sd_status profile(sd_context *context, struct subject *s, sd_bench_result *out, sd_error *err) {
    sd_status status = sd_bench_profile(&s->stage, context->vk, false, out, err);
    for (uint32_t i = 0; i < out->op_count; i++) {
        sd_bench_op *o = &out->ops[i];
        o->nodes /= out->repeats;
        o->seconds /= out->repeats;
        o->flop /= out->repeats;
        o->bytes /= out->repeats;
    }
    return status;
}

sd_status sd_bench_op_run(sd_context *context, const sd_bench_op_params *params, sd_bench_result *out,
                          sd_error *err) {
    struct subject s = {.p = *params};
    *out = (sd_bench_result){0};
    sd_status status = resolve(&s.p, &s.row, &s.fuse, err);
    if (!status && !(status = sd_weights_create(&s.weights, err))) {
        if (s.row->bind)
            s.row->bind(&s);
        status = sd_weights_random(s.weights, context->vk, sd_bench_weights(s.p.precision), 1, err);
    }
    if (!status && !(status = measure(context, &s, out, err)))
        status = profile(context, &s, out, err);
    sd_stage_end(&s.stage);
    sd_weights_destroy(context->vk, &s.weights);
    return status;
}
