/* Running plans: the same bytes every time, in one submission or many, with hooks or without. */
#include "tests/op/optest.h"

#include "sd/nn/op.h"
#include "shaders/shaders.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { out_values = 6 * 5 * 12 };

/* Something like a block of a UNet: an input of each rate, every kind of dispatch, a few reused places. */
struct network {
    sd_vk *vk;
    sd_graph *g;
    sd_weights *w;
    sd_tensor *x, *text, *out;
    sd_plan *plan;
};

static sd_tensor *forward(struct network *n) {
    sd_graph *g = n->g;
    const sd_layer keys =
        sd_bind_stack(n->w, 32, 16, true, (const char *const[]){"to_k", "to_v", NULL}, "%s", "");
    const sd_layer in = sd_bind_conv(n->w, 32, 8, 3, "in"), out = sd_bind_linear(n->w, 12, 64, true, "out");
    const sd_layer norm = sd_bind_norm(n->w, 32, "norm");
    sd_error err;
    assert_int_equal(sd_weights_random(n->w, n->vk, SD_WEIGHTS_F16, 7, &err), SD_OK);
    sd_graph_scope(g, "block");
    sd_tensor *kv = sd_linear(g, sd_cast(g, n->text, g->act), keys, NULL);
    sd_tensor *h = sd_conv2d(g, sd_cast(g, n->x, g->act), in, &(sd_fuse){.act = SD_ACT_SILU});
    sd_tensor *skip = h;
    h = sd_group_norm(g, h, norm, 4, 1e-5f, SD_ACT_NONE);
    h = sd_attention(g, h, sd_slice(g, kv, 0, 32), sd_slice(g, kv, 32, 32),
                     &(sd_attention_params){.heads = 2});
    h = sd_linear(g, sd_concat(g, h, skip), out, &(sd_fuse){.f32 = true});
    return sd_graph_output(g, sd_scale(g, h, 0.5f, 1), "out");
}

static struct network open_network(void **state, bool no_reuse) {
    struct network n = {.vk = *state};
    sd_error err;
    assert_int_equal(sd_graph_create(&n.g, sd_vk_info(n.vk), SD_F16, &err), SD_OK);
    assert_int_equal(sd_weights_create(&n.w, &err), SD_OK);
    n.x = sd_graph_input(n.g, "x", SD_RATE_STEP, SD_F32, 1, 6, 5, 8);
    n.text = sd_graph_input(n.g, "text", SD_RATE_PROMPT, SD_F32, 1, 1, 7, 16);
    n.out = forward(&n);
    if (sd_plan_create(&n.plan, n.g, &(struct sd_plan_options){.no_reuse = no_reuse}, &err))
        fail_msg("%s", err.message);
    assert_true(n.plan->first_step > 0 && n.plan->first_step < n.plan->count);
    return n;
}

static void close_network(struct network *n) {
    sd_plan_destroy(&n->plan);
    sd_weights_destroy(n->vk, &n->w);
    sd_graph_destroy(&n->g);
}

static sd_exec *start(const struct network *n, const struct sd_exec_options *options) {
    sd_exec *exec;
    sd_error err;
    if (sd_exec_create(&exec, n->vk, n->plan, options, &err))
        fail_msg("%s", err.message);
    return exec;
}

/* Values that tell their places, for another `seed` others. */
static void feed(sd_exec *exec, const sd_tensor *t, float seed) {
    float values[512];
    sd_error err;
    uint32_t count = sd_tensor_rows(t) * t->c;
    for (uint32_t i = 0; i < count; i++)
        values[i] = sinf((float)i * 0.7f + seed);
    assert_int_equal(sd_exec_write(exec, t, values, count * sizeof *values, &err), SD_OK);
}

static void run(sd_exec *exec, sd_rate rate) {
    sd_error err;
    if (sd_exec_run(exec, rate, &err))
        fail_msg("%s", err.message);
}

