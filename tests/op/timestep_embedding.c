#include "tests/op/optest.h"

#include "tests/ref/embedding.h"

#include <math.h>

/* An angle of a radians carries the roundings of the frequency's exponent (up to 9.2): 1e-6 a / e at most,
 * and sine and cosine add 3e-7. */
static void sinusoids_of_timesteps_and_sizes(void **state) {
    static const float times[] = {0, 1, 0.5F, 981, 999, 1024, 4096, 500.25F, 7.5F, -3};
    static const struct {
        uint32_t dim;
        bool flip;
        float shift;
    } cases[] = {{320, true, 0}, {256, true, 0}, {128, false, 1}, {32, false, 0}, {7, true, 0}, {2, true, 0}};
    enum { count = sizeof times / sizeof *times };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        optest *t = optest_begin(state, SD_F32);
        uint32_t dim = cases[k].dim;
        float *want = optest_random(t, (size_t)count * dim, SD_F32);
        sd_tensor *in = optest_input(t, count, 1, 1, 1, times);
        const float *got =
            optest_run(t, sd_timestep_embedding(optest_graph(t), in, dim, cases[k].flip, cases[k].shift));
        for (size_t i = 0; i < count; i++) {
            ref_timestep_embedding(want + i * dim, times[i], dim, cases[k].flip, cases[k].shift);
            optest_compare(got + i * dim, want + i * dim, dim, 0, 3e-7 + 3e-7 * fabs((double)times[i]),
                           "t %g, %u channels", (double)times[i], dim);
        }
        optest_end(&t);
    }
}

static void nan_and_infinity_give_nan(void **state) {
    static const float times[] = {NAN, INFINITY};
    optest *t = optest_begin(state, SD_F32);
    const float *got =
        optest_run(t, sd_timestep_embedding(optest_graph(t), optest_input(t, 2, 1, 1, 1, times), 8, true, 0));
    for (int i = 0; i < 16; i++)
        assert_true(isnan(got[i]));
    optest_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sinusoids_of_timesteps_and_sizes),
        cmocka_unit_test(nan_and_infinity_give_nan),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
