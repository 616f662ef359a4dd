/* Recording a network, without a device: shapes, rates, names and views. */
#include "tests/unit/nn/fixture.h"

#include <string.h>

/* ---- what builders return ---- */

static void expect_shape(const sd_tensor *t, sd_dtype dtype, uint32_t n, uint32_t h, uint32_t w, uint32_t c) {
    assert_non_null(t);
    if (t->n != n || t->h != h || t->w != w || t->c != c || t->dtype != dtype)
        fail_msg("expected %s [%u,%u,%u,%u], found %s [%u,%u,%u,%u]", sd_dtype_name(dtype), n, h, w, c,
                 sd_dtype_name(t->dtype), t->n, t->h, t->w, t->c);
}

static void shapes_are_inferred(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    const sd_fuse f32 = {.f32 = true};
    const sd_attention_params two = {.heads = 1};
    sd_tensor *odd = sd_graph_input(f.g, "odd", SD_RATE_STEP, SD_F16, 1, 5, 3, 8);
    expect_shape(sd_linear(f.g, f.x, f.linear, NULL), SD_F16, 1, 4, 6, 16);
    expect_shape(sd_linear(f.g, f.x, f.linear, &f32), SD_F32, 1, 4, 6, 16);
    expect_shape(sd_linear_geglu(f.g, f.x, f.geglu), SD_F16, 1, 4, 6, 10);
    expect_shape(sd_conv2d(f.g, f.x, f.conv, NULL), SD_F16, 1, 4, 6, 16);
    expect_shape(sd_conv2d_down(f.g, f.x, f.conv, 1, NULL), SD_F16, 1, 2, 3, 16);
    expect_shape(sd_conv2d_down(f.g, odd, f.conv, 1, NULL), SD_F16, 1, 3, 2, 16);
    expect_shape(sd_conv2d_down(f.g, odd, f.conv, 0, NULL), SD_F16, 1, 2, 1, 16);
    expect_shape(sd_upsample_conv2d(f.g, f.x, f.upsample, NULL), SD_F16, 1, 8, 12, 16);
    expect_shape(sd_resize_nearest(f.g, f.x, 7, 5), SD_F16, 1, 7, 5, 8);
    expect_shape(sd_group_norm(f.g, f.x, f.norm, 4, 1e-5f, SD_ACT_SILU), SD_F16, 1, 4, 6, 8);
    expect_shape(sd_layer_norm(f.g, f.x, f.norm, 1e-5f), SD_F16, 1, 4, 6, 8);
    expect_shape(sd_attention(f.g, f.x, f.prompt, f.prompt, &two), SD_F16, 1, 4, 6, 8);
    expect_shape(sd_activate(f.g, f.x, SD_ACT_GELU), SD_F16, 1, 4, 6, 8);
    expect_shape(sd_add(f.g, f.x, f.x), SD_F16, 1, 4, 6, 8);
    expect_shape(sd_scale(f.g, f.t, 2, 1), SD_F32, 2, 1, 1, 1);
    expect_shape(sd_lerp(f.g, f.x, f.x, 0.5f), SD_F16, 1, 4, 6, 8);
    expect_shape(sd_cast(f.g, f.x, SD_F32), SD_F32, 1, 4, 6, 8);
    expect_shape(sd_copy(f.g, f.tokens), SD_I32, 1, 1, 5, 1);
    expect_shape(sd_embedding(f.g, f.tokens, f.table, NULL), SD_F16, 1, 1, 5, 8);
    expect_shape(sd_timestep_embedding(f.g, f.t, 9, true, 0), SD_F32, 2, 1, 1, 9);
    expect_shape(sd_concat(f.g, f.x, f.wide), SD_F16, 1, 4, 6, 20);
    expect_shape(sd_slice(f.g, f.wide, 2, 7), SD_F16, 1, 4, 6, 7);
    expect_shape(sd_reshape(f.g, f.x, 3, 2, 1, 32), SD_F16, 3, 2, 1, 32);
    close_fixture(&f);
}

/* What has nothing to do adds no node. */
static void idle_builders_return_their_input(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    assert_ptr_equal(sd_cast(f.g, f.x, SD_F16), f.x);
    assert_ptr_equal(sd_activate(f.g, f.x, SD_ACT_NONE), f.x);
    assert_ptr_equal(sd_graph_whole(f.g, f.x), f.x);
    sd_tensor *slice = sd_slice(f.g, f.wide, 4, 8);
    assert_ptr_equal(sd_graph_whole(f.g, slice), slice);
    assert_null(sd_graph_whole(f.g, NULL));
    assert_int_equal(f.g->node_count, 0);
    close_fixture(&f);
}

