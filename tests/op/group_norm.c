#include "tests/op/optest.h"

#include "tests/ref/norm.h"
#include "tests/ref/operand.h"

#include <math.h>
#include <stdlib.h>

struct shape {
    uint32_t n, h, w, c, groups;
};

static sd_layer bind(optest *t, uint32_t c, const float *gamma, const float *beta) {
    const uint64_t shape[] = {c};
    optest_tensor(t, "norm.weight", SD_F32, 1, shape, gamma);
    optest_tensor(t, "norm.bias", SD_F32, 1, shape, beta);
    return sd_bind_norm(optest_weights(t), c, "norm");
}

/* Mean and variance of f32 values whose mean is r deviations from 0 are known to about r roundings (2^-24
 * each), of which few add up; results are a few deviations large. f16 results add half of their last place.
 */
static void one_case(void **state, uint64_t seed, sd_dtype act, struct shape s, enum operand_form form,
                     float scale, float shift, sd_act silu) {
    const float eps = 1e-5F;
    optest *t = optest_begin(state, act);
    optest_seed(t, seed);
    operand_variant(t, (uint32_t)seed);
    size_t count = (size_t)s.n * s.h * s.w * s.c;
    struct operand x = operand_make(t, form, s.n, s.h, s.w, s.c, scale, shift);
    float *gamma = optest_random(t, s.c, SD_F32), *beta = optest_random(t, s.c, SD_F32);
    float *want = optest_random(t, count, SD_F32);
    ref_group_norm(want, x.values, s.n, s.h * s.w, s.c, s.groups, gamma, beta, eps, silu);
    sd_tensor *out = sd_group_norm(optest_graph(t), x.tensor, bind(t, s.c, gamma, beta), s.groups, eps, silu);
    double relative = act == SD_F16 ? 0x1p-11 : 1e-6, ratio = 1 + fabs((double)shift / scale);
    optest_compare(optest_run(t, out), want, count, relative, 1e-5 + 3e-7 * ratio,
                   "[%u,%u,%u,%u] groups %u form %d %s", s.n, s.h, s.w, s.c, s.groups, (int)form,
                   sd_dtype_name(act));
    optest_end(&t);
}

static void random_shapes(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(72); seed++) {
        optest *t = optest_begin(state, SD_F32);
        optest_seed(t, seed);
        uint32_t groups = optest_int(t, 1, 8), width = optest_int(t, 1, 12);
        struct shape s = {optest_int(t, 1, 3), optest_int(t, 2, 20), optest_int(t, 2, 20), groups * width,
                          groups};
        optest_end(&t);
        one_case(state, seed, seed / 4 % 2 ? SD_F16 : SD_F32, s, (enum operand_form)(seed % 3), 1, 0,
                 seed % 5 ? SD_ACT_SILU : SD_ACT_NONE);
    }
}

/* Shapes of the networks: groups of 10, 20, 30, 40 and 60 channels, a seam inside a group, VAE widths. */
static void network_shapes(void **state) {
    static const struct shape shapes[] = {{2, 16, 16, 320, 32}, {1, 8, 8, 640, 32},  {1, 8, 9, 960, 32},
                                          {2, 8, 8, 1280, 32},  {1, 8, 8, 1920, 32}, {1, 64, 40, 128, 32},
                                          {1, 80, 80, 16, 4},   {1, 1, 1, 2560, 32}, {3, 33, 31, 64, 32}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t form = 0; form < OPERAND_FORMS; form++)
            one_case(state, i + form, i % 2 ? SD_F16 : SD_F32, shapes[i], (enum operand_form)form, 1, 0,
                     SD_ACT_SILU);
}

/* Groups too large for one workgroup, in every variant. */
static void large_groups(void **state) {
    static const struct shape shapes[] = {{1, 48, 48, 320, 32}, {1, 20, 20, 1920, 32}, {2, 90, 80, 12, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint64_t variant = 0; variant < 4; variant++)
            one_case(state, variant, variant % 3 ? SD_F32 : SD_F16, shapes[i],
                     (enum operand_form)((variant + i) % OPERAND_FORMS), 1, 0, SD_ACT_SILU);
}

/* Where E[x^2] - mean^2 would fail: a mean of 1000 deviations. */
static void far_from_zero(void **state) {
    const struct shape shapes[] = {{1, 40, 30, 64, 8}, {1, 70, 60, 64, 8}};
    for (size_t i = 0; i < 2; i++) {
        one_case(state, i, SD_F32, shapes[i], OPERAND_WHOLE, 1, 1000, SD_ACT_NONE);
        one_case(state, i + 2, SD_F32, shapes[i], OPERAND_CONCAT, 1e-2F, -1, SD_ACT_NONE);
        one_case(state, i + 4, SD_F32, shapes[i], OPERAND_SLICE, 1e4F, 0, SD_ACT_SILU);
    }
}

/* A NaN or an infinity reaches all of its group and nothing else. */
static void poison_stays_in_its_group(void **state) {
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    enum { n = 2, pixels = 300, c = 24, groups = 4, count = n * pixels * c };
    for (int k = 0; k < 3; k++) {
        optest *t = optest_begin(state, SD_F32);
        operand_variant(t, (uint32_t)k);
        float *x = optest_random(t, count, SD_F32), *want = optest_random(t, count, SD_F32);
        float gamma[c], beta[c];
        for (int i = 0; i < c; i++)
            gamma[i] = 1, beta[i] = 0;
        x[(size_t)pixels * c + 123 * c + 7] = poisons[k];
        ref_group_norm(want, x, n, pixels, c, groups, gamma, beta, 1e-5F, SD_ACT_NONE);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(isnan(want[i]), i / (pixels * c) == 1 && i % c / (c / groups) == 1);
        sd_tensor *in = optest_input(t, n, 1, pixels, c, x);
        sd_tensor *out =
            sd_group_norm(optest_graph(t), in, bind(t, c, gamma, beta), groups, 1e-5F, SD_ACT_NONE);
        optest_compare(optest_run(t, out), want, count, 1e-6, 1e-5, "poison %d", k);
        optest_end(&t);
    }
}

static void without_affine(void **state) {
    optest *t = optest_begin(state, SD_F32);
    struct operand x = operand_make(t, OPERAND_WHOLE, 1, 9, 9, 12, 1, 0);
    float want[9 * 9 * 12];
    ref_group_norm(want, x.values, 1, 81, 12, 3, NULL, NULL, 1e-6F, SD_ACT_NONE);
    sd_tensor *out = sd_group_norm(optest_graph(t), x.tensor, (sd_layer){NULL, NULL}, 3, 1e-6F, SD_ACT_NONE);
    optest_compare(optest_run(t, out), want, 9 * 9 * 12, 1e-6, 1e-5, "no scale and shift");
    optest_end(&t);
}

static void groups_must_divide_channels(void **state) {
    optest *t = optest_begin(state, SD_F32);
    static const float x[10];
    sd_error err;
    sd_tensor *in = optest_input(t, 1, 1, 1, 10, x);
    assert_null(sd_group_norm(optest_graph(t), in, (sd_layer){NULL, NULL}, 3, 1e-5F, SD_ACT_NONE));
    assert_int_equal(sd_graph_status(optest_graph(t), &err), SD_E_INTERNAL);
    optest_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(network_shapes),
        cmocka_unit_test(large_groups),
        cmocka_unit_test(far_from_zero),
        cmocka_unit_test(poison_stays_in_its_group),
        cmocka_unit_test(without_affine),
        cmocka_unit_test(groups_must_divide_channels),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
