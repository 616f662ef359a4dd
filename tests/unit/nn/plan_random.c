/* Plans of random graphs, checked by carrying them out byte by byte. The checks know nothing of lifetimes:
 * they mark every byte that a node writes and look whether the mark is still there when it is read. */
#include "tests/unit/nn/fixture.h"

#include "sd/base/rng.h"
#include "sd/nn/op.h"
#include "sd/nn/plan.h"

#include <stdlib.h>
#include <string.h>

enum { graphs = 400, most_values = 128, prompts = 2, steps = 3 };

/* ---- random graphs ---- */

struct maker {
    sd_graph *g;
    uint32_t seed, draws;
    sd_tensor *values[most_values];
    uint32_t count;
};

static uint32_t pick(struct maker *m, uint32_t low, uint32_t high) {
    const uint32_t counter[4] = {m->draws++, 0, 0, 0}, key[2] = {m->seed, 0};
    uint32_t random[4];
    sd_philox(counter, key, random);
    return low + random[0] % (high - low + 1);
}

static void keep(struct maker *m, sd_tensor *t) {
    if (t && m->count < most_values)
        m->values[m->count++] = t;
}

/* Often one of the last values, so that many die early. */
static sd_tensor *any_value(struct maker *m) {
    uint32_t oldest = pick(m, 0, 2) && m->count > 4 ? m->count - 4 : 0;
    return m->values[pick(m, oldest, m->count - 1)];
}

static sd_dtype any_type(struct maker *m) {
    static const sd_dtype types[] = {SD_F32, SD_F16, SD_I32};
    return types[pick(m, 0, 2)];
}

static void add_input(struct maker *m) {
    sd_rate rate = pick(m, 0, 1) ? SD_RATE_STEP : SD_RATE_PROMPT;
    keep(m, sd_graph_input(m->g, "input", rate, any_type(m), 1, pick(m, 1, 2), 1, pick(m, 1, 90)));
}

/* A node that reads up to six values, some of them twice, some left out. */
static void add_node(struct maker *m) {
    static const struct sd_op op = {"op", NULL, NULL};
    sd_tensor *in[SD_NODE_INPUTS] = {any_value(m)};
    uint32_t count = pick(m, 0, 3) ? pick(m, 1, 2) : pick(m, 1, SD_NODE_INPUTS);
    for (uint32_t i = 1; i < count; i++)
        in[i] = pick(m, 0, 4) ? any_value(m) : NULL;
    sd_tensor *out = sd_graph_tensor(m->g, any_type(m), 1, pick(m, 1, 2), 1, pick(m, 1, 200));
    keep(m, sd_graph_add(m->g, &op, out, in, count, NULL, NULL, NULL, 0));
}

static void add_view(struct maker *m) {
    sd_tensor *x = any_value(m);
    if (pick(m, 0, 1)) {
        sd_tensor *y = any_value(m);
        if (y->h == x->h && y->w == x->w && y->dtype == x->dtype)
            keep(m, sd_concat(m->g, x, y));
    } else if (pick(m, 0, 1)) {
        uint32_t first = pick(m, 0, x->c - 1) & ~1U;
        keep(m, sd_slice(m->g, x, first, pick(m, 1, x->c - first)));
    } else
        keep(m, sd_reshape(m->g, x, 1, x->w, x->h, x->c));
}

static sd_graph *random_graph(uint32_t seed) {
    struct maker m = {.seed = seed};
    sd_error err;
    assert_int_equal(sd_graph_create(&m.g, &gpu, SD_F32, &err), SD_OK);
    for (uint32_t i = pick(&m, 1, 5); i; i--)
        add_input(&m);
    for (uint32_t i = pick(&m, 0, 45); i; i--) {
        if (pick(&m, 0, 3) == 0)
            add_view(&m);
        add_node(&m);
        if (pick(&m, 0, 9) == 0)
            sd_graph_output(m.g, any_value(&m), "output");
    }
    if (sd_graph_status(m.g, &err))
        fail_msg("graph %u: %s", seed, err.message);
    return m.g;
}

/* ---- carrying a plan out ---- */

