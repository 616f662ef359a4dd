#include "sd/nn/exec.h"

#include "sd/base/half.h"
#include "sd/nn/op.h"
#include "sd/vk/commands.h"

#include <stdlib.h>
#include <string.h>

/* Nodes [first, last) of the plan in one command buffer. */
struct segment {
    uint32_t first, last;
    sd_rate rate;
    sd_vk_commands *commands;
};

struct sd_exec {
    sd_vk *vk;
    const sd_plan *plan;
    struct sd_exec_options options;
    sd_vk_buffer *buffer;
    struct segment *segments;
    uint32_t segment_count;
};

/* Recording of one node, or with `commands` NULL only finding out which pipelines it needs; errors are
 * sticky, so that ops need not check. */
struct sd_emit {
    sd_exec *exec;
    sd_vk_commands *commands;
    const sd_node *node;
    sd_status status;
    sd_error *err;
};

const struct sd_vk_info *sd_emit_info(const sd_emit *e) {
    return &e->exec->plan->graph->info;
}

uint64_t sd_emit_address(const sd_emit *e, const sd_tensor *t) {
    return e->exec->buffer->address + t->owner->place + (uint64_t)t->offset * sd_dtype_size(t->dtype);
}

void sd_emit_barrier(sd_emit *e) {
    if (!e->status && e->commands)
        sd_vk_commands_barrier(e->commands);
}

void sd_emit_dispatch(sd_emit *e, const struct sd_dispatch *d) {
    sd_vk *vk = e->exec->vk;
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

static sd_status record_node(sd_exec *exec, sd_vk_commands *commands, const sd_node *node, sd_error *err) {
    sd_emit emit = {.exec = exec, .commands = commands, .node = node, .err = err};
    emit.status = check_weights(node, err);
    if (!emit.status)
        node->op->record(node, &emit);
    return emit.status;
}

static bool on_compiled(void *user, uint32_t done, uint32_t all) {
    const struct sd_exec_options *o = user;
    if (o->compiled)
        o->compiled(o->user, done, all);
    return o->cancelled && o->cancelled(o->user);
}

/* All pipelines at once, so that they can be compiled side by side. */
static sd_status compile(sd_exec *exec, sd_error *err) {
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < exec->plan->count && !status; i++)
        status = record_node(exec, NULL, exec->plan->order[i], err);
    return status ? status : sd_vk_pipelines_compile(exec->vk, on_compiled, &exec->options, err);
}

static sd_status record_segment(sd_exec *exec, struct segment *s, sd_error *err) {
    uint32_t stamps = exec->options.profile ? s->last - s->first + 1 : 0;
    sd_status status = sd_vk_commands_create(exec->vk, &s->commands, stamps, err);
    if (!status && stamps)
        sd_vk_commands_timestamp(s->commands);
    for (uint32_t i = s->first; i < s->last && !status; i++) {
        if (i > s->first && (exec->plan->barrier[i] || stamps))
            sd_vk_commands_barrier(s->commands);
        status = record_node(exec, s->commands, exec->plan->order[i], err);
        if (stamps)
            sd_vk_commands_timestamp(s->commands);
    }
    return status ? status : sd_vk_commands_finish(s->commands, err);
}

/* A submission must stay far below two seconds (watchdogs), and a CPU must notice a cancel soon. */
static uint64_t default_submit_flop(sd_vk_kind kind) {
    const uint64_t giga = 1000000000;
    return kind == SD_VK_DISCRETE ? 200 * giga : kind == SD_VK_CPU ? 4 * giga : 40 * giga;
}

static sd_status cut_segments(sd_exec *exec, sd_error *err) {
    const sd_plan *plan = exec->plan;
    uint64_t limit = exec->options.submit_flop, flop = 0;
    if (!(exec->segments = calloc((size_t)plan->count + 1, sizeof *exec->segments)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < plan->count; i++) {
        struct sd_cost cost = {0};
        if (plan->order[i]->op->cost)
            plan->order[i]->op->cost(plan->order[i], &cost);
        bool fresh = !i || i == plan->first_step || flop + cost.flop > limit;
        if (fresh) {
            exec->segments[exec->segment_count++] = (struct segment){i, i, plan->order[i]->rate, NULL};
            flop = 0;
        }
        exec->segments[exec->segment_count - 1].last = i + 1;
        flop += cost.flop;
    }
    return SD_OK;
}

sd_status sd_exec_create(sd_exec **out, sd_vk *vk, const sd_plan *plan, const struct sd_exec_options *options,
                         sd_error *err) {
    *out = NULL;
    sd_exec *exec = calloc(1, sizeof *exec);
    if (!exec)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    exec->vk = vk;
    exec->plan = plan;
    if (options)
        exec->options = *options;
    if (!exec->options.submit_flop)
        exec->options.submit_flop = default_submit_flop(sd_vk_info(vk)->kind);
    sd_status status =
        sd_vk_buffer_create(vk, &exec->buffer, plan->stats.activation_bytes, SD_VK_LOCAL, "activations", err);
    if (!status && !(status = cut_segments(exec, err)))
        status = compile(exec, err);
    for (uint32_t i = 0; i < exec->segment_count && !status; i++)
        status = record_segment(exec, &exec->segments[i], err);
    if (status)
        sd_exec_destroy(&exec);
    *out = exec;
    return status;
}

void sd_exec_destroy(sd_exec **handle) {
    sd_exec *exec = *handle;
    if (!exec)
        return;
    for (uint32_t i = 0; i < exec->segment_count; i++)
        sd_vk_commands_destroy(exec->vk, &exec->segments[i].commands);
    sd_vk_buffer_destroy(exec->vk, &exec->buffer);
    free(exec->segments);
    free(exec);
    *handle = NULL;
}

/* The owner or all of it in another shape: between the channels of a slice lie those of others. */
static bool whole_owner(const sd_tensor *t) {
    const sd_tensor *owner = t->owner;
    return owner && (uint64_t)sd_tensor_rows(t) * t->c == (uint64_t)sd_tensor_rows(owner) * owner->c;
}

/* What the host sees of a tensor: f16 as f32. */
static size_t host_bytes(const sd_tensor *t) {
    return (size_t)sd_tensor_rows(t) * t->c * 4;
}

static sd_status check_host(const sd_tensor *t, size_t bytes, sd_error *err) {
    const char *name = t->name ? t->name : "tensor";
    if (bytes != host_bytes(t))
        return sd_fail(err, SD_E_INTERNAL, "%s: expected %zu bytes for [%u,%u,%u,%u], found %zu", name,
                       host_bytes(t), t->n, t->h, t->w, t->c, bytes);
    if (!whole_owner(t))
        return sd_fail(err, SD_E_INTERNAL, "%s: views cannot be moved to or from the host", name);
    return SD_OK;
}

static sd_status write_half(sd_exec *exec, const sd_tensor *t, const float *data, sd_error *err) {
    size_t rows = sd_tensor_rows(t);
    uint16_t *half = calloc(rows * t->pitch + 1, sizeof *half);
    if (!half)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t r = 0; r < rows; r++)
        sd_f16_from_f32_array(half + r * t->pitch, data + r * t->c, t->c);
    sd_status status = sd_vk_write(exec->vk, exec->buffer, t->owner->place, half, rows * t->pitch * 2, err);
    free(half);
    return status;
}

