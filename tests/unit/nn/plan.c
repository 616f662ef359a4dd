/* The planner on small graphs whose plans are worked out by hand. */
#include "tests/unit/nn/fixture.h"

#include "sd/nn/op.h"
#include "sd/nn/plan.h"

#include <string.h>

static sd_graph *new_graph(void) {
    sd_graph *g;
    sd_error err;
    assert_int_equal(sd_graph_create(&g, &gpu, SD_F32, &err), SD_OK);
    return g;
}

static sd_plan *planned(sd_graph *g, const struct sd_plan_options *options) {
    sd_plan *plan;
    sd_error err;
    if (sd_plan_create(&plan, g, options, &err))
        fail_msg("%s", err.message);
    return plan;
}

/* 512 bytes, like everything that is computed from it. */
static sd_tensor *row(sd_graph *g, const char *name, sd_rate rate) {
    return sd_graph_input(g, name, rate, SD_F32, 1, 1, 2, 64);
}

static sd_tensor *doubled(sd_graph *g, sd_tensor *x) {
    return sd_scale(g, x, 2, 0);
}

static void expect_barriers(const sd_plan *plan, const char *expected) {
    char found[64] = "";
    for (uint32_t i = 0; i < plan->count; i++)
        strcat(found, plan->barrier[i] ? "|" : "-");
    assert_string_equal(found, expected);
}

/* Recorded      writes  reads  planned as       alive at the same time
 * 0  double     a       s      2                p s       q
 * 1  double     q       p      0                p s       q r
 * 2  double     r       q      1                p s a       r
 * 3  double     b       a      3                p s a b     r
 * 4  add        c       b r    4                p s   b c   r
 * 5  double     out     c      5                p s     c   r out
 * Inputs stay, and so does r, which later steps read again. */
static void order_memory_and_statistics(void **state) {
    (void)state;
    sd_graph *g = new_graph();
    sd_tensor *s = row(g, "s", SD_RATE_STEP), *p = row(g, "p", SD_RATE_PROMPT);
    sd_tensor *a = doubled(g, s), *q = doubled(g, p), *r = doubled(g, q), *b = doubled(g, a);
    sd_tensor *c = sd_add(g, b, r), *out = sd_graph_output(g, doubled(g, c), "out");
    sd_plan *plan = planned(g, NULL);
    const int32_t order[] = {1, 2, 0, 3, 4, 5};
    assert_int_equal(plan->count, 6);
    assert_int_equal(plan->first_step, 2);
    for (uint32_t i = 0; i < 6; i++)
        assert_ptr_equal(plan->order[i], g->nodes[order[i]]);
    /* No barrier at the first node of the step, which begins a submission. */
    expect_barriers(plan, "-|-|||");
    assert_int_equal(plan->stats.activation_bytes, 5 * 512);
    assert_int_equal(plan->stats.nodes[SD_RATE_PROMPT], 2);
    assert_int_equal(plan->stats.nodes[SD_RATE_STEP], 4);
    assert_int_equal(plan->stats.barriers[SD_RATE_PROMPT], 1);
    assert_int_equal(plan->stats.barriers[SD_RATE_STEP], 3);
    /* 128 values: a scale is a multiplication and an addition of each, and moves 512 bytes twice; an addition
     * moves them three times. */
    assert_int_equal(plan->stats.flop[SD_RATE_PROMPT], 2 * 256);
    assert_int_equal(plan->stats.flop[SD_RATE_STEP], 3 * 256 + 128);
    assert_int_equal(plan->stats.bytes[SD_RATE_PROMPT], 2 * 1024);
    assert_int_equal(plan->stats.bytes[SD_RATE_STEP], 3 * 1024 + 1536);
    /* q is dead when a is written, a when c is, b when out is: smallest places first. */
    assert_int_equal(q->place, a->place);
    assert_int_equal(a->place, c->place);
    assert_int_equal(b->place, out->place);
    sd_plan_destroy(&plan);
    assert_null(plan);
    sd_graph_destroy(&g);
}

/* Multiplications and additions of layers, per rate; the sizes of packed weights count among the bytes. */
static void work_of_layers(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    sd_linear(f.g, f.prompt, f.linear, NULL);
    sd_conv2d(f.g, f.x, f.conv, NULL);
    sd_conv2d_down(f.g, f.x, f.conv, 1, NULL);
    sd_upsample_conv2d(f.g, f.x, f.upsample, NULL);
    sd_linear_geglu(f.g, f.x, f.geglu);
    sd_attention(f.g, f.x, f.prompt, f.prompt, &(sd_attention_params){.heads = 1});
    sd_plan *plan = planned(f.g, NULL);
    assert_int_equal(plan->stats.flop[SD_RATE_PROMPT], 2 * 7 * 8 * 16);
    /* A doubled picture takes four 2x2 filters a small pixel in place of nine taps a large one. */
    assert_int_equal(
        plan->stats.flop[SD_RATE_STEP],
        2 * (24 * 9 * 8 * 16 + 6 * 9 * 8 * 16 + 24 * 4 * 4 * 8 * 16 + 24 * 8 * 20 + 2 * 24 * 7 * 8));
    assert_int_equal(plan->stats.bytes[SD_RATE_PROMPT], f.linear.weight->bytes + 2 * 7 * (8 + 16));
    sd_plan_destroy(&plan);
    close_fixture(&f);
}

