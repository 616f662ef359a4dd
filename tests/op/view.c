#include "tests/op/optest.h"

#include "tests/ref/operand.h"

#include <string.h>

/* Two parts of a tensor of 12 channels, in which every value tells its place: pixel * 100 + channel. */
static sd_tensor *numbered(optest *t, uint32_t pixels, uint32_t first, uint32_t c) {
    float *x = optest_random(t, (size_t)pixels * c, SD_F32);
    for (uint32_t p = 0; p < pixels; p++)
        for (uint32_t k = 0; k < c; k++)
            x[p * c + k] = (float)(p * 100 + first + k);
    return optest_input(t, 1, 1, pixels, c, x);
}

/* The view holds channels first..first+c of every pixel. */
static void check(optest *t, sd_tensor *view, uint32_t first, uint32_t c) {
    enum { pixels = 5 };
    float want[pixels * 32];
    assert_non_null(view);
    assert_int_equal(view->c, c);
    for (uint32_t p = 0; p < pixels; p++)
        for (uint32_t k = 0; k < c; k++)
            want[p * c + k] = (float)(p * 100 + first + k);
    optest_compare(optest_run(t, sd_copy(optest_graph(t), view)), want, pixels * c, 0, 0, "channels %u to %u",
                   first, first + c);
}

static void slices_of_slices_and_parts(void **state) {
    static const struct { uint32_t first, c; } cases[] = {{0, 12}, {2, 3}, {0, 7}, {8, 4}, {4, 8}, {6, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t variant = 0; variant < 4; variant++) {
            optest *t = optest_begin(state, variant % 2 ? SD_F16 : SD_F32);
            sd_graph *g = optest_graph(t);
            uint32_t split = 7 + variant / 2;
            sd_tensor *x = sd_concat(g, numbered(t, 5, 0, split), numbered(t, 5, split, 12 - split));
            check(t, sd_slice(g, x, cases[i].first, cases[i].c), cases[i].first, cases[i].c);
            optest_end(&t);
        }
    optest *t = optest_begin(state, SD_F32);
    sd_graph *g = optest_graph(t);
    check(t, sd_slice(g, sd_slice(g, numbered(t, 5, 0, 20), 3, 15), 2, 9), 5, 9);
    assert_int_equal(g->node_count, 1); /* the copy of the check alone */
    optest_end(&t);
}

static void concatenations_nest(void **state) {
    optest *t = optest_begin(state, SD_F32);
    sd_graph *g = optest_graph(t);
    sd_tensor *ab = sd_concat(g, numbered(t, 5, 0, 4), numbered(t, 5, 4, 1));
    sd_tensor *de = sd_concat(g, numbered(t, 5, 5, 3), numbered(t, 5, 8, 5));
    check(t, sd_concat(g, ab, de), 0, 13);
    optest_end(&t);
}

static void reshapes_keep_the_order(void **state) {
    optest *t = optest_begin(state, SD_F32);
    sd_graph *g = optest_graph(t);
    float want[6 * 8];
    for (int i = 0; i < 6 * 8; i++)
        want[i] = (float)(i / 8 * 100 + 2 + i % 8);
    /* A slice has gaps, which pixels of another size cannot keep. */
    sd_tensor *x = sd_slice(g, numbered(t, 6, 0, 12), 2, 8);
    sd_tensor *pixels = sd_reshape(g, x, 2, 3, 1, 8);
    assert_int_equal(pixels->n * 100 + pixels->h * 10 + pixels->w, 231);
    assert_ptr_equal(pixels->owner, x->owner);
    sd_tensor *wide = sd_reshape(g, pixels, 1, 1, 3, 16);
    optest_compare(optest_run(t, sd_copy(g, wide)), want, 48, 0, 0, "reshape");
    optest_end(&t);
}

static void parts_are_reshaped_in_place(void **state) {
    optest *t = optest_begin(state, SD_F16);
    sd_graph *g = optest_graph(t);
    sd_tensor *x = sd_reshape(g, sd_concat(g, numbered(t, 5, 0, 6), numbered(t, 5, 6, 4)), 1, 5, 1, 10);
    assert_int_equal(g->node_count, 0);
    assert_int_equal(x->h, 5);
    check(t, x, 0, 10);
    optest_end(&t);
}

static void what_does_not_fit_is_refused(void **state) {
    for (int k = 0; k < 5; k++) {
        optest *t = optest_begin(state, SD_F16);
        sd_graph *g = optest_graph(t);
        sd_error err;
        sd_tensor *x = numbered(t, 5, 0, 12), *y = numbered(t, 4, 0, 12);
        assert_null(k == 0   ? sd_concat(g, x, y)
                    : k == 1 ? sd_slice(g, x, 8, 5)
                    : k == 2 ? sd_slice(g, x, 3, 4)
                    : k == 3 ? sd_reshape(g, x, 1, 1, 7, 12)
                             : sd_slice(g, x, 4, 0));
        assert_int_equal(sd_graph_status(g, &err), SD_E_INTERNAL);
        assert_null(sd_slice(g, x, 0, 4)); /* errors stick */
        optest_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_of_slices_and_parts),   cmocka_unit_test(concatenations_nest),
        cmocka_unit_test(reshapes_keep_the_order),      cmocka_unit_test(parts_are_reshaped_in_place),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
