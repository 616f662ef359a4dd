/* What the host writes and reads, and what an executor refuses. */
#include "tests/op/optest.h"

#include "sd/base/half.h"
#include "sd/nn/op.h"
#include "shaders/shaders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A planned graph on a device. */
struct bench {
    sd_vk *vk;
    sd_graph *g;
    sd_plan *plan;
    sd_exec *exec;
};

static struct bench begin(void **state) {
    struct bench b = {.vk = *state};
    sd_error err;
    assert_int_equal(sd_graph_create(&b.g, sd_vk_info(b.vk), SD_F16, &err), SD_OK);
    return b;
}

static sd_status create(struct bench *b, const struct sd_plan_options *options, sd_error *err) {
    if (sd_plan_create(&b->plan, b->g, options, err))
        fail_msg("%s", err->message);
    return sd_exec_create(&b->exec, b->vk, b->plan, NULL, err);
}

static void created(struct bench *b, const struct sd_plan_options *options) {
    sd_error err;
    if (create(b, options, &err))
        fail_msg("%s", err.message);
}

static void end(struct bench *b) {
    sd_exec_destroy(&b->exec);
    sd_plan_destroy(&b->plan);
    sd_graph_destroy(&b->g);
}

/* ---- transfers ---- */

/* f16 pixels of an odd number of channels have a gap, which the host does not see. What is written comes back
 * rounded to f16, directly and through a kernel, and the guards behind the tensors stay as they were. */
static void f16_with_odd_channels(void **state) {
    enum { pixels = 6, c = 7, count = pixels * c };
    const struct sd_plan_options guarded = {.guard = 256, .no_reuse = true};
    struct bench b = begin(state);
    sd_tensor *x = sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F16, 1, 2, 3, c);
    sd_tensor *y = sd_graph_output(b.g, sd_copy(b.g, x), "y");
    float values[count], direct[count + 1], copied[count];
    unsigned char memory[8192];
    sd_error err;
    created(&b, &guarded);
    sd_vk_buffer *buffer = sd_exec_buffer(b.exec);
    assert_true(buffer->size <= sizeof memory && buffer->size == b.plan->stats.activation_bytes);
    assert_int_equal(sd_vk_fill(b.vk, buffer, 0, buffer->size, 0xABABABAB, &err), SD_OK);
    for (int i = 0; i < count; i++)
        values[i] = (float)(i + 1) * 1.00048828125f; /* 1 + 2^-11: between two halves */
    direct[count] = -1;
    assert_int_equal(sd_exec_write(b.exec, x, values, sizeof values, &err), SD_OK);
    assert_int_equal(sd_exec_run(b.exec, SD_RATE_STEP, &err), SD_OK);
    assert_int_equal(sd_exec_read(b.exec, x, direct, sizeof values, &err), SD_OK);
    assert_int_equal(sd_exec_read(b.exec, y, copied, sizeof values, &err), SD_OK);
    for (int i = 0; i < count; i++)
        values[i] = sd_f32_from_f16(sd_f16_from_f32(values[i]));
    assert_memory_equal(direct, values, sizeof values);
    assert_memory_equal(copied, values, sizeof values);
    assert_true(direct[count] == -1);
    assert_int_equal(sd_vk_read(b.vk, buffer, 0, memory, buffer->size, &err), SD_OK);
    for (uint64_t i = 0; i < buffer->size; i++)
        if ((i < x->place || i >= x->place + x->bytes) && (i < y->place || i >= y->place + y->bytes))
            assert_int_equal(memory[i], 0xAB);
    end(&b);
}