static void whole_copies_a_concatenation(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    sd_tensor *both = sd_concat(f.g, f.x, f.wide);
    assert_null(both->owner);
    assert_ptr_equal(both->parts[0], f.x);
    assert_ptr_equal(both->parts[1], f.wide);
    sd_tensor *whole = sd_graph_whole(f.g, both);
    expect_shape(whole, SD_F16, 1, 4, 6, 20);
    assert_ptr_equal(whole->owner, whole);
    assert_null(whole->parts[0]);
    assert_int_equal(f.g->node_count, 1);
    assert_string_equal(f.g->nodes[0]->name, "copy");
    assert_ptr_equal(f.g->nodes[0]->in[0], both);
    assert_ptr_equal(f.g->nodes[0]->out, whole);
    assert_int_equal(whole->producer, 0);
    sd_tensor *output = sd_graph_output(f.g, both, "out");
    assert_true(output->output && output->owner == output);
    assert_string_equal(output->name, "out");
    assert_int_equal(f.g->node_count, 2);
    /* Layers read at most their first input in two parts. */
    const sd_fuse fuse = {.vector =
                              sd_concat(f.g, sd_graph_input(f.g, "a", SD_RATE_STEP, SD_F16, 1, 1, 1, 10),
                                        sd_graph_input(f.g, "b", SD_RATE_STEP, SD_F16, 1, 1, 1, 6)),
                          .residual = sd_concat(f.g, f.x, f.x)};
    assert_non_null(sd_linear(f.g, f.x, f.linear, &fuse));
    assert_int_equal(f.g->node_count, 5);
    for (int i = 0; i < SD_NODE_INPUTS; i++)
        assert_true(!f.g->nodes[4]->in[i] || f.g->nodes[4]->in[i]->owner);
    close_fixture(&f);
}

/* An output's memory is that of its owner. */
static void outputs_mark_the_owner(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    sd_tensor *sum = sd_add(f.g, f.wide, f.wide), *view = sd_slice(f.g, sum, 0, 8);
    assert_ptr_equal(sd_graph_output(f.g, view, "view"), view);
    assert_true(sum->output);
    assert_null(sum->name);
    close_fixture(&f);
}

/* f16 pixels start at whole words. */
static void bytes_count_the_padding(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    static const struct {
        sd_dtype dtype;
        uint32_t c, pitch, bytes; /* of 6 pixels */
    } cases[] = {{SD_F16, 7, 8, 96}, {SD_F16, 8, 8, 96}, {SD_F32, 7, 7, 168}, {SD_I32, 1, 1, 24}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_tensor *t = sd_graph_tensor(f.g, cases[i].dtype, 1, 2, 3, cases[i].c);
        assert_non_null(t);
        assert_int_equal(t->pitch, cases[i].pitch);
        assert_int_equal(t->bytes, cases[i].bytes);
        assert_int_equal(t->producer, -1);
        assert_int_equal(sd_tensor_rows(t), 6);
    }
    close_fixture(&f);
}

/* ---- rates and names ---- */

static sd_rate last_rate(const sd_graph *g) {
    return g->nodes[g->node_count - 1]->rate;
}

static void nodes_take_the_fastest_rate(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    sd_tensor *slow = sd_scale(f.g, f.prompt, 2, 0), *other = sd_linear(f.g, slow, f.linear, NULL);
    assert_int_equal(other->rate, SD_RATE_PROMPT);
    assert_int_equal(last_rate(f.g), SD_RATE_PROMPT);
    sd_tensor *now = sd_graph_input(f.g, "now", SD_RATE_STEP, SD_F16, 1, 1, 7, 8);
    const sd_tensor *mixed = sd_add(f.g, slow, now);
    assert_int_equal(mixed->rate, SD_RATE_STEP);
    /* Through views: the concatenation's second part, then a part of that part. */
    sd_tensor *both = sd_concat(f.g, slow, now);
    assert_int_equal(both->rate, SD_RATE_STEP);
    sd_copy(f.g, both);
    assert_int_equal(last_rate(f.g), SD_RATE_STEP);
    sd_copy(f.g, sd_slice(f.g, both, 0, 8));
    assert_int_equal(last_rate(f.g), SD_RATE_PROMPT);
    sd_copy(f.g, sd_reshape(f.g, sd_slice(f.g, both, 10, 2), 1, 7, 1, 2));
    assert_int_equal(last_rate(f.g), SD_RATE_STEP);
    /* An optional input counts where it is there. */
    const sd_fuse fuse = {.vector = sd_graph_input(f.g, "vector", SD_RATE_STEP, SD_F16, 1, 1, 1, 16)};
    assert_int_equal(sd_linear(f.g, f.prompt, f.linear, &fuse)->rate, SD_RATE_STEP);
    assert_int_equal(sd_linear(f.g, f.prompt, f.linear, NULL)->rate, SD_RATE_PROMPT);
    close_fixture(&f);
}

