#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sd/base/half.h"

/* Every half converts to a float and back unchanged (NaNs stay NaN). */
static void all_halves_round_trip(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = sd_f32_from_f16((uint16_t)bits);
        if (isnan(value))
            assert_true((bits & 0x7C00) == 0x7C00 && (bits & 0x3FF) &&
                        isnan(sd_f32_from_f16(sd_f16_from_f32(value))));
        else
            assert_int_equal(sd_f16_from_f32(value), bits);
    }
}

/* The midpoint between two neighbours goes to the even one, and its neighbours to their own sides. */
static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x7BFF; bits++) {
        float low = sd_f32_from_f16((uint16_t)bits), high = sd_f32_from_f16((uint16_t)(bits + 1));
        float middle = (low + high) / 2;
        assert_int_equal(sd_f16_from_f32(middle), bits & 1 ? bits + 1 : bits);
        assert_int_equal(sd_f16_from_f32(nextafterf(middle, 0)), bits);
        assert_int_equal(sd_f16_from_f32(nextafterf(middle, INFINITY)), bits + 1);
    }
    assert_int_equal(sd_f16_from_f32(65519.996f), 0x7BFF);
    assert_int_equal(sd_f16_from_f32(65520.0f), 0x7C00);
    assert_int_equal(sd_f16_from_f32(-INFINITY), 0xFC00);
}

static void bfloat_rounds_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(sd_bf16_from_f32(1.0f), 0x3F80);
    assert_int_equal(sd_bf16_from_f32(1.0f + 0x1p-8f), 0x3F80);
    assert_int_equal(sd_bf16_from_f32(1.0f + 0x1p-7f + 0x1p-8f), 0x3F82);
    assert_true(isnan(sd_f32_from_bf16(sd_bf16_from_f32(NAN))));
    assert_true(sd_f32_from_bf16(0x4049) == 3.140625f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_halves_round_trip),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloat_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
