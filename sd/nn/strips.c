#include "sd/nn/strips.h"

#include "sd/nn/schedule.h"

#include <stdlib.h>

struct sd_strips {
    sd_graph *graph;
    struct sd_schedule *schedule;
};

/* How far beyond the limits: at most 1 is within them. */
static double excess(const struct sd_strips_stats *s, const struct sd_strips_limits *limits) {
    double device = (double)s->device_bytes / (limits->device ? (double)limits->device : 1);
    double all = (double)s->all_bytes / (limits->all ? (double)limits->all : 1);
    return device > all ? device : all;
}

/* The size of the largest tensors below `bytes`; 0 when only small ones are left. */
static uint64_t next_size(const sd_graph *g, uint64_t bytes) {
    enum { worth_it = 64 };
    uint64_t largest = 0, next = 0;
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        uint64_t size = g->tensors[i]->bytes;
        largest = size > largest ? size : largest;
        next = size < bytes && size > next ? size : next;
    }
    return next >= largest / worth_it ? next : 0;
}

/* Schedules for `aim`, and takes that when it comes nearer to the limits. */
static sd_status try(sd_strips *s, const struct sd_strips_limits *limits, const struct sd_strips_limits *aim,
                     uint64_t keep, uint64_t *best, sd_error *err) {
    struct sd_schedule *other;
    sd_status status = sd_schedule_create(&other, s->graph, aim, keep, err);
    if (status)
        return status;
    if (!s->schedule || excess(&other->stats, limits) < excess(&s->schedule->stats, limits)) {
        struct sd_schedule *worse = s->schedule;
        s->schedule = other;
        other = worse;
        *best = keep;
    }
    sd_schedule_destroy(&other);
    return SD_OK;
}

/* Where memory on the host counts, less and less of what is large is kept there and more computed again. */
static sd_status choose(sd_strips *s, const struct sd_strips_limits *limits, sd_error *err) {
    const struct sd_strips_limits none = {UINT64_MAX, UINT64_MAX};
    uint64_t size = next_size(s->graph, UINT64_MAX), best = UINT64_MAX;
    sd_status status = try(s, limits, limits, UINT64_MAX, &best, err);
    while (!status && limits->all != UINT64_MAX && excess(&s->schedule->stats, limits) > 1 && size) {
        size = next_size(s->graph, size);
        status = try(s, limits, limits, size, &best, err);
    }
    if (status || excess(&s->schedule->stats, limits) <= 1)
        return status;
    /* Strips that are lower than the step that needs most save nothing and cost time. */
    struct sd_strips_stats least = s->schedule->stats;
    struct sd_strips_limits wider = *limits;
    wider.device = least.device_bytes > wider.device ? least.device_bytes : wider.device;
    wider.all = least.all_bytes > wider.all ? least.all_bytes : wider.all;
    sd_schedule_destroy(&s->schedule);
    status = try(s, limits, &wider, best, &best, err);
    return status ? status : try(s, limits, &none, UINT64_MAX, &best, err);
}

sd_status sd_strips_create(sd_strips **out, sd_graph *graph, const struct sd_strips_limits *limits,
                           sd_error *err) {
    *out = NULL;
    sd_status status = sd_graph_status(graph, err);
    if (status)
        return status;
    sd_strips *s = calloc(1, sizeof *s);
    if (!s)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    s->graph = graph;
    for (uint32_t i = 0; i < graph->tensor_count; i++)
        graph->tensors[i]->place = i;
    status = choose(s, limits, err);
    if (status)
        sd_strips_destroy(&s);
    *out = s;
    return status;
}

void sd_strips_destroy(sd_strips **strips) {
    if (!*strips)
        return;
    sd_schedule_destroy(&(*strips)->schedule);
    free(*strips);
    *strips = NULL;
}

const struct sd_strips_stats *sd_strips_stats(const sd_strips *strips) {
    return &strips->schedule->stats;
}

/* One step on the device. */
struct running {
    const struct sd_step *step;
    sd_vk *vk;
    unsigned char **host; /* [tensor_count] */
    sd_graph *graph;
    sd_tensor **copies; /* [tensor_count] */
    sd_plan *plan;
    sd_exec *exec;
};

static bool is_given(const struct running *r, uint32_t index) {
    return r->copies[index] && r->copies[index]->input;
}