/* Nodes that touch different bytes need no barrier, until one takes over memory that another still reads. */
static void reused_memory_needs_barriers(void **state) {
    (void)state;
    for (int no_reuse = 0; no_reuse < 2; no_reuse++) {
        sd_graph *g = new_graph();
        sd_tensor *s = row(g, "s", SD_RATE_STEP), *a = doubled(g, s), *b = doubled(g, a), *c = doubled(g, s);
        sd_graph_output(g, b, "b");
        sd_graph_output(g, c, "c");
        sd_plan *plan = planned(g, &(struct sd_plan_options){.no_reuse = no_reuse});
        if (no_reuse) {
            expect_barriers(plan, "-|-");
            assert_int_equal(plan->stats.activation_bytes, 4 * 512);
        } else {
            assert_int_equal(a->place, c->place);
            expect_barriers(plan, "-||");
            assert_int_equal(plan->stats.activation_bytes, 3 * 512);
        }
        sd_plan_destroy(&plan);
        sd_graph_destroy(&g);
    }
}

/* A slice, a reshaped tensor and the parts of a concatenation keep the memory of their owners. */
static void views_keep_their_owners(void **state) {
    (void)state;
    sd_graph *g = new_graph();
    sd_tensor *s = row(g, "s", SD_RATE_STEP);
    sd_tensor *a = doubled(g, s), *b = doubled(g, s), *c = doubled(g, s), *d = doubled(g, s);
    sd_tensor *both = sd_concat(g, a, sd_slice(g, b, 2, 3)), *shaped = sd_reshape(g, c, 1, 2, 1, 64);
    sd_tensor *between = doubled(g, d);
    sd_tensor *e = doubled(g, shaped), *last = doubled(g, both);
    sd_plan *plan = planned(g, NULL);
    /* All readings come after `between`, which can only have the memory that nobody holds. */
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(between->place, ((sd_tensor *[]){a, b, c, d})[i]->place);
    assert_int_not_equal(e->place, a->place);
    assert_int_not_equal(e->place, b->place);
    assert_true(last->place >= a->place + a->bytes || a->place >= last->place + last->bytes);
    assert_true(last->place >= b->place + b->bytes || b->place >= last->place + last->bytes);
    sd_plan_destroy(&plan);
    /* The four copies of s are independent, and those who read them wait once. */
    plan = planned(g, &(struct sd_plan_options){.no_reuse = true});
    expect_barriers(plan, "----|--");
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
}

static void guards_lie_behind_every_tensor(void **state) {
    (void)state;
    sd_graph *g = new_graph();
    sd_tensor *a = row(g, "a", SD_RATE_STEP), *b = row(g, "b", SD_RATE_STEP);
    sd_plan *plan = planned(g, &(struct sd_plan_options){.guard = 1});
    assert_int_equal(plan->stats.activation_bytes, 2 * 768); /* places are multiples of 256 */
    assert_int_equal(a->place + b->place, 768);
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
}

static void nothing_to_do(void **state) {
    (void)state;
    sd_graph *g = new_graph();
    sd_plan *plan = planned(g, NULL);
    assert_int_equal(plan->count + plan->first_step + plan->stats.activation_bytes, 0);
    sd_plan_destroy(&plan);
    row(g, "s", SD_RATE_STEP);
    plan = planned(g, NULL);
    assert_int_equal(plan->count, 0);
    assert_int_equal(plan->stats.activation_bytes, 512);
    sd_plan_destroy(&plan);
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
}

static void failed_graphs_have_no_plan(void **state) {
    (void)state;
    sd_graph *g = new_graph();
    sd_plan *plan = (sd_plan *)g;
    sd_error err;
    sd_graph_scope(g, "up.3");
    sd_slice(g, row(g, "s", SD_RATE_STEP), 60, 5);
    assert_int_equal(sd_plan_create(&plan, g, NULL, &err), SD_E_INTERNAL);
    assert_string_equal(err.message, "up.3: slice: channels 60 to 65 of 64");
    assert_null(plan);
    sd_graph_destroy(&g);
}

/* Sizes that wrap are refused, whichever sum wraps: a tensor and its guard, its rounding, or two tensors.
 * Builders never make such tensors, so their sizes are changed afterwards. */
static void sizes_that_wrap_are_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t first, second;
        uint32_t guard;
    } cases[] = {{UINT64_MAX, 512, 0},
                 {UINT64_MAX - 100, 512, 0},
                 {UINT64_MAX - 600, 512, 1000},
                 {UINT64_C(1) << 63, UINT64_C(1) << 63, 0},
                 {UINT64_MAX - 255, 512, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_graph *g = new_graph();
        sd_plan *plan = (sd_plan *)g;
        sd_error err;
        row(g, "a", SD_RATE_STEP)->bytes = cases[i].first;
        row(g, "b", SD_RATE_STEP)->bytes = cases[i].second;
        const struct sd_plan_options options = {.guard = cases[i].guard};
        assert_int_equal(sd_plan_create(&plan, g, &options, &err), SD_E_UNSUPPORTED);
        assert_string_equal(err.message, "the activations of this size do not fit into 2^64 bytes");
        assert_null(plan);
        sd_graph_destroy(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_memory_and_statistics),    cmocka_unit_test(work_of_layers),
        cmocka_unit_test(reused_memory_needs_barriers),   cmocka_unit_test(views_keep_their_owners),
        cmocka_unit_test(guards_lie_behind_every_tensor), cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(failed_graphs_have_no_plan),     cmocka_unit_test(sizes_that_wrap_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
