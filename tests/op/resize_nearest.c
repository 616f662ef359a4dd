#include "tests/op/optest.h"

#include "tests/ref/operand.h"
#include "tests/ref/resize_nearest.h"

static void resized_pixels_are_copies(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(36); seed++) {
        optest *t = optest_begin(state, seed % 2 ? SD_F16 : SD_F32);
        optest_seed(t, seed);
        operand_variant(t, (uint32_t)seed / 6);
        uint32_t n = optest_int(t, 1, 3), h = optest_int(t, 1, 20), w = optest_int(t, 1, 20);
        uint32_t c = optest_int(t, 0, 1) ? optest_int(t, 1, 30) : 4 * optest_int(t, 1, 30);
        uint32_t to_h = optest_int(t, 1, 41), to_w = optest_int(t, 1, 41), form = (uint32_t)(seed / 2 % 3);
        struct operand x = operand_make(t, (enum operand_form)form, n, h, w, c, 1, 0);
        size_t count = (size_t)n * to_h * to_w * c;
        float *want = optest_random(t, count, SD_F32);
        ref_resize_nearest(want, x.values, n, h, w, c, to_h, to_w);
        sd_tensor *out = sd_resize_nearest(optest_graph(t), x.tensor, to_h, to_w);
        optest_compare(optest_run(t, out), want, count, 0, 0, "[%u,%u,%u,%u] form %u to %u x %u", n, h, w, c,
                       form, to_h, to_w);
        optest_end(&t);
    }
}

static void no_pixels_are_refused(void **state) {
    optest *t = optest_begin(state, SD_F32);
    static const float x[4];
    sd_error err;
    assert_null(sd_resize_nearest(optest_graph(t), optest_input(t, 1, 1, 1, 4, x), 0, 3));
    assert_int_equal(sd_graph_status(optest_graph(t), &err), SD_E_UNSUPPORTED);
    optest_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resized_pixels_are_copies),
        cmocka_unit_test(no_pixels_are_refused),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