/* Rows [from,to) of a tensor between the host and a strip that begins at row `at`. */
static sd_status move(struct running *r, uint32_t index, uint32_t at, uint32_t from, uint32_t to,
                      sd_error *err) {
    const sd_tensor *t = r->step->piece.graph->tensors[index], *copy = r->copies[index];
    uint64_t row = t->bytes / t->h; /* tensors that are cut have n = 1 */
    unsigned char *host = r->host[index] + from * row;
    uint64_t offset = (from - at) * row, bytes = (to - from) * row;
    return copy->input ? sd_exec_write_part(r->exec, copy, offset, host, bytes, err)
                       : sd_exec_read_part(r->exec, copy, offset, host, bytes, err);
}

static sd_status move_whole(struct running *r, bool given, sd_error *err) {
    const struct sd_piece *p = &r->step->piece;
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < p->graph->tensor_count && !status; i++)
        if ((given ? is_given(r, i) : p->stored[i]) && !(p->unit && p->spans[i].cut))
            status = move(r, i, 0, 0, p->graph->tensors[i]->h, err);
    return status;
}

static sd_status move_strip(struct running *r, const struct sd_cut *cut, bool given, sd_error *err) {
    const struct sd_piece *p = &r->step->piece;
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < p->graph->tensor_count && !status; i++) {
        const sd_tensor *t = p->graph->tensors[i];
        if (!p->spans[i].cut)
            continue;
        uint32_t at = sd_piece_row(p, t, cut->at);
        if (given && is_given(r, i))
            status = move(r, i, at, at, at + r->copies[i]->h, err);
        else if (!given && p->stored[i])
            status = move(r, i, at, sd_piece_row(p, t, cut->from), sd_piece_row(p, t, cut->to), err);
    }
    return status;
}

static sd_status run_strips(struct running *r, sd_error *err) {
    struct sd_cut cut = {0};
    sd_status status = SD_OK;
    while (!status && sd_piece_next(&r->step->piece, &cut))
        if (!(status = move_strip(r, &cut, true, err)) && !(status = sd_exec_run(r->exec, SD_RATE_STEP, err)))
            status = move_strip(r, &cut, false, err);
    return status;
}

static sd_status run_step(struct running *r, const struct sd_exec_options *options, sd_error *err) {
    sd_status status = sd_piece_graph(&r->step->piece, &r->graph, r->copies, err);
    if (!status && !(status = sd_plan_create(&r->plan, r->graph, NULL, err)) &&
        !(status = sd_exec_create(&r->exec, r->vk, r->plan, options, err)) &&
        !(status = move_whole(r, true, err)) && !(status = sd_exec_run(r->exec, SD_RATE_PROMPT, err)) &&
        !(status = move_whole(r, false, err)) && r->step->piece.unit)
        status = run_strips(r, err);
    sd_exec_destroy(&r->exec);
    sd_plan_destroy(&r->plan);
    sd_graph_destroy(&r->graph);
    return status;
}

/* Memory for the step's results, but for the graph's outputs, which the caller gave. */
static sd_status make_room(struct running *r, sd_error *err) {
    const struct sd_piece *p = &r->step->piece;
    for (uint32_t i = 0; i < p->graph->tensor_count; i++)
        if (p->stored[i] && !r->host[i] && !(r->host[i] = malloc(p->graph->tensors[i]->bytes)))
            return sd_fail(err, SD_E_MEMORY, "out of memory: %.1f MiB for activations on the host",
                           (double)p->graph->tensors[i]->bytes / (1 << 20));
    return SD_OK;
}

static void release(struct running *r) {
    for (uint32_t i = 0; i < r->step->piece.graph->tensor_count; i++)
        if (r->step->freed[i]) {
            free(r->host[i]);
            r->host[i] = NULL;
        }
}

sd_status sd_strips_run(sd_strips *s, sd_vk *vk, const struct sd_strips_io *io, uint32_t count,
                        const struct sd_exec_options *options, sd_error *err) {
    size_t tensors = s->graph->tensor_count;
    struct running r = {.step = s->schedule->first,
                        .vk = vk,
                        .host = calloc(tensors + 1, sizeof *r.host),
                        .copies = calloc(tensors + 1, sizeof *r.copies)};
    sd_status status = r.host && r.copies ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count && !status; i++)
        r.host[io[i].tensor->owner->place] = io[i].data;
    for (; r.step && !status; r.step = r.step->next)
        if (!(status = make_room(&r, err)) && !(status = run_step(&r, options, err)))
            release(&r);
    for (uint32_t i = 0; i < count && r.host; i++)
        r.host[io[i].tensor->owner->place] = NULL;
    for (size_t i = 0; i < tensors && r.host; i++)
        free(r.host[i]);
    free(r.host);
    free(r.copies);
    return status;
}
