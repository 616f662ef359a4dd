#include "sd/nn/backend.h"

#include "sd/base/half.h"
#include "sd/nn/op.h"

#include <stdlib.h>
#include <string.h>

/* Nodes [first, last) of the plan in one piece. */
struct segment {
    uint32_t first, last;
    sd_rate rate;
    void *piece;
};

struct sd_exec {
    const struct sd_backend *backend;
    void *state;
    const sd_plan *plan;
    struct sd_exec_options options;
    struct segment *segments;
    uint32_t segment_count;
};

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

sd_status sd_exec_create_on(sd_exec **out, const struct sd_backend *backend, void *device,
                            const sd_plan *plan, const struct sd_exec_options *options, sd_error *err) {
    *out = NULL;
    sd_exec *exec = calloc(1, sizeof *exec);
    if (!exec)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    exec->backend = backend;
    exec->plan = plan;
    if (options)
        exec->options = *options;
    if (!exec->options.submit_flop)
        exec->options.submit_flop = default_submit_flop(plan->graph->info.kind);
    sd_status status = backend->open(&exec->state, device, plan, err);
    if (!status && !(status = cut_segments(exec, err)))
        status = backend->prepare(exec->state, &exec->options, err);
    for (uint32_t i = 0; i < exec->segment_count && !status; i++) {
        struct segment *s = &exec->segments[i];
        status = backend->record(exec->state, s->first, s->last, exec->options.profile, &s->piece, err);
    }
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
        if (exec->segments[i].piece)
            exec->backend->discard(exec->state, exec->segments[i].piece);
    if (exec->state)
        exec->backend->close(exec->state);
    free(exec->segments);
    free(exec);
    *handle = NULL;
}

void *sd_exec_state(sd_exec *exec) {
    return exec->state;
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
    sd_status status = exec->backend->write(exec->state, t->owner->place, half, rows * t->pitch * 2, err);
    free(half);
    return status;
}

static sd_status read_half(sd_exec *exec, const sd_tensor *t, float *data, sd_error *err) {
    size_t rows = sd_tensor_rows(t);
    uint16_t *half = calloc(rows * t->pitch + 1, sizeof *half);
    if (!half)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = exec->backend->read(exec->state, t->owner->place, half, rows * t->pitch * 2, err);
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
    return exec->backend->write(exec->state, t->owner->place, data, bytes, err);
}

sd_status sd_exec_read(sd_exec *exec, const sd_tensor *t, void *data, size_t bytes, sd_error *err) {
    sd_status status = check_host(t, bytes, err);
    if (status)
        return status;
    if (t->dtype == SD_F16)
        return read_half(exec, t, data, err);
    return exec->backend->read(exec->state, t->owner->place, data, bytes, err);
}

static sd_status check_part(const sd_tensor *t, uint64_t at, uint64_t bytes, sd_error *err) {
    if (t->owner != t || at > t->bytes || bytes > t->bytes - at)
        return sd_fail(err, SD_E_INTERNAL, "%s: %llu bytes at %llu are not within its own %llu",
                       t->name ? t->name : "tensor", (unsigned long long)bytes, (unsigned long long)at,
                       (unsigned long long)t->bytes);
    return SD_OK;
}

sd_status sd_exec_write_part(sd_exec *exec, const sd_tensor *t, uint64_t at, const void *data, uint64_t bytes,
                             sd_error *err) {
    sd_status status = check_part(t, at, bytes, err);
    return status ? status : exec->backend->write(exec->state, t->place + at, data, bytes, err);
}

sd_status sd_exec_read_part(sd_exec *exec, const sd_tensor *t, uint64_t at, void *data, uint64_t bytes,
                            sd_error *err) {
    sd_status status = check_part(t, at, bytes, err);
    return status ? status : exec->backend->read(exec->state, t->place + at, data, bytes, err);
}

/* GPUs get everything at once; a CPU's submissions take long enough to ask for a cancel between them. */
sd_status sd_exec_run(sd_exec *exec, sd_rate rate, sd_error *err) {
    bool one_by_one = exec->plan->graph->info.kind == SD_VK_CPU;
    void *batch[SD_BACKEND_BATCH];
    uint32_t count = 0;
    for (uint32_t i = 0; i < exec->segment_count; i++) {
        if (exec->segments[i].rate != rate)
            continue;
        batch[count++] = exec->segments[i].piece;
        bool last = i + 1 == exec->segment_count || exec->segments[i + 1].rate != rate;
        if (!one_by_one && !last && count < SD_BACKEND_BATCH)
            continue;
        if (exec->options.cancelled && exec->options.cancelled(exec->options.user))
            return sd_fail(err, SD_E_CANCELLED, "cancelled");
        sd_status status = exec->backend->submit(exec->state, batch, count, err);
        if (status)
            return status;
        count = 0;
    }
    return SD_OK;
}

sd_status sd_exec_run_hooked(sd_exec *exec, sd_exec_hook hook, void *user, sd_error *err) {
    const struct sd_backend *backend = exec->backend;
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < exec->plan->count && !status; i++) {
        void *piece;
        if ((status = backend->record(exec->state, i, i + 1, false, &piece, err)))
            break;
        if (!(status = backend->submit(exec->state, &piece, 1, err)))
            status = hook(user, exec, exec->plan->order[i], err);
        backend->discard(exec->state, piece);
    }
    return status;
}

sd_status sd_exec_times(sd_exec *exec, double *seconds, uint32_t count, sd_error *err) {
    sd_status status = SD_OK;
    if (!exec->options.profile || count != exec->plan->count)
        return sd_fail(err, SD_E_ARGUMENT,
                       "node times: expected a profiling executor and room for %u nodes, found %u",
                       exec->plan->count, count);
    for (uint32_t i = 0; i < exec->segment_count && !status; i++) {
        const struct segment *s = &exec->segments[i];
        status = exec->backend->times(exec->state, s->piece, seconds + s->first, s->last - s->first, err);
    }
    return status;
}
