#include "sd/nn/schedule.h"

#include <stdlib.h>
#include <string.h>

struct maker {
    const sd_graph *graph;
    const struct sd_strips_limits *limits;
    uint64_t keep_bytes;
    struct sd_schedule *schedule;
    /* By tensor: */
    bool *at_hand; /* on the host */
    bool *done;    /* was computed by a step */
    bool *needed;  /* is read by steps to come: found by look_ahead */
    bool *visited;
    bool *target; /* must be complete before others read it */
    sd_tensor **copies;
    uint32_t *targets; /* in the order of the nodes */
    uint32_t target_count;
    uint64_t held; /* bytes that steps so far left on the host */
};

static const sd_node *producer(const struct maker *m, const sd_tensor *t) {
    return t->owner->producer < 0 ? NULL : m->graph->nodes[t->owner->producer];
}

static void add_target(struct maker *m, const sd_tensor *t) {
    if (t->parts[0]) {
        add_target(m, t->parts[0]);
        add_target(m, t->parts[1]);
    } else
        m->target[t->owner->place] = t->owner->producer >= 0;
}

/* A tensor is a target where a node that runs in strips meets one that does not. */
static void find_targets(struct maker *m) {
    const sd_graph *g = m->graph;
    for (uint32_t i = 0; i < g->node_count; i++) {
        struct sd_strip rule = {0}, other;
        for (uint32_t k = 0; k < SD_NODE_INPUTS; k++) {
            const sd_tensor *t = g->nodes[i]->in[k];
            if (!t)
                continue;
            bool in_strips = sd_piece_rule(g->nodes[i], &rule) && (rule.inputs >> k & 1);
            const sd_node *from = t->parts[0] ? NULL : producer(m, t);
            if (!from || sd_piece_rule(from, &other) != in_strips)
                add_target(m, t);
        }
    }
    for (uint32_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->output)
            add_target(m, g->tensors[i]);
    for (uint32_t i = 0; i < g->node_count; i++) {
        uint64_t place = g->nodes[i]->out->owner->place;
        if (m->target[place])
            m->targets[m->target_count++] = (uint32_t)place;
    }
}

/* The nodes that compute `t` from what is at hand. */
static void need(const struct maker *m, const sd_tensor *t, bool *nodes) {
    if (t->parts[0]) {
        need(m, t->parts[0], nodes);
        need(m, t->parts[1], nodes);
        return;
    }
    int32_t index = t->owner->producer;
    if (m->at_hand[t->owner->place] || nodes[index])
        return;
    nodes[index] = true;
    for (uint32_t i = 0; i < SD_NODE_INPUTS; i++)
        if (m->graph->nodes[index]->in[i])
            need(m, m->graph->nodes[index]->in[i], nodes);
}

/* Follows `t` back to what is at hand or what this step can leave. */
static void look_ahead(struct maker *m, const sd_tensor *t, const struct sd_piece *p) {
    if (t->parts[0]) {
        look_ahead(m, t->parts[0], p);
        look_ahead(m, t->parts[1], p);
        return;
    }
    const sd_tensor *owner = t->owner;
    if (m->visited[owner->place])
        return;
    m->visited[owner->place] = true;
    bool kept = owner->bytes <= m->keep_bytes || m->target[owner->place];
    if (m->at_hand[owner->place] || (p->nodes[owner->producer] && kept)) {
        m->needed[owner->place] = true;
        return;
    }
    for (uint32_t i = 0; i < SD_NODE_INPUTS; i++)
        if (m->graph->nodes[owner->producer]->in[i])
            look_ahead(m, m->graph->nodes[owner->producer]->in[i], p);
}

/* A step that computes a target whole, and what it leaves for the steps behind it. */
static void aim(struct maker *m, struct sd_step *step, uint32_t target) {
    const sd_graph *g = m->graph;
    struct sd_piece *p = &step->piece;
    p->unit = 0;
    memset(p->nodes, 0, g->node_count * sizeof *p->nodes);
    memset(m->needed, 0, g->tensor_count * sizeof *m->needed);
    memset(m->visited, 0, g->tensor_count * sizeof *m->visited);
    need(m, g->tensors[target], p->nodes);
    for (uint32_t i = 0; i < m->target_count; i++) {
        const sd_tensor *t = g->tensors[m->targets[i]];
        if (!m->done[m->targets[i]] && !p->nodes[t->producer])
            look_ahead(m, t, p);
    }
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        const sd_tensor *t = g->tensors[i];
        bool made = t->producer >= 0 && p->nodes[t->producer];
        p->stored[i] = made && (m->needed[i] || t->output);
    }
}

