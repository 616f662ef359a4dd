#include "tests/op/optest.h"

#include "tests/ref/elementwise.h"
#include "tests/ref/operand.h"

#include "sd/base/half.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum op { COPY, CAST, SILU, GELU, QUICK_GELU, RELU, TANH, SCALE, ADD, LERP, OPS };

static sd_act act_of(enum op op) {
    return (sd_act)(op - SILU + SD_ACT_SILU);
}

static float reference(enum op op, float a, float b) {
    switch (op) {
    case SILU:
    case GELU:
    case QUICK_GELU:
    case RELU:
    case TANH:
        return ref_activate(a, act_of(op));
    case SCALE:
        return ref_scale(a, 1.7F, -0.3F);
    case ADD:
        return a + b;
    case LERP:
        return ref_lerp(a, b, 7.5F);
    default:
        return a;
    }
}

static sd_tensor *apply(sd_graph *g, enum op op, sd_tensor *a, sd_tensor *b) {
    switch (op) {
    case COPY:
        return sd_copy(g, a);
    case CAST:
        return sd_cast(g, a, g->act == SD_F16 ? SD_F32 : SD_F16);
    case SCALE:
        return sd_scale(g, a, 1.7F, -0.3F);
    case ADD:
        return sd_add(g, a, b);
    case LERP:
        return sd_lerp(g, a, b, 7.5F);
    default:
        return sd_activate(g, a, act_of(op));
    }
}

/* f32: a few roundings of values up to 16. f16 results: half a unit in the last place of 11 bits, 2^-11
 * relative (2^-25 among denormals), on top. Copies and casts are exact. */
static void compare(enum op op, const float *got, const float *want, size_t count, bool half,
                    const char *what) {
    bool exact = op == COPY || op == CAST;
    double relative = exact ? 0 : half ? 1e-6 + 0x1p-11 : 1e-6, absolute = exact ? 0 : 2e-6;
    optest_compare(got, want, count, relative, absolute, "%s, op %d", what, (int)op);
}

static void one_case(void **state, uint64_t seed, sd_dtype act, enum op op) {
    optest *t = optest_begin(state, act);
    optest_seed(t, seed);
    operand_variant(t, (uint32_t)seed / 2);
    uint32_t n = optest_int(t, 1, 3), h = optest_int(t, 1, 9), w = optest_int(t, 1, 9);
    uint32_t c = optest_int(t, 0, 1) ? optest_int(t, 1, 40) : 4 * optest_int(t, 1, 40);
    uint32_t form_a = optest_int(t, 0, OPERAND_FORMS - 1), form_b = optest_int(t, 0, OPERAND_FORMS - 1);
    struct operand a = operand_make(t, (enum operand_form)form_a, n, h, w, c, 1, 0);
    struct operand b = operand_make(t, (enum operand_form)form_b, n, h, w, c, 1, 0);
    size_t count = (size_t)n * h * w * c;
    char what[96];
    snprintf(what, sizeof what, "[%u,%u,%u,%u] forms %u %u %s", n, h, w, c, form_a, form_b,
             sd_dtype_name(act));
    sd_tensor *out = apply(optest_graph(t), op, a.tensor, b.tensor);
    bool half = (op == CAST) != (act == SD_F16);
    float *want = optest_random(t, count, act);
    for (size_t i = 0; i < count; i++) {
        want[i] = reference(op, a.values[i], b.values[i]);
        if (op == CAST && half)
            want[i] = ref_half(want[i]);
    }
    compare(op, optest_run(t, out), want, count, half, what);
    optest_end(&t);
}

static void ops_match_the_reference(void **state) {
    for (int op = 0; op < OPS; op++)
        for (uint64_t i = 0; i < 16; i++)
            one_case(state, 100 * (uint64_t)op + i, i % 2 ? SD_F16 : SD_F32, (enum op)op);
}