/* f32 and i32 travel as they are, NaNs and all; so do reshaped owners. */
static void words_travel_unchanged(void **state) {
    static const uint32_t words[] = {0,          0x80000000, 1,          0x7F800001,
                                     0xFFC00123, 0x3F800000, 0xFFFFFFFF, 0x7FFFFFFF};
    struct bench b = begin(state);
    sd_tensor *x = sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F32, 1, 2, 1, 4);
    sd_tensor *i = sd_graph_input(b.g, "i", SD_RATE_PROMPT, SD_I32, 1, 8, 1, 1);
    sd_tensor *h = sd_graph_input(b.g, "h", SD_RATE_PROMPT, SD_F16, 1, 2, 1, 4);
    sd_tensor *const all[] = {x, i, sd_reshape(b.g, x, 1, 1, 1, 8), sd_reshape(b.g, i, 2, 2, 2, 1)};
    sd_tensor *line = sd_reshape(b.g, h, 1, 1, 4, 2);
    sd_error err;
    created(&b, NULL);
    for (int t = 0; t < 4; t++) {
        uint32_t found[8] = {0};
        assert_int_equal(sd_exec_write(b.exec, all[t], words, sizeof words, &err), SD_OK);
        assert_int_equal(sd_exec_read(b.exec, all[t], found, sizeof found, &err), SD_OK);
        assert_memory_equal(found, words, sizeof words);
    }
    const float values[] = {1, 2, 3, 4, 5, 6, 7, 8};
    float found[8];
    assert_int_equal(sd_exec_write(b.exec, line, values, sizeof values, &err), SD_OK);
    assert_int_equal(sd_exec_read(b.exec, h, found, sizeof found, &err), SD_OK);
    assert_memory_equal(found, values, sizeof values);
    end(&b);
}

static void expect_refused(struct bench *b, const sd_tensor *t, size_t bytes, const char *message) {
    static char data[4096];
    sd_error err = {SD_OK, ""};
    assert_int_equal(sd_exec_write(b->exec, t, data, bytes, &err), SD_E_INTERNAL);
    assert_string_equal(err.message, message);
    err = (sd_error){SD_OK, ""};
    assert_int_equal(sd_exec_read(b->exec, t, data, bytes, &err), SD_E_INTERNAL);
    assert_string_equal(err.message, message);
}

static void wrong_sizes_are_refused(void **state) {
    struct bench b = begin(state);
    sd_tensor *x = sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F32, 1, 2, 3, 7);
    sd_tensor *half = sd_graph_input(b.g, "half", SD_RATE_STEP, SD_F16, 1, 2, 3, 7);
    sd_tensor *unnamed = sd_copy(b.g, x);
    created(&b, NULL);
    expect_refused(&b, x, 164, "x: expected 168 bytes for [1,2,3,7], found 164");
    expect_refused(&b, x, 0, "x: expected 168 bytes for [1,2,3,7], found 0");
    expect_refused(&b, half, 84, "half: expected 168 bytes for [1,2,3,7], found 84");
    expect_refused(&b, half, 192, "half: expected 168 bytes for [1,2,3,7], found 192");
    expect_refused(&b, unnamed, 1, "tensor: expected 168 bytes for [1,2,3,7], found 1");
    end(&b);
}

/* Writing a part of an owner's channels would need its gaps read first. */
static void views_are_refused(void **state) {
    struct bench b = begin(state);
    sd_tensor *x = sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F32, 1, 2, 3, 8);
    sd_tensor *half = sd_graph_input(b.g, "half", SD_RATE_STEP, SD_F16, 1, 2, 3, 8);
    sd_tensor *const views[] = {sd_slice(b.g, x, 0, 4), sd_slice(b.g, x, 4, 4), sd_slice(b.g, half, 0, 4),
                                sd_slice(b.g, half, 4, 4), sd_slice(b.g, half, 0, 7)};
    created(&b, NULL);
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        assert_non_null(views[i]);
        expect_refused(&b, views[i], views[i]->c * 24, "tensor: views cannot be moved to or from the host");
    }
    expect_refused(&b, sd_concat(b.g, x, x), 384, "tensor: views cannot be moved to or from the host");
    end(&b);
}

/* ---- executors that cannot be made ---- */