static sd_status measure(struct maker *m, struct sd_step *step, sd_error *err) {
    sd_graph *g = NULL;
    sd_plan *plan = NULL;
    sd_status status = sd_piece_graph(&step->piece, &g, m->copies, err);
    if (!status && !(status = sd_plan_create(&plan, g, NULL, err)))
        step->plan = plan->stats;
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
    return status;
}

/* What waits on the host while the step runs. The graph's own inputs and outputs are the caller's. */
static uint64_t held_during(const struct maker *m, const struct sd_step *step) {
    uint64_t bytes = m->held;
    for (uint32_t i = 0; i < m->graph->tensor_count; i++)
        if (step->piece.stored[i] && !m->graph->tensors[i]->output)
            bytes += m->graph->tensors[i]->bytes;
    return bytes;
}

static bool fits(const struct maker *m, const struct sd_step *step) {
    uint64_t device = step->plan.activation_bytes;
    return device <= m->limits->device && held_during(m, step) + device <= m->limits->all;
}

/* The furthest target that the memory allows to compute whole; *found false when it is not even the first. */
static sd_status aim_far(struct maker *m, struct sd_step *step, const uint32_t *targets, uint32_t count,
                         bool *found, sd_error *err) {
    uint32_t fit = 0, unfit = count; /* targets[fit - 1] fits, targets[unfit] does not */
    for (uint32_t try = count - 1; fit < unfit; try = fit + (unfit - fit) / 2) {
        aim(m, step, targets[try]);
        sd_status status = measure(m, step, err);
        if (status)
            return status;
        if (fits(m, step))
            fit = try + 1;
        else
            unfit = try;
    }
    *found = fit > 0;
    aim(m, step, targets[fit ? fit - 1 : 0]);
    return measure(m, step, err);
}

/* As few strips as the memory allows; the lowest ones that there can be when even they do not fit. */
static sd_status cut(struct maker *m, struct sd_step *step, sd_error *err) {
    struct sd_piece *p = &step->piece;
    if (!sd_piece_cut(p)) {
        p->unit = 0;
        return measure(m, step, err);
    }
    uint32_t fit = sd_piece_least(p), unfit = sd_piece_most(p) + 1;
    while (fit + 1 < unfit) {
        p->steps = fit + (unfit - fit) / 2;
        sd_status status = measure(m, step, err);
        if (status)
            return status;
        if (fits(m, step))
            fit = p->steps;
        else
            unfit = p->steps;
    }
    p->steps = sd_piece_balance(p, fit);
    return measure(m, step, err);
}

static void count(struct sd_strips_stats *s, const struct sd_step *step, uint64_t held) {
    const struct sd_plan_stats *plan = &step->plan;
    uint32_t strips = step->piece.unit ? sd_piece_strips(&step->piece, step->piece.steps) : 1;
    uint64_t device = plan->activation_bytes, all = device + held;
    s->device_bytes = device > s->device_bytes ? device : s->device_bytes;
    s->host_bytes = held > s->host_bytes ? held : s->host_bytes;
    s->all_bytes = all > s->all_bytes ? all : s->all_bytes;
    s->flop += plan->flop[SD_RATE_PROMPT] + strips * plan->flop[SD_RATE_STEP];
    s->bytes += plan->bytes[SD_RATE_PROMPT] + strips * plan->bytes[SD_RATE_STEP];
    s->nodes += plan->nodes[SD_RATE_PROMPT] + strips * plan->nodes[SD_RATE_STEP];
    s->barriers += plan->barriers[SD_RATE_PROMPT] + strips * plan->barriers[SD_RATE_STEP];
    s->strips = strips > s->strips ? strips : s->strips;
    s->steps++;
}

