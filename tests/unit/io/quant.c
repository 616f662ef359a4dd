/* Quantised blocks against the Python package gguf and against ggml (tests/golden/quants.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/base/quant.h"
#include "sd/io/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/quants/values.safetensors"

static int open_golden(void **state) {
    sd_error err;
    if (!sd_safetensors_open(GOLDEN, (sd_safetensors **)state, &err))
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static int close_golden(void **state) {
    sd_safetensors *file = *state;
    sd_safetensors_close(&file);
    return 0;
}

static const sd_file_tensor *golden(void **state, sd_dtype dtype, const char *what) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", sd_dtype_name(dtype), what);
    const sd_file_tensor *t = sd_safetensors_find(*state, name);
    if (!t)
        fail_msg("%s has no %s", GOLDEN, name);
    return t;
}

/* A copy of a tensor of floats; the file's bytes need not be aligned. */
static float *floats(const sd_file_tensor *t, size_t *count) {
    assert_int_equal(t->dtype, SD_FILE_F32);
    float *out = malloc(t->bytes);
    memcpy(out, t->data, t->bytes);
    *count = t->bytes / sizeof *out;
    return out;
}

static void blocks_give_the_packages_values(void **state) {
    for (int d = SD_Q4_0; d <= SD_IQ4_XS; d++) {
        const sd_file_tensor *raw = golden(state, d, ".raw");
        sd_dtype_block block = sd_dtype_block_of(d);
        size_t count;
        float *want = floats(golden(state, d, ".values"), &count), *got = malloc(count * sizeof *got);
        assert_int_equal(raw->bytes / block.bytes * block.values, count);
        sd_dequantise(d, raw->data, 0, count, got);
        for (size_t i = 0; i < count; i++)
            if (memcmp(&got[i], &want[i], sizeof *got))
                fail_msg("%s: value %zu: expected %.9g, found %.9g", sd_dtype_name(d), i, (double)want[i],
                         (double)got[i]);
        free(want);
        free(got);
    }
}

/* Ranges that begin and end inside blocks give the same values, and nothing is written beside them. */
static void any_range_can_be_read(void **state) {
    static const uint64_t ranges[][2] = {{0, 1},   {255, 1},   {31, 2},   {100, 0},
                                         {1, 510}, {256, 256}, {300, 700}};
    for (int d = SD_Q4_0; d <= SD_IQ4_XS; d++) {
        const sd_file_tensor *raw = golden(state, d, ".raw");
        size_t count;
        float *want = floats(golden(state, d, ".values"), &count);
        for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
            uint64_t first = ranges[r][0], n = ranges[r][1];
            float got[1024];
            assert_true(first + n <= count);
            got[n] = 77;
            sd_dequantise(d, raw->data, first, n, got);
            assert_memory_equal(got, want + first, n * sizeof *got);
            assert_true(got[n] == 77);
        }
        free(want);
    }
}

static void simple_types_are_quantised_as_the_package_does(void **state) {
    size_t count;
    float *x = floats(sd_safetensors_find(*state, "x"), &count);
    for (int d = SD_Q4_0; d <= SD_Q8_0; d++) {
        const sd_file_tensor *want = golden(state, d, ".blocks");
        sd_dtype_block block = sd_dtype_block_of(d);
        uint8_t *got = malloc(want->bytes);
        assert_int_equal(count / block.values * block.bytes, want->bytes);
        assert_true(sd_quantise(d, x, count, got));
        for (size_t i = 0; i < want->bytes; i++)
            if (got[i] != want->data[i])
                fail_msg("%s: block %zu, byte %zu: expected %u, found %u", sd_dtype_name(d), i / block.bytes,
                         i % block.bytes, want->data[i], got[i]);
        free(got);
    }
    free(x);
}

/* Root of the mean squared error over that of the mean square. */
static double error_of(sd_dtype d, const float *x, size_t count) {
    sd_dtype_block block = sd_dtype_block_of(d);
    uint8_t *blocks = malloc(count / block.values * block.bytes);
    float *y = malloc(count * sizeof *y);
    double rest = 0, all = 0;
    assert_true(sd_quantise(d, x, count, blocks));
    sd_dequantise(d, blocks, 0, count, y);
    for (size_t i = 0; i < count; i++) {
        rest += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
        all += (double)x[i] * (double)x[i];
    }
    free(blocks);
    free(y);
    return sqrt(rest / all);
}

/* The largest share of ggml's error (without an importance matrix) that the search left, rounded up; it is
 * below 1 because ggml weighs errors by the size of the values. The simple types are the same but for the
 * last bit that the golden error is rounded to. */