static void unloaded_weights_are_named(void **state) {
    struct bench b = begin(state);
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    const sd_layer norm = sd_bind_norm(w, 8, "mid.norm"), linear = sd_bind_linear(w, 8, 8, true, "mid.proj");
    assert_int_equal(sd_weights_assume(w, sd_vk_info(b.vk), SD_WEIGHTS_F16, &err), SD_OK);
    sd_tensor *x = sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F16, 1, 1, 4, 8);
    sd_graph_scope(b.g, "mid");
    x = sd_linear(b.g, x, (sd_layer){linear.weight, NULL}, NULL);
    sd_graph_output(b.g, sd_layer_norm(b.g, x, norm, 1e-5f), "out");
    assert_int_equal(create(&b, NULL, &err), SD_E_INTERNAL);
    assert_string_equal(err.message, "mid.linear: weight 'mid.proj.weight' was not loaded");
    assert_null(b.exec);
    end(&b);
    /* The bias is looked for as well. */
    b = begin(state);
    sd_weight loaded = *linear.weight;
    loaded.address = 256;
    x = sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F16, 1, 1, 4, 8);
    sd_linear(b.g, x, (sd_layer){&loaded, linear.bias}, NULL);
    assert_int_equal(create(&b, NULL, &err), SD_E_INTERNAL);
    assert_string_equal(err.message, "linear: weight 'mid.proj.bias' was not loaded");
    end(&b);
    sd_weights_destroy(b.vk, &w);
}

/* One dispatch of no shader in particular with the groups that the node's parameters ask for. */
static void record_groups(const sd_node *node, sd_emit *e) {
    struct sd_dispatch d = {.shader = &sd_shader_peak_copy};
    memcpy(d.groups, node->params, sizeof d.groups);
    sd_emit_dispatch(e, &d);
    /* After a failure nothing is recorded, whatever follows. */
    sd_emit_dispatch(e, &(struct sd_dispatch){.groups = {1, 1, 1}});
    sd_emit_barrier(e);
}

static void too_many_workgroups_are_refused(void **state) {
    static const struct sd_op op = {"greedy", record_groups, NULL};
    const struct sd_vk_info *info = sd_vk_info(*state);
    const uint32_t *most = info->max_groups;
    const uint32_t cases[][3] = {{most[0] + 1, 1, 1}, {1, most[1] + 1, 1}, {1, 1, most[2] + 1}, {1, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t *groups = cases[i];
        struct bench b = begin(state);
        sd_error err;
        char expected[512];
        sd_graph_scope(b.g, "up.1");
        sd_graph_add(b.g, &op, sd_graph_tensor(b.g, SD_F32, 1, 1, 1, 4), NULL, 0, NULL, NULL, groups,
                     sizeof *cases);
        assert_int_equal(create(&b, NULL, &err), SD_E_UNSUPPORTED);
        snprintf(expected, sizeof expected,
                 "up.1.greedy needs %u x %u x %u workgroups; '%s' allows %u x %u x %u", groups[0], groups[1],
                 groups[2], info->name, most[0], most[1], most[2]);
        assert_string_equal(err.message, expected);
        assert_null(b.exec);
        end(&b);
    }
}

static void too_much_memory_is_refused(void **state) {
    struct bench b = begin(state);
    uint64_t limit = sd_vk_info(b.vk)->max_allocation;
    sd_error err;
    for (uint64_t gib = 0; gib <= limit >> 30 && gib < 1024; gib += 8)
        sd_graph_input(b.g, "x", SD_RATE_STEP, SD_F32, 1, 1, 1U << 31, 1);
    assert_int_equal(create(&b, NULL, &err), SD_E_DEVICE_MEMORY);
    assert_memory_equal(err.message, "activations needs ", strlen("activations needs "));
    assert_null(b.exec);
    end(&b);
    assert_int_equal(sd_vk_memory_used(b.vk), 0);
}

static void nothing_to_run(void **state) {
    struct bench b = begin(state);
    sd_error err;
    created(&b, NULL);
    assert_int_equal(sd_exec_run(b.exec, SD_RATE_PROMPT, &err), SD_OK);
    assert_int_equal(sd_exec_run(b.exec, SD_RATE_STEP, &err), SD_OK);
    assert_int_equal(sd_exec_run_hooked(b.exec, NULL, NULL, &err), SD_OK);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_with_odd_channels),      cmocka_unit_test(words_travel_unchanged),
        cmocka_unit_test(wrong_sizes_are_refused),    cmocka_unit_test(views_are_refused),
        cmocka_unit_test(unloaded_weights_are_named), cmocka_unit_test(too_many_workgroups_are_refused),
        cmocka_unit_test(too_much_memory_is_refused), cmocka_unit_test(nothing_to_run),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
