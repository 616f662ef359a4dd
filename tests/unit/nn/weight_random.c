/* Weights made up on the device, and weights that do not fit onto it. */
#include "tests/unit/nn/device_words.h"

#include "sd/base/half.h"

#include <math.h>
#include <string.h>

enum { side = 64, values = side * side };

/* A table, another, and a norm's scale and shift. */
enum { TABLE, OTHER, SCALE, SHIFT, WEIGHTS };

static void make(sd_vk *vk, sd_weight_precision precision, uint32_t seed, float out[WEIGHTS][values]) {
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    const sd_weight *all[WEIGHTS] = {sd_bind_table(w, side, side, "table"),
                                     sd_bind_table(w, side, side, "other")};
    const sd_layer norm = sd_bind_norm(w, values, "norm");
    all[SCALE] = norm.weight;
    all[SHIFT] = norm.bias;
    if (sd_weights_random(w, vk, precision, seed, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < WEIGHTS; i++) {
        uint32_t *words = device_words(vk, w, all[i]);
        if (all[i]->dtype == SD_F16)
            sd_f32_from_f16_array(out[i], (const uint16_t *)words, values);
        else
            memcpy(out[i], words, values * sizeof(float));
        free(words);
    }
    sd_weights_destroy(vk, &w);
}

/* Uniform in middle +- range. Of 4,096 such values the mean has a deviation of range / sqrt(3) / 64 and the
 * mean square one of sqrt(4/45) / 64 * range^2; four of either are allowed, and half a unit of f16 at the
 * ends. */
static void expect_uniform(const float *x, double middle, double range) {
    double sum = 0, squares = 0;
    for (int i = 0; i < values; i++) {
        double d = x[i] - middle;
        assert_true(fabs(d) <= range * (1 + 0x1p-11));
        sum += d;
        squares += d * d;
    }
    assert_true(fabs(sum / values) < 4 * range / sqrt(3) / 64);
    assert_true(fabs(squares / values - range * range / 3) < 4 * sqrt(4.0 / 45) / 64 * range * range);
}

static void values_of_a_fresh_layer(void **state) {
    static float found[WEIGHTS][values];
    for (int precision = SD_WEIGHTS_LOSSLESS; precision <= SD_WEIGHTS_F16; precision++) {
        make(*state, (sd_weight_precision)precision, 1, found);
        expect_uniform(found[TABLE], 0, sqrt(3.0 / side));
        expect_uniform(found[SCALE], 1, 0.02);
        expect_uniform(found[SHIFT], 0, 0.02);
    }
}

/* A few of the tables' values meet by chance, for f16 has some 2^12 in their range. */
static int equal_values(const float *a, const float *b) {
    int same = 0;
    for (int i = 0; i < values; i++)
        same += a[i] == b[i];
    return same;
}

static void seeds_and_weights_differ(void **state) {
    static float first[WEIGHTS][values], again[WEIGHTS][values], next[WEIGHTS][values];
    make(*state, SD_WEIGHTS_LOSSLESS, 1, first);
    make(*state, SD_WEIGHTS_LOSSLESS, 1, again);
    make(*state, SD_WEIGHTS_LOSSLESS, 2, next);
    assert_memory_equal(first, again, sizeof first);
    assert_true(equal_values(first[TABLE], next[TABLE]) < values / 8);
    assert_true(equal_values(first[TABLE], first[OTHER]) < values / 8);
}

/* The first weight finds room, the second does not: none may pass for loaded. */
static void what_does_not_fit_has_no_address(void **state) {
    sd_vk *vk = *state;
    uint64_t rows = sd_vk_info(vk)->max_allocation / 4096 + 1;
    sd_weights *w;
    sd_error err;
    if (rows > UINT32_MAX)
        rows = UINT32_MAX;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    const sd_weight *small = sd_bind_table(w, 1, 1, "small"),
                    *large = sd_bind_table(w, (uint32_t)rows, 2048, "large");
    assert_int_equal(sd_weights_random(w, vk, SD_WEIGHTS_F16, 1, &err), SD_E_DEVICE_MEMORY);
    assert_memory_equal(err.message, "weights needs ", strlen("weights needs "));
    assert_int_equal(large->bytes, rows * 4096);
    assert_int_equal(small->address, 0);
    assert_int_equal(large->address, 0);
    sd_weights_destroy(vk, &w);
    assert_int_equal(sd_vk_memory_used(vk), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_a_fresh_layer),
        cmocka_unit_test(seeds_and_weights_differ),
        cmocka_unit_test(what_does_not_fit_has_no_address),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