static void read_out(const struct network *n, sd_exec *exec, float out[out_values]) {
    sd_error err;
    if (sd_exec_read(exec, n->out, out, out_values * sizeof *out, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < out_values; i++)
        assert_true(isfinite(out[i]));
}

/* The output for inputs 1 and 2, with the given options. */
static void result(const struct network *n, const struct sd_exec_options *options, float out[out_values]) {
    sd_exec *exec = start(n, options);
    feed(exec, n->text, 1);
    feed(exec, n->x, 2);
    run(exec, SD_RATE_PROMPT);
    run(exec, SD_RATE_STEP);
    read_out(n, exec, out);
    sd_exec_destroy(&exec);
}

/* Nothing of an earlier step or prompt is left in a later one. */
static void runs_repeat(void **state) {
    struct network n = open_network(state, false);
    sd_exec *exec = start(&n, NULL);
    float first[out_values], again[out_values], other[out_values];
    result(&n, NULL, first);
    feed(exec, n.text, 1);
    feed(exec, n.x, 2);
    run(exec, SD_RATE_PROMPT);
    for (int i = 0; i < 3; i++) {
        run(exec, SD_RATE_STEP);
        read_out(&n, exec, again);
        assert_memory_equal(again, first, sizeof first);
    }
    feed(exec, n.x, 3);
    run(exec, SD_RATE_STEP);
    read_out(&n, exec, other);
    assert_memory_not_equal(other, first, sizeof first);
    feed(exec, n.text, 4);
    run(exec, SD_RATE_PROMPT);
    run(exec, SD_RATE_STEP);
    read_out(&n, exec, again);
    assert_memory_not_equal(again, other, sizeof first);
    feed(exec, n.text, 1);
    feed(exec, n.x, 2);
    run(exec, SD_RATE_PROMPT);
    run(exec, SD_RATE_STEP);
    read_out(&n, exec, again);
    assert_memory_equal(again, first, sizeof first);
    sd_exec_destroy(&exec);
    assert_null(exec);
    close_network(&n);
}

/* ---- hooks ---- */

struct visits {
    const struct network *n;
    uint32_t count, stop;
    float values[32][1024];
};

static size_t read_node(sd_exec *exec, const sd_node *node, float values[1024]) {
    sd_error err;
    size_t bytes = (size_t)sd_tensor_rows(node->out) * node->out->c * sizeof *values;
    assert_true(bytes <= 1024 * sizeof *values);
    if (sd_exec_read(exec, node->out, values, bytes, &err))
        fail_msg("%s", err.message);
    return bytes;
}

static sd_status visit(void *user, sd_exec *exec, const sd_node *node, sd_error *err) {
    struct visits *v = user;
    assert_ptr_equal(node, v->n->plan->order[v->count]);
    read_node(exec, node, v->values[v->count]);
    if (++v->count == v->stop)
        return sd_fail(err, SD_E_NUMERIC, "stop at %s", node->name);
    return SD_OK;
}

/* What hooks see after each node is what lies there after a plain run in which no memory is used again. */
static void hooks_see_every_node(void **state) {
    struct network n = open_network(state, true);
    struct visits *v = calloc(1, sizeof *v);
    sd_exec *exec = start(&n, NULL);
    sd_error err;
    assert_non_null(v);
    v->n = &n;
    assert_true(n.plan->count <= 32);
    feed(exec, n.text, 1);
    feed(exec, n.x, 2);
    assert_int_equal(sd_exec_run_hooked(exec, visit, v, &err), SD_OK);
    assert_int_equal(v->count, n.plan->count);
    sd_exec_destroy(&exec);
    exec = start(&n, NULL);
    feed(exec, n.text, 1);
    feed(exec, n.x, 2);
    run(exec, SD_RATE_PROMPT);
    run(exec, SD_RATE_STEP);
    for (uint32_t i = 0; i < n.plan->count; i++) {
        float plain[1024];
        size_t bytes = read_node(exec, n.plan->order[i], plain);
        assert_memory_equal(plain, v->values[i], bytes);
    }
    sd_exec_destroy(&exec);
    free(v);
    close_network(&n);
}

static void hooks_with_reused_memory(void **state) {
    struct network n = open_network(state, false);
    struct visits *v = calloc(1, sizeof *v);
    sd_exec *exec = start(&n, NULL);
    float plain[out_values], hooked[out_values];
    sd_error err;
    assert_non_null(v);
    v->n = &n;
    feed(exec, n.text, 1);
    feed(exec, n.x, 2);
    assert_int_equal(sd_exec_run_hooked(exec, visit, v, &err), SD_OK);
    read_out(&n, exec, hooked);
    result(&n, NULL, plain);
    assert_memory_equal(hooked, plain, sizeof plain);
    /* The first status that is not OK ends the run. */
    v->count = 0;
    v->stop = 3;
    assert_int_equal(sd_exec_run_hooked(exec, visit, v, &err), SD_E_NUMERIC);
    assert_int_equal(v->count, 3);
    assert_memory_equal(err.message, "stop at block.", strlen("stop at block."));
    sd_exec_destroy(&exec);
    free(v);
    close_network(&n);
}

/* ---- submissions ---- */

struct counter {
    uint32_t asked, cancel_at; /* 0: never */
};

static bool count_submissions(void *user) {
    struct counter *c = user;
    return ++c->asked == c->cancel_at;
}

/* CPUs are asked before every submission, and get one at a time. */
static void work_is_cut_into_submissions(void **state) {
    struct network n = open_network(state, false);
    float whole[out_values], cut[out_values];
    uint64_t flop = n.plan->stats.flop[SD_RATE_STEP];
    uint32_t last = UINT32_MAX;
    result(&n, NULL, whole);
    for (uint64_t limit = flop * 2; limit; limit /= 4) {
        struct counter counter = {0, 0};
        const struct sd_exec_options options = {
            .submit_flop = limit, .cancelled = count_submissions, .user = &counter};
        result(&n, &options, cut);
        assert_memory_equal(cut, whole, sizeof whole);
        if (limit > flop)
            assert_int_equal(counter.asked, 2); /* one a rate */
        else
            assert_true(counter.asked >= last);
        last = counter.asked;
    }
    assert_int_equal(last, n.plan->count);
    close_network(&n);
}

static void cancelling_stops_between_submissions(void **state) {
    struct network n = open_network(state, false);
    struct counter counter = {0, 0};
    const struct sd_exec_options options = {
        .submit_flop = 1, .cancelled = count_submissions, .user = &counter};
    sd_exec *exec = start(&n, &options);
    float whole[out_values], after[out_values];
    sd_error err;
    result(&n, NULL, whole);
    feed(exec, n.text, 1);
    feed(exec, n.x, 2);
    run(exec, SD_RATE_PROMPT);
    for (uint32_t at = 1; at <= n.plan->count - n.plan->first_step; at++) {
        counter = (struct counter){0, at};
        assert_int_equal(sd_exec_run(exec, SD_RATE_STEP, &err), SD_E_CANCELLED);
        assert_string_equal(err.message, "cancelled");
        assert_int_equal(counter.asked, at);
    }
    counter = (struct counter){0, 0};
    run(exec, SD_RATE_STEP);
    read_out(&n, exec, after);
    assert_memory_equal(after, whole, sizeof whole);
    sd_exec_destroy(&exec);
    close_network(&n);
}

/* ---- times ---- */

static void times_of_all_nodes(void **state) {
    struct network n = open_network(state, false);
    for (int cut = 0; cut < 2; cut++) {
        const struct sd_exec_options options = {.profile = true, .submit_flop = (uint64_t)cut};
        sd_exec *exec = start(&n, &options);
        double seconds[64], sum = 0;
        sd_error err;
        uint32_t count = n.plan->count;
        assert_true(count < 64);
        /* Nothing ran yet. */
        assert_int_equal(sd_exec_times(exec, seconds, count, &err), SD_OK);
        for (uint32_t i = 0; i < count; i++)
            assert_true(seconds[i] == 0);
        feed(exec, n.text, 1);
        feed(exec, n.x, 2);
        run(exec, SD_RATE_PROMPT);
        run(exec, SD_RATE_STEP);
        for (uint32_t i = 0; i <= count; i++)
            seconds[i] = -1;
        assert_int_equal(sd_exec_times(exec, seconds, count, &err), SD_OK);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(seconds[i] >= 0);
            sum += seconds[i];
        }
        assert_true(sum > 0 && seconds[count] == -1);
        sd_exec_destroy(&exec);
    }
    close_network(&n);
}

static void times_are_refused(void **state) {
    struct network n = open_network(state, false);
    double seconds[64];
    sd_error err;
    char expected[128];
    snprintf(expected, sizeof expected,
             "node times: expected a profiling executor and room for %u nodes, found 3", n.plan->count);
    for (int profile = 0; profile < 2; profile++) {
        sd_exec *exec = start(&n, &(struct sd_exec_options){.profile = profile});
        assert_int_equal(sd_exec_times(exec, seconds, 3, &err), SD_E_ARGUMENT);
        assert_string_equal(err.message, expected);
        if (!profile)
            assert_int_equal(sd_exec_times(exec, seconds, n.plan->count, &err), SD_E_ARGUMENT);
        sd_exec_destroy(&exec);
    }
    close_network(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_repeat),
        cmocka_unit_test(hooks_see_every_node),
        cmocka_unit_test(hooks_with_reused_memory),
        cmocka_unit_test(work_is_cut_into_submissions),
        cmocka_unit_test(cancelling_stops_between_submissions),
        cmocka_unit_test(times_of_all_nodes),
        cmocka_unit_test(times_are_refused),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