static const double share[SD_DTYPES] = {
    [SD_Q4_0] = 1 + 1e-6, [SD_Q4_1] = 1 + 1e-6, [SD_Q5_0] = 1 + 1e-6, [SD_Q5_1] = 1 + 1e-6,
    [SD_Q8_0] = 1 + 1e-6, [SD_Q2_K] = 0.928,    [SD_Q3_K] = 0.954,    [SD_Q4_K] = 0.995,
    [SD_Q5_K] = 0.972,    [SD_Q6_K] = 0.942,    [SD_IQ4_NL] = 0.970,  [SD_IQ4_XS] = 0.971};

static void errors_are_no_larger_than_ggmls(void **state) {
    static const char *const kinds[] = {"normal", "laplace", "uniform"};
    for (size_t k = 0; k < 3; k++) {
        char name[32];
        size_t count, one;
        snprintf(name, sizeof name, "x.%s", kinds[k]);
        float *x = floats(sd_safetensors_find(*state, name), &count);
        for (int d = SD_Q4_0; d <= SD_IQ4_XS; d++) {
            snprintf(name, sizeof name, ".error.%s", kinds[k]);
            float *theirs = floats(golden(state, d, name), &one);
            double ours = error_of(d, x, count);
            print_message("%s, %s values: %.5f, ggml %.5f\n", sd_dtype_name(d), kinds[k], ours,
                          (double)*theirs);
            if (!(ours <= (double)*theirs * share[d]))
                fail_msg("%s, %s values: error %.6f, ggml's is %.6f", sd_dtype_name(d), kinds[k], ours,
                         (double)*theirs);
            free(theirs);
        }
        free(x);
    }
}

/* Rows that are hard, value for value. The bound is a step between codes when the codes span
 * -largest..largest (two for Q2_K, whose scales have but 4 bits): half a step is the worst rounding, the rest
 * is for scales that are rounded too. Half the smallest difference of two scales, 3e-8, times the largest
 * code, 127, comes on top. */
static void hard_rows_stay_within_a_step(void **state) {
    static const double steps[SD_DTYPES] = {
        [SD_Q4_0] = 2.0 / 15,  [SD_Q4_1] = 2.0 / 15, [SD_Q5_0] = 2.0 / 31,     [SD_Q5_1] = 2.0 / 31,
        [SD_Q8_0] = 2.0 / 254, [SD_Q2_K] = 4.0 / 3,  [SD_Q3_K] = 2.0 / 7,      [SD_Q4_K] = 2.0 / 15,
        [SD_Q5_K] = 2.0 / 31,  [SD_Q6_K] = 2.0 / 63, [SD_IQ4_NL] = 24.0 / 113, [SD_IQ4_XS] = 24.0 / 113};
    size_t count;
    float *x = floats(sd_safetensors_find(*state, "x"), &count);
    for (size_t row = 0; row < count; row += 256)
        for (int d = SD_Q4_0; d <= SD_IQ4_XS; d++) {
            uint8_t blocks[8 * 34];
            float y[256], largest = 0;
            assert_true(sd_quantise(d, x + row, 256, blocks));
            sd_dequantise(d, blocks, 0, 256, y);
            for (int i = 0; i < 256; i++)
                largest = fmaxf(largest, fabsf(x[row + i]));
            for (int i = 0; i < 256; i++)
                if (!(fabs((double)y[i] - (double)x[row + i]) <= steps[d] * (double)largest + 4e-6))
                    fail_msg("%s: row %zu, value %d: expected about %g, found %g", sd_dtype_name(d),
                             row / 256, i, (double)x[row + i], (double)y[i]);
        }
    free(x);
}

static void what_cannot_be_held_is_refused(void **state) {
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e9f, 4e8f, -4e8f};
    (void)state;
    for (int d = SD_Q4_0; d <= SD_IQ4_XS; d++)
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
            for (int at = 0; at < 256; at += 85) {
                float x[256];
                uint8_t blocks[8 * 34];
                for (int i = 0; i < 256; i++)
                    x[i] = 0.5f;
                x[at] = bad[k];
                assert_false(sd_quantise(d, x, 256, blocks));
                x[at] = 3000;
                assert_true(sd_quantise(d, x, 256, blocks));
            }
}

static void quantised_zeros_are_zeros(void **state) {
    static const float x[256];
    (void)state;
    for (int d = SD_Q4_0; d <= SD_IQ4_XS; d++) {
        uint8_t blocks[8 * 34];
        float y[256];
        memset(blocks, 0xAA, sizeof blocks);
        assert_true(sd_quantise(d, x, 256, blocks));
        sd_dequantise(d, blocks, 0, 256, y);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_give_the_packages_values),
        cmocka_unit_test(any_range_can_be_read),
        cmocka_unit_test(simple_types_are_quantised_as_the_package_does),
        cmocka_unit_test(errors_are_no_larger_than_ggmls),
        cmocka_unit_test(hard_rows_stay_within_a_step),
        cmocka_unit_test(what_cannot_be_held_is_refused),
        cmocka_unit_test(quantised_zeros_are_zeros),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