/* Every byte holds the number of the write that it belongs to. */
struct machine {
    const sd_plan *plan;
    uint32_t guard, writes;
    uint32_t *bytes;
    uint32_t latest[most_values * 4]; /* the last write of each tensor of the graph */
};

static uint32_t index_of(const sd_graph *g, const sd_tensor *owner) {
    uint32_t i = 0;
    while (i < g->tensor_count && g->tensors[i] != owner)
        i++;
    assert_true(i < g->tensor_count && i < sizeof((struct machine *)0)->latest / sizeof(uint32_t));
    return i;
}

static void write_tensor(struct machine *m, const sd_tensor *owner) {
    assert_int_equal(owner->place % 256, 0);
    assert_true(owner->place + owner->bytes + m->guard <= m->plan->stats.activation_bytes);
    m->latest[index_of(m->plan->graph, owner)] = ++m->writes;
    for (uint64_t i = 0; i < owner->bytes + m->guard; i++)
        m->bytes[owner->place + i] = m->writes;
}

/* The tensor's bytes and its guard are those that were written last. */
static void read_tensor(const struct machine *m, const sd_tensor *t, const char *who) {
    if (t->parts[0]) {
        read_tensor(m, t->parts[0], who);
        read_tensor(m, t->parts[1], who);
        return;
    }
    uint32_t index = index_of(m->plan->graph, t->owner), expected = m->latest[index];
    assert_int_not_equal(expected, 0);
    for (uint64_t i = 0; i < t->owner->bytes + m->guard; i++)
        if (m->bytes[t->owner->place + i] != expected)
            fail_msg("%s: byte %llu of tensor %u was overwritten", who, (unsigned long long)i, index);
}

static void read_inputs(const struct machine *m, const sd_node *node, const char *who) {
    for (int i = 0; i < SD_NODE_INPUTS; i++)
        if (node->in[i])
            read_tensor(m, node->in[i], who);
}

/* Afterwards the host can read all outputs that exist, and every input is as it was written. */
static void run_nodes(struct machine *m, uint32_t from, uint32_t to) {
    const sd_graph *g = m->plan->graph;
    for (uint32_t at = from; at < to; at++) {
        const sd_node *node = m->plan->order[at];
        read_inputs(m, node, "a node's input");
        write_tensor(m, node->out->owner);
        read_inputs(m, node, "a node's input, by its own output");
    }
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        const sd_tensor *t = g->tensors[i];
        bool there = t->input || to == m->plan->count || t->rate == SD_RATE_PROMPT;
        if ((t->input || t->output) && there)
            read_tensor(m, t, t->input ? "an input" : "an output");
    }
}

static void check_memory(const sd_plan *plan, uint32_t guard) {
    const sd_graph *g = plan->graph;
    struct machine m = {.plan = plan, .guard = guard};
    m.bytes = calloc(plan->stats.activation_bytes + 1, sizeof *m.bytes);
    assert_non_null(m.bytes);
    for (uint32_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i]->input)
            write_tensor(&m, g->tensors[i]);
    for (int prompt = 0; prompt < prompts; prompt++) {
        run_nodes(&m, 0, plan->first_step);
        for (int step = 0; step < steps; step++)
            run_nodes(&m, plan->first_step, plan->count);
    }
    free(m.bytes);
}

/* ---- barriers ---- */

/* What nodes since the last barrier read and wrote. */
struct pending {
    bool *read, *written;
};

static bool any(const bool *marks, const sd_tensor *t) {
    if (t->parts[0])
        return any(marks, t->parts[0]) || any(marks, t->parts[1]);
    bool found = false;
    for (uint64_t i = 0; i < t->owner->bytes; i++)
        found = found || marks[t->owner->place + i];
    return found;
}

static void mark(bool *marks, const sd_tensor *t) {
    if (t->parts[0]) {
        mark(marks, t->parts[0]);
        mark(marks, t->parts[1]);
    } else
        memset(marks + t->owner->place, true, t->owner->bytes);
}

