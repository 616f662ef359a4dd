#include "tests/op/optest.h"

#include "tests/ref/norm.h"
#include "tests/ref/operand.h"

#include <math.h>

static void one_case(void **state, uint64_t seed, sd_dtype act, uint32_t n, uint32_t tokens, uint32_t c,
                     enum operand_form form, float shift) {
    const float eps = 1e-5F;
    optest *t = optest_begin(state, act);
    optest_seed(t, seed);
    operand_variant(t, (uint32_t)seed);
    const uint64_t shape[] = {c};
    size_t count = (size_t)n * tokens * c;
    struct operand x = operand_make(t, form, n, 1, tokens, c, 1, shift);
    float *gamma = optest_random(t, c, SD_F32), *beta = optest_random(t, c, SD_F32);
    float *want = optest_random(t, count, SD_F32);
    optest_tensor(t, "ln.weight", SD_F32, 1, shape, gamma);
    optest_tensor(t, "ln.bias", SD_F32, 1, shape, beta);
    ref_layer_norm(want, x.values, n * tokens, c, gamma, beta, eps);
    sd_tensor *out = sd_layer_norm(optest_graph(t), x.tensor, sd_bind_norm(optest_weights(t), c, "ln"), eps);
    /* The running mean is rounded at each of up to 320 vectors, a random walk of some ten halves of its last
     * place (2^-24 each). A row of few, close values (c small) divides one by sqrt(eps), hence
     * 2e-7/sqrt(eps). f16 results add half of their last place. */
    double absolute = (c < 8 ? 6e-5 : 1e-5) + 6e-7 * fabs((double)shift);
    optest_compare(optest_run(t, out), want, count, act == SD_F16 ? 0x1p-11 : 1e-6, absolute,
                   "[%u,1,%u,%u] form %d %s", n, tokens, c, (int)form, sd_dtype_name(act));
    optest_end(&t);
}

static void random_shapes(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(48); seed++) {
        optest *t = optest_begin(state, SD_F32);
        optest_seed(t, seed);
        uint32_t n = optest_int(t, 1, 3), tokens = optest_int(t, 1, 90);
        uint32_t c = optest_int(t, 0, 1) ? optest_int(t, 1, 70) : 4 * optest_int(t, 1, 80);
        optest_end(&t);
        one_case(state, seed, seed / 4 % 2 ? SD_F16 : SD_F32, n, tokens, c, (enum operand_form)(seed % 3), 0);
    }
}

static void network_shapes(void **state) {
    static const uint32_t widths[] = {320, 640, 768, 1024, 1280, 2048};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (uint32_t variant = 0; variant < 4; variant++)
            one_case(state, variant, i % 2 ? SD_F16 : SD_F32, 2, 77, widths[i], OPERAND_WHOLE, 0);
    one_case(state, 4, SD_F32, 1, 64, 640, OPERAND_WHOLE, 1000);
}

static void poison_stays_in_its_token(void **state) {
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    enum { tokens = 37, c = 52, count = tokens * c };
    for (int k = 0; k < 3; k++) {
        optest *t = optest_begin(state, SD_F32);
        operand_variant(t, (uint32_t)k);
        float *x = optest_random(t, count, SD_F32), want[count];
        x[21 * c + 50] = poisons[k];
        ref_layer_norm(want, x, tokens, c, NULL, NULL, 1e-5F);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(isnan(want[i]), i / c == 21);
        sd_tensor *in = optest_input(t, 1, 1, tokens, c, x);
        sd_tensor *out = sd_layer_norm(optest_graph(t), in, (sd_layer){NULL, NULL}, 1e-5F);
        optest_compare(optest_run(t, out), want, count, 1e-6, 1e-5, "poison %d", k);
        optest_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(network_shapes),
        cmocka_unit_test(poison_stays_in_its_token),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