static sd_status read_half(sd_exec *exec, const sd_tensor *t, float *data, sd_error *err) {
    size_t rows = sd_tensor_rows(t);
    uint16_t *half = calloc(rows * t->pitch + 1, sizeof *half);
    if (!half)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = sd_vk_read(exec->vk, exec->buffer, t->owner->place, half, rows * t->pitch * 2, err);
    for (size_t r = 0; r < rows && !status; r++)
        sd_f32_from_f16_array(data + r * t->c, half + r * t->pitch, t->c);
    free(half);
    return status;
}

sd_status sd_exec_write(sd_exec *exec, const sd_tensor *t, const void *data, size_t bytes, sd_error *err) {
    sd_status status = check_host(t, bytes, err);
    if (status)
        return status;
    if (t->dtype == SD_F16)
        return write_half(exec, t, data, err);
    return sd_vk_write(exec->vk, exec->buffer, t->owner->place, data, bytes, err);
}

sd_status sd_exec_read(sd_exec *exec, const sd_tensor *t, void *data, size_t bytes, sd_error *err) {
    sd_status status = check_host(t, bytes, err);
    if (status)
        return status;
    if (t->dtype == SD_F16)
        return read_half(exec, t, data, err);
    return sd_vk_read(exec->vk, exec->buffer, t->owner->place, data, bytes, err);
}

/* GPUs get everything at once; a CPU's submissions take long enough to ask for a cancel between them. */
sd_status sd_exec_run(sd_exec *exec, sd_rate rate, sd_error *err) {
    bool one_by_one = sd_vk_info(exec->vk)->kind == SD_VK_CPU;
    sd_vk_commands *batch[64];
    uint32_t count = 0;
    for (uint32_t i = 0; i < exec->segment_count; i++) {
        if (exec->segments[i].rate != rate)
            continue;
        batch[count++] = exec->segments[i].commands;
        bool last = i + 1 == exec->segment_count || exec->segments[i + 1].rate != rate;
        if (!one_by_one && !last && count < sizeof batch / sizeof *batch)
            continue;
        if (exec->options.cancelled && exec->options.cancelled(exec->options.user))
            return sd_fail(err, SD_E_CANCELLED, "cancelled");
        sd_status status = sd_vk_submit(exec->vk, batch, count, err);
        if (status)
            return status;
        count = 0;
    }
    return SD_OK;
}

sd_status sd_exec_run_hooked(sd_exec *exec, sd_exec_hook hook, void *user, sd_error *err) {
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < exec->plan->count && !status; i++) {
        const sd_node *node = exec->plan->order[i];
        sd_vk_commands *commands = NULL;
        if (!(status = sd_vk_commands_create(exec->vk, &commands, 0, err)) &&
            !(status = record_node(exec, commands, node, err)) &&
            !(status = sd_vk_commands_finish(commands, err)) &&
            !(status = sd_vk_submit(exec->vk, &commands, 1, err)))
            status = hook(user, exec, node, err);
        sd_vk_commands_destroy(exec->vk, &commands);
    }
    return status;
}

sd_status sd_exec_times(sd_exec *exec, double *seconds, uint32_t count, sd_error *err) {
    if (!exec->options.profile || count != exec->plan->count)
        return sd_fail(err, SD_E_ARGUMENT,
                       "node times: expected a profiling executor and room for %u nodes, found %u",
                       exec->plan->count, count);
    double *ns = calloc((size_t)count + 1, sizeof *ns);
    sd_status status = ns ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < exec->segment_count && !status; i++) {
        const struct segment *s = &exec->segments[i];
        uint32_t nodes = s->last - s->first;
        status = sd_vk_commands_times(exec->vk, s->commands, ns, nodes + 1, err);
        for (uint32_t k = 0; k < nodes && !status; k++)
            seconds[s->first + k] = (ns[k + 1] - ns[k]) * 1e-9;
    }
    free(ns);
    return status;
}

sd_vk_buffer *sd_exec_buffer(sd_exec *exec) {
    return exec->buffer;
}
