/* Element types to f32 and back. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sd/base/quant.h"
#include "sd/base/values.h"

static float decode(sd_dtype dtype, uint8_t code) {
    float value;
    sd_values_decode(dtype, &code, 0, 1, &value);
    return value;
}

/* The code of a value that fits. */
static unsigned encode(sd_dtype dtype, float value) {
    uint8_t code;
    assert_true(sd_values_encode(dtype, &value, 1, &code));
    return code;
}

static bool fits(sd_dtype dtype, float value) {
    uint8_t code[2];
    return sd_values_encode(dtype, &value, 1, code);
}

static void known_eighths(void **state) {
    (void)state;
    assert_true(decode(SD_F8_E4M3, 0x7E) == 448);
    assert_true(decode(SD_F8_E4M3, 0x01) == 0x1p-9f);
    assert_true(decode(SD_F8_E4M3, 0x38) == 1);
    assert_true(isnan(decode(SD_F8_E4M3, 0xFF)));
    assert_true(decode(SD_F8_E5M2, 0x7B) == 57344);
    assert_true(decode(SD_F8_E5M2, 0x81) == -0x1p-16f);
    assert_true(decode(SD_F8_E5M2, 0xBC) == -1);
    assert_true(isinf(decode(SD_F8_E5M2, 0xFC)));
}

static void eighths_round_to_nearest_even(void **state) {
    static const struct {
        sd_dtype dtype;
        unsigned largest;
    } types[] = {{SD_F8_E4M3, 0x7E}, {SD_F8_E5M2, 0x7B}};
    (void)state;
    for (int t = 0; t < 2; t++) {
        sd_dtype dtype = types[t].dtype;
        for (unsigned code = 0; code <= types[t].largest; code++) {
            float low = decode(dtype, (uint8_t)code);
            assert_int_equal(encode(dtype, low), code);
            assert_int_equal(encode(dtype, -low), code | 0x80);
            if (code == types[t].largest)
                break;
            float high = decode(dtype, (uint8_t)(code + 1)), middle = (low + high) / 2;
            assert_true(high > low);
            assert_int_equal(encode(dtype, middle), code & 1 ? code + 1 : code);
            assert_int_equal(encode(dtype, nextafterf(middle, 0)), code);
            assert_int_equal(encode(dtype, nextafterf(middle, INFINITY)), code + 1);
        }
        assert_true(isnan(decode(dtype, (uint8_t)encode(dtype, NAN))));
        assert_int_equal(encode(dtype, 1e-30f), 0);
    }
}

static void what_does_not_fit_is_told(void **state) {
    (void)state;
    assert_true(fits(SD_F8_E4M3, 464)); /* half way to where 480 would be: to the even 448 */
    assert_false(fits(SD_F8_E4M3, 464.1f));
    assert_false(fits(SD_F8_E4M3, -1e30f));
    assert_false(fits(SD_F8_E4M3, INFINITY));
    assert_false(fits(SD_F8_E5M2, 61440)); /* half way to infinity, which is even */
    assert_true(fits(SD_F8_E5M2, 61439));
    assert_true(fits(SD_F8_E5M2, -INFINITY));
    assert_true(fits(SD_F16, 65519));
    assert_false(fits(SD_F16, 65520));
    assert_true(fits(SD_F16, INFINITY));
    assert_true(fits(SD_F16, NAN));
    assert_false(fits(SD_BF16, FLT_MAX));
    float bad[32] = {[7] = NAN};
    uint8_t block[34];
    assert_false(sd_values_encode(SD_Q8_0, bad, 32, block));
}

static void arrays_begin_anywhere(void **state) {
    static const sd_dtype types[] = {SD_F64, SD_F32, SD_F16, SD_BF16, SD_F8_E4M3, SD_F8_E5M2, SD_Q8_0};
    float in[64], out[8];
    uint8_t bytes[1 + 64 * 8];
    (void)state;
    for (int i = 0; i < 64; i++)
        in[i] = (float)(i - 20) * (i == 0 ? 1 : 0.25f);
    in[0] = in[32] = 127 * 0.25f; /* quarters are then Q8_0's steps too */
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        assert_true(sd_dtype_real(types[t]));
        assert_true(sd_values_encode(types[t], in, 64, bytes + 1));
        sd_values_decode(types[t], bytes + 1, 29, 8, out);
        for (int i = 0; i < 8; i++)
            if (sd_dtype_size(types[t]) != 1)
                assert_true(out[i] == in[29 + i]);
            else
                assert_true(out[i] == decode(types[t], (uint8_t)encode(types[t], in[29 + i])));
    }
    assert_false(sd_dtype_real(SD_I64));
    assert_false(sd_dtype_real(SD_BOOL));
    assert_true(sd_dtype_real(SD_IQ4_XS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_eighths),
        cmocka_unit_test(eighths_round_to_nearest_even),
        cmocka_unit_test(what_does_not_fit_is_told),
        cmocka_unit_test(arrays_begin_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