/* The step's results are at hand now, and what nobody reads any more is not. */
static void settle(struct maker *m, struct sd_step *step) {
    const sd_graph *g = m->graph;
    count(&m->schedule->stats, step, held_during(m, step));
    for (uint32_t i = 0; i < g->node_count; i++)
        if (step->piece.nodes[i])
            m->done[g->nodes[i]->out->owner->place] = true;
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        const sd_tensor *t = g->tensors[i];
        if (t->output || t->producer < 0)
            continue;
        step->freed[i] = m->at_hand[i] && !m->needed[i];
        if (step->piece.stored[i])
            m->held += t->bytes;
        if (step->freed[i])
            m->held -= t->bytes;
        m->at_hand[i] = m->needed[i];
    }
}

static struct sd_step *new_step(struct maker *m) {
    const sd_graph *g = m->graph;
    sd_arena *arena = &m->schedule->arena;
    struct sd_step *step = sd_arena_alloc(arena, sizeof *step);
    if (!step)
        return NULL;
    step->piece = (struct sd_piece){.graph = g,
                                    .nodes = sd_arena_array(arena, g->node_count, sizeof(bool)),
                                    .stored = sd_arena_array(arena, g->tensor_count, sizeof(bool)),
                                    .spans = sd_arena_array(arena, g->tensor_count, sizeof(struct sd_span))};
    step->freed = sd_arena_array(arena, g->tensor_count, sizeof(bool));
    return step->piece.nodes && step->piece.stored && step->piece.spans && step->freed ? step : NULL;
}

static sd_status make_steps(struct maker *m, uint32_t *left, sd_error *err) {
    struct sd_step **end = &m->schedule->first;
    for (;;) {
        uint32_t count_left = 0;
        for (uint32_t i = 0; i < m->target_count; i++)
            if (!m->done[m->targets[i]])
                left[count_left++] = m->targets[i];
        if (!count_left)
            return SD_OK;
        struct sd_step *step = new_step(m);
        bool whole = false;
        sd_status status = step ? aim_far(m, step, left, count_left, &whole, err)
                                : sd_fail(err, SD_E_MEMORY, "out of memory while planning");
        if (!status && !whole)
            status = cut(m, step, err);
        if (status)
            return status;
        settle(m, step);
        *end = step;
        end = &step->next;
    }
}

sd_status sd_schedule_create(struct sd_schedule **out, const sd_graph *g,
                             const struct sd_strips_limits *limits, uint64_t keep_bytes, sd_error *err) {
    sd_arena arena = {0};
    size_t tensors = g->tensor_count;
    struct sd_schedule *s = *out = calloc(1, sizeof *s);
    struct maker m = {.graph = g,
                      .limits = limits,
                      .keep_bytes = keep_bytes,
                      .schedule = s,
                      .at_hand = sd_arena_array(&arena, tensors, sizeof(bool)),
                      .done = sd_arena_array(&arena, tensors, sizeof(bool)),
                      .needed = sd_arena_array(&arena, tensors, sizeof(bool)),
                      .visited = sd_arena_array(&arena, tensors, sizeof(bool)),
                      .target = sd_arena_array(&arena, tensors, sizeof(bool)),
                      .copies = sd_arena_array(&arena, tensors, sizeof(sd_tensor *)),
                      .targets = sd_arena_array(&arena, tensors, sizeof(uint32_t))};
    uint32_t *left = sd_arena_array(&arena, tensors, sizeof *left);
    sd_status status =
        s && m.at_hand && m.done && m.needed && m.visited && m.target && m.copies && m.targets && left
            ? SD_OK
            : sd_fail(err, SD_E_MEMORY, "out of memory while planning");
    if (!status) {
        for (size_t i = 0; i < tensors; i++)
            m.at_hand[i] = g->tensors[i]->producer < 0;
        find_targets(&m);
        status = make_steps(&m, left, err);
    }
    sd_arena_clear(&arena);
    if (status)
        sd_schedule_destroy(out);
    return status;
}

void sd_schedule_destroy(struct sd_schedule **schedule) {
    if (!*schedule)
        return;
    sd_arena_clear(&(*schedule)->arena);
    free(*schedule);
    *schedule = NULL;
}
