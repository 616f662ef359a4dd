/* Plans as Vulkan commands: ops emit dispatches, which are recorded once and submitted at every step. */
#include "sd/nn/backend.h"
#include "sd/nn/op.h"
#include "sd/vk/commands.h"

#include <stdlib.h>

struct state {
    sd_vk *vk;
    const sd_plan *plan;
    sd_vk_buffer *buffer;
};

/* Recording of one node, or with `commands` NULL only finding out which pipelines it needs; errors are
 * sticky, so that ops need not check. */
struct sd_emit {
    const struct state *state;
    sd_vk_commands *commands;
    const sd_node *node;
    sd_status status;
    sd_error *err;
};

const struct sd_vk_info *sd_emit_info(const sd_emit *e) {
    return &e->state->plan->graph->info;
}

uint64_t sd_emit_address(const sd_emit *e, const sd_tensor *t) {
    return e->state->buffer->address + t->owner->place + (uint64_t)t->offset * sd_dtype_size(t->dtype);
}

void sd_emit_barrier(sd_emit *e) {
    if (!e->status && e->commands)
        sd_vk_commands_barrier(e->commands);
}

void sd_emit_dispatch(sd_emit *e, const struct sd_dispatch *d) {
    sd_vk *vk = e->state->vk;
    const struct sd_vk_info *info = sd_vk_info(vk);
    sd_vk_pipeline *pipeline;
    if (e->status)
        return;
    for (int i = 0; i < 3; i++)
        if (d->groups[i] > info->max_groups[i] || !d->groups[i]) {
            e->status = sd_fail(e->err, SD_E_UNSUPPORTED,
                                "%s needs %u x %u x %u workgroups; '%s' allows %u x %u x %u", e->node->name,
                                d->groups[0], d->groups[1], d->groups[2], info->name, info->max_groups[0],
                                info->max_groups[1], info->max_groups[2]);
            return;
        }
    if (!e->commands) {
        e->status = sd_vk_pipeline_want(vk, d->shader, d->spec, d->spec_count, d->subgroup, e->err);
        return;
    }
    e->status = sd_vk_pipeline_get(vk, d->shader, d->spec, d->spec_count, d->subgroup, &pipeline, e->err);
    if (!e->status)
        sd_vk_commands_dispatch(e->commands, pipeline, d->push, d->push_bytes, d->groups);
}

static sd_status check_weights(const sd_node *node, sd_error *err) {
    for (int i = 0; i < 2; i++)
        if (node->weight[i] && !node->weight[i]->address)
            return sd_fail(err, SD_E_INTERNAL, "%s: weight '%s' was not loaded", node->name,
                           node->weight[i]->names[0]);
    return SD_OK;
}

static sd_status emit_node(const struct state *s, sd_vk_commands *commands, const sd_node *node,
                           sd_error *err) {
    sd_emit emit = {.state = s, .commands = commands, .node = node, .err = err};
    emit.status = check_weights(node, err);
    if (!emit.status)
        node->op->record(node, &emit);
    return emit.status;
}

static void close_state(void *state) {
    struct state *s = state;
    sd_vk_buffer_destroy(s->vk, &s->buffer);
    free(s);
}

static sd_status open_state(void **out, void *device, const sd_plan *plan, sd_error *err) {
    struct state *s = calloc(1, sizeof *s);
    if (!s)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    *s = (struct state){.vk = device, .plan = plan};
    sd_status status =
        sd_vk_buffer_create(s->vk, &s->buffer, plan->stats.activation_bytes, SD_VK_LOCAL, "activations", err);
    if (status)
        close_state(s);
    else
        *out = s;
    return status;
}

static bool on_compiled(void *user, uint32_t done, uint32_t all) {
    const struct sd_exec_options *o = user;
    if (o->compiled)
        o->compiled(o->user, done, all);
    return o->cancelled && o->cancelled(o->user);
}

/* All pipelines at once, so that they can be compiled side by side. */
static sd_status prepare(void *state, const struct sd_exec_options *options, sd_error *err) {
    struct state *s = state;
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < s->plan->count && !status; i++)
        status = emit_node(s, NULL, s->plan->order[i], err);
    return status ? status : sd_vk_pipelines_compile(s->vk, on_compiled, (void *)options, err);
}

static void discard(void *state, void *piece) {
    struct state *s = state;
    sd_vk_commands *commands = piece;
    sd_vk_commands_destroy(s->vk, &commands);
}

/* Timestamps stand between all nodes, and mean something only with a barrier there. */
static sd_status record(void *state, uint32_t first, uint32_t last, bool profile, void **piece,
                        sd_error *err) {
    struct state *s = state;
    sd_vk_commands *commands;
    sd_status status = sd_vk_commands_create(s->vk, &commands, profile ? last - first + 1 : 0, err);
    if (status)
        return status;
    if (profile)
        sd_vk_commands_timestamp(commands);
    for (uint32_t i = first; i < last && !status; i++) {
        if (i > first && (s->plan->barrier[i] || profile))
            sd_vk_commands_barrier(commands);
        status = emit_node(s, commands, s->plan->order[i], err);
        if (profile)
            sd_vk_commands_timestamp(commands);
    }
    if (!status)
        status = sd_vk_commands_finish(commands, err);
    if (status)
        discard(s, commands);
    else
        *piece = commands;
    return status;
}

static sd_status submit(void *state, void *const *pieces, uint32_t count, sd_error *err) {
    const struct state *s = state;
    sd_vk_commands *commands[SD_BACKEND_BATCH];
    for (uint32_t i = 0; i < count; i++)
        commands[i] = pieces[i];
    return sd_vk_submit(s->vk, commands, count, err);
}

static sd_status write_bytes(void *state, uint64_t at, const void *data, uint64_t bytes, sd_error *err) {
    const struct state *s = state;
    return sd_vk_write(s->vk, s->buffer, at, data, bytes, err);
}

static sd_status read_bytes(void *state, uint64_t at, void *data, uint64_t bytes, sd_error *err) {
    const struct state *s = state;
    return sd_vk_read(s->vk, s->buffer, at, data, bytes, err);
}

static sd_status times(void *state, void *piece, double *seconds, uint32_t nodes, sd_error *err) {
    const struct state *s = state;
    double *ns = calloc((size_t)nodes + 1, sizeof *ns);
    sd_status status = ns ? sd_vk_commands_times(s->vk, piece, ns, nodes + 1, err)
                          : sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < nodes && !status; i++)
        seconds[i] = (ns[i + 1] - ns[i]) * 1e-9;
    free(ns);
    return status;
}

const struct sd_backend sd_backend_vulkan = {.open = open_state,
                                             .close = close_state,
                                             .prepare = prepare,
                                             .record = record,
                                             .discard = discard,
                                             .submit = submit,
                                             .write = write_bytes,
                                             .read = read_bytes,
                                             .times = times};

sd_status sd_exec_create(sd_exec **out, sd_vk *vk, const sd_plan *plan, const struct sd_exec_options *options,
                         sd_error *err) {
    return sd_exec_create_on(out, &sd_backend_vulkan, vk, plan, options, err);
}

sd_vk_buffer *sd_exec_buffer(sd_exec *exec) {
    const struct state *s = sd_exec_state(exec);
    return s->buffer;
}