/* Many workgroups, and more items than one row of workgroups would hold on a small device. */
static void large_tensors(void **state) {
    optest *t = optest_begin(state, SD_F32);
    size_t count = 1 * 130 * 257 * 12;
    float *a = optest_random(t, count, SD_F32), *b = optest_random(t, count, SD_F32),
          *want = optest_random(t, count, SD_F32);
    for (size_t i = 0; i < count; i++)
        want[i] = a[i] + b[i];
    sd_tensor *out =
        sd_add(optest_graph(t), optest_input(t, 1, 130, 257, 12, a), optest_input(t, 1, 130, 257, 12, b));
    optest_compare(optest_run(t, out), want, count, 0, 0, "large add");
    optest_end(&t);
}

/* Stated errors of shaders/math.glsl: SiLU 1e-6 relative (of normal floats), the others 1e-6 absolute
 * (rounding 1.702x alone costs 3e-6 relative in the far tail). */
static void activations_are_exact_over_the_whole_range(void **state) {
    static const sd_act acts[] = {SD_ACT_SILU, SD_ACT_GELU, SD_ACT_QUICK_GELU, SD_ACT_RELU, SD_ACT_TANH};
    enum { count = 100000 };
    for (size_t k = 0; k < sizeof acts / sizeof *acts; k++) {
        optest *t = optest_begin(state, SD_F32);
        float *x = optest_random(t, count, SD_F32), *want = optest_random(t, count, SD_F32);
        for (size_t i = 0; i < count; i++) {
            x[i] *= i % 4 == 0 ? 1 : i % 4 == 1 ? 8 : i % 4 == 2 ? 30 : 1e-3F;
            want[i] = ref_activate(x[i], acts[k]);
        }
        const float *got =
            optest_run(t, sd_activate(optest_graph(t), optest_input(t, 1, 1, count, 1, x), acts[k]));
        optest_compare(got, want, count, 1e-6, k ? 1e-6 : 1e-30, "activation %d", (int)acts[k]);
        optest_end(&t);
    }
}

static void extremes_pass_through(void **state) {
    static const float values[] = {0,      -0.0F,  NAN,   INFINITY, -INFINITY, 3e38F,
                                   -3e38F, 1e-40F, 65504, -65520,   1e4F,      -1e4F};
    enum { count = sizeof values / sizeof *values };
    static const enum op ops[] = {COPY, CAST, SILU, GELU, QUICK_GELU};
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        optest *t = optest_begin(state, SD_F32);
        float want[count];
        for (size_t i = 0; i < count; i++) {
            want[i] = reference(ops[k], values[i], 0);
            if (ops[k] == CAST)
                want[i] = ref_half(want[i]);
        }
        sd_tensor *x = optest_input(t, 1, 1, 1, count, values);
        optest_compare(optest_run(t, apply(optest_graph(t), ops[k], x, NULL)), want, count, 1e-6, 1e-30,
                       "extremes, op %d", (int)ops[k]);
        optest_end(&t);
    }
}

/* Every half there is keeps its value through f16 -> f32 -> f16. */
static void every_half_survives(void **state) {
    enum { count = 65536 };
    optest *t = optest_begin(state, SD_F16);
    float *x = optest_random(t, count, SD_F32);
    for (uint32_t i = 0; i < count; i++)
        x[i] = sd_f32_from_f16((uint16_t)i);
    sd_graph *g = optest_graph(t);
    sd_tensor *out = sd_cast(g, sd_cast(g, optest_input(t, 1, 1, 256, 256, x), SD_F32), SD_F16);
    optest_compare(optest_run(t, out), x, count, 0, 0, "halves");
    optest_end(&t);
}

static void shapes_must_match(void **state) {
    optest *t = optest_begin(state, SD_F32);
    sd_graph *g = optest_graph(t);
    sd_error err;
    static const float x[8];
    assert_null(sd_add(g, optest_input(t, 1, 1, 2, 4, x), optest_input(t, 1, 2, 1, 4, x)));
    assert_int_equal(sd_graph_status(g, &err), SD_E_INTERNAL);
    assert_non_null(strstr(err.message, "[1,1,2,4] and [1,2,1,4]"));
    assert_null(sd_scale(g, NULL, 1, 0));
    optest_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_match_the_reference),
        cmocka_unit_test(large_tensors),
        cmocka_unit_test(activations_are_exact_over_the_whole_range),
        cmocka_unit_test(extremes_pass_through),
        cmocka_unit_test(every_half_survives),
        cmocka_unit_test(shapes_must_match),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