static void names_begin_with_the_scope(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    char scope[200];
    memset(scope, 'a', sizeof scope - 1);
    scope[sizeof scope - 1] = 0;
    sd_add(f.g, f.x, f.x);
    sd_graph_scope(f.g, "down.%d.res.%d", 0, 1);
    sd_conv2d(f.g, f.x, f.conv, NULL);
    sd_graph_scope(f.g, "%s", "");
    sd_conv2d_down(f.g, f.x, f.conv, 1, NULL);
    sd_graph_scope(f.g, "%s", scope);
    sd_copy(f.g, f.x);
    assert_string_equal(f.g->nodes[0]->name, "add");
    assert_string_equal(f.g->nodes[1]->name, "down.0.res.1.conv2d");
    assert_string_equal(f.g->nodes[2]->name, "conv2d");
    scope[sizeof f.g->scope - 1] = 0;
    assert_memory_equal(f.g->nodes[3]->name, scope, strlen(scope));
    assert_string_equal(f.g->nodes[3]->name + strlen(scope), ".copy");
    close_fixture(&f);
}

/* ---- errors ---- */

/* After the first failure nothing more is recorded, nothing crashes, and the first message stays. */
static void errors_stick(void **state) {
    (void)state;
    struct fixture f = open_fixture();
    sd_error err;
    sd_graph_scope(f.g, "mid");
    assert_null(sd_graph_fail(f.g, SD_E_UNSUPPORTED, "the %s of %d", "first", 7));
    sd_graph_scope(f.g, "up");
    assert_null(sd_graph_fail(f.g, SD_E_INTERNAL, "the second"));
    const uint32_t tensors = f.g->tensor_count;
    const sd_attention_params heads = {.heads = 1};
    const sd_tensor *made[] = {
        sd_linear(f.g, f.x, f.linear, NULL),
        sd_linear(f.g, NULL, f.linear, NULL),
        sd_linear_geglu(f.g, f.x, f.geglu),
        sd_conv2d(f.g, f.x, f.conv, NULL),
        sd_conv2d(f.g, f.x, (sd_layer){NULL, NULL}, NULL),
        sd_conv2d_down(f.g, f.x, f.conv, 1, NULL),
        sd_upsample_conv2d(f.g, f.x, f.upsample, NULL),
        sd_resize_nearest(f.g, f.x, 2, 2),
        sd_group_norm(f.g, f.x, f.norm, 4, 1e-5f, SD_ACT_NONE),
        sd_layer_norm(f.g, f.x, f.norm, 1e-5f),
        sd_attention(f.g, f.x, f.x, f.x, &heads),
        sd_attention(f.g, NULL, f.x, f.x, &heads),
        sd_activate(f.g, f.x, SD_ACT_SILU),
        sd_activate(f.g, f.x, SD_ACT_NONE),
        sd_add(f.g, f.x, f.x),
        sd_add(f.g, f.x, NULL),
        sd_scale(f.g, f.x, 1, 1),
        sd_scale(f.g, NULL, 1, 1),
        sd_lerp(f.g, f.x, f.x, 1),
        sd_cast(f.g, f.x, SD_F32),
        sd_cast(f.g, f.x, SD_F16),
        sd_copy(f.g, f.x),
        sd_embedding(f.g, f.tokens, f.table, NULL),
        sd_timestep_embedding(f.g, f.t, 8, false, 0),
        sd_concat(f.g, f.x, f.wide),
        sd_slice(f.g, f.x, 0, 4),
        sd_reshape(f.g, f.x, 1, 6, 4, 8),
        sd_graph_input(f.g, "late", SD_RATE_STEP, SD_F32, 1, 1, 1, 1),
        sd_graph_output(f.g, f.x, "late"),
        sd_graph_output(f.g, NULL, "late"),
        sd_graph_whole(f.g, f.x),
        sd_graph_tensor(f.g, SD_F32, 1, 1, 1, 1),
    };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (made[i])
            fail_msg("builder %zu gave a tensor of a graph that failed", i);
    assert_int_equal(f.g->node_count, 0);
    assert_int_equal(f.g->tensor_count, tensors);
    assert_false(f.x->output);
    assert_int_equal(sd_graph_status(f.g, &err), SD_E_UNSUPPORTED);
    assert_string_equal(err.message, "mid: the first of 7");
    close_fixture(&f);
}

static void graphs_hold_f32_or_f16(void **state) {
    (void)state;
    sd_graph *g = (sd_graph *)state;
    sd_error err;
    assert_int_equal(sd_graph_create(&g, &gpu, SD_BF16, &err), SD_E_ARGUMENT);
    assert_null(g);
    assert_string_equal(err.message, "activations: expected F32 or F16, found BF16");
    sd_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_inferred),          cmocka_unit_test(idle_builders_return_their_input),
        cmocka_unit_test(whole_copies_a_concatenation), cmocka_unit_test(outputs_mark_the_owner),
        cmocka_unit_test(bytes_count_the_padding),      cmocka_unit_test(nodes_take_the_fastest_rate),
        cmocka_unit_test(names_begin_with_the_scope),   cmocka_unit_test(errors_stick),
        cmocka_unit_test(graphs_hold_f32_or_f16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