/* Views count as their owners: an owner's channels lie interleaved all over its memory. */
static void check_barriers(const sd_plan *plan) {
    uint64_t size = plan->stats.activation_bytes + 1;
    struct pending p = {calloc(size, 1), calloc(size, 1)};
    uint32_t counted[2] = {0, 0};
    assert_true(p.read && p.written);
    for (uint32_t at = 0; at < plan->count; at++) {
        const sd_node *node = plan->order[at];
        bool hazard = any(p.read, node->out) || any(p.written, node->out);
        for (int i = 0; i < SD_NODE_INPUTS; i++)
            hazard = hazard || (node->in[i] && any(p.written, node->in[i]));
        bool begins = at == plan->first_step; /* another submission, which has waited */
        if (plan->barrier[at] != (hazard && !begins))
            fail_msg("node %u of %u: %s barrier", at, plan->count, plan->barrier[at] ? "a needless" : "no");
        counted[node->rate] += plan->barrier[at];
        if (begins || plan->barrier[at]) {
            memset(p.read, 0, size);
            memset(p.written, 0, size);
        }
        mark(p.written, node->out);
        for (int i = 0; i < SD_NODE_INPUTS; i++)
            if (node->in[i])
                mark(p.read, node->in[i]);
    }
    assert_memory_equal(counted, plan->stats.barriers, sizeof counted);
    free(p.read);
    free(p.written);
}

/* ---- the order, the statistics ---- */

/* Every node once: first those of the prompt, in recording order, then those of the step. */
static void check_order(const sd_plan *plan) {
    const sd_graph *g = plan->graph;
    uint32_t next = 0;
    for (int rate = SD_RATE_PROMPT; rate <= SD_RATE_STEP; rate++) {
        for (uint32_t i = 0; i < g->node_count; i++)
            if ((int)g->nodes[i]->rate == rate)
                assert_ptr_equal(plan->order[next++], g->nodes[i]);
        if (rate == SD_RATE_PROMPT)
            assert_int_equal(plan->first_step, next);
    }
    assert_int_equal(plan->count, next);
    assert_int_equal(plan->stats.nodes[SD_RATE_PROMPT], plan->first_step);
    assert_int_equal(plan->stats.nodes[SD_RATE_STEP], plan->count - plan->first_step);
}

/* No byte more than the last tensor needs. */
static void check_peak(const sd_plan *plan, uint32_t guard) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < plan->graph->tensor_count; i++) {
        const sd_tensor *t = plan->graph->tensors[i];
        uint64_t behind = t->place + (t->bytes + guard + 255) / 256 * 256;
        end = behind > end ? behind : end;
    }
    assert_int_equal(plan->stats.activation_bytes, end);
}

static void check_apart(const sd_plan *plan, uint32_t guard) {
    const sd_graph *g = plan->graph;
    for (uint32_t i = 0; i < g->tensor_count; i++)
        for (uint32_t j = 0; j < i; j++) {
            const sd_tensor *a = g->tensors[i], *b = g->tensors[j];
            assert_true(a->place + a->bytes + guard <= b->place || b->place + b->bytes + guard <= a->place);
        }
}

static void random_plans_hold(void **state) {
    (void)state;
    static const uint32_t guards[] = {0, 0, 1, 300, 1024};
    uint64_t with = 0, without = 0;
    for (uint32_t seed = 0; seed < graphs; seed++) {
        sd_graph *g = random_graph(seed);
        struct sd_plan_options options = {guards[seed % (sizeof guards / sizeof *guards)], false};
        for (int no_reuse = 0; no_reuse < 2; no_reuse++) {
            sd_plan *plan;
            sd_error err;
            options.no_reuse = no_reuse;
            assert_int_equal(sd_plan_create(&plan, g, &options, &err), SD_OK);
            check_order(plan);
            check_peak(plan, options.guard);
            check_memory(plan, options.guard);
            check_barriers(plan);
            if (no_reuse)
                check_apart(plan, options.guard);
            *(no_reuse ? &without : &with) += plan->stats.activation_bytes;
            sd_plan_destroy(&plan);
        }
        sd_graph_destroy(&g);
    }
    assert_true(with * 2 < without); /* so that the checks met much reuse */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_plans_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
