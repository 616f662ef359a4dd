/* Single values of a tensor, of every element type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "sd/io/file_tensor.h"

static float value(sd_file_dtype dtype, const char *bytes, uint64_t index) {
    const sd_file_tensor t = {.dtype = dtype, .data = (const uint8_t *)bytes};
    return sd_file_tensor_value(&t, index);
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        sd_file_dtype dtype;
        const char *bytes; /* two values, the first of all ones */
        float second;
    } rows[] = {
        {SD_FILE_F64, "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\xf8\xbf", -1.5f},
        {SD_FILE_F32, "\xff\xff\xff\xff\0\0\xc0\x3f", 1.5f},
        {SD_FILE_F16, "\xff\xff\x01\xbc", -1.0009765625f},
        {SD_FILE_BF16, "\xff\xff\x49\x40", 3.140625f},
        {SD_FILE_I64, "\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff", -2},
        {SD_FILE_I32, "\xff\xff\xff\xff\0\0\1\0", 65536},
        {SD_FILE_I16, "\xff\xff\0\x80", -32768},
        {SD_FILE_I8, "\xff\x80", -128},
        {SD_FILE_U64, "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x80", 9223372036854775808.0f},
        {SD_FILE_U32, "\xff\xff\xff\xff\0\0\0\x80", 2147483648.0f},
        {SD_FILE_U16, "\xff\xff\0\x80", 32768},
        {SD_FILE_U8, "\xff\x80", 128},
        {SD_FILE_BOOL, "\xff\1", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(value(rows[i].dtype, rows[i].bytes, 1) == rows[i].second);
    assert_true(isnan(value(SD_FILE_F32, rows[1].bytes, 0)));
    assert_true(value(SD_FILE_I16, "\xff\xff", 0) == -1);
    assert_true(value(SD_FILE_U16, "\xff\xff", 0) == 65535);
}

/* Zero, the smallest and largest subnormals, 1, the largest, NaN and infinity, with both signs. */
static void eight_bits(void **state) {
    (void)state;
    const char *const e4m3 = "\x00\x01\x07\x08\x38\x3c\x7e\x81\xfe";
    const float want4[] = {0, 0x1p-9f, 7 * 0x1p-9f, 0x1p-6f, 1, 1.5f, 448, -0x1p-9f, -448};
    for (uint64_t i = 0; i < 9; i++)
        assert_true(value(SD_FILE_F8_E4M3, e4m3, i) == want4[i]);
    assert_true(isnan(value(SD_FILE_F8_E4M3, "\x7f", 0)) && isnan(value(SD_FILE_F8_E4M3, "\xff", 0)));
    const char *const e5m2 = "\x00\x01\x03\x04\x3c\x3e\x7b\x81\xfb\x7c";
    const float want5[] = {0, 0x1p-16f, 3 * 0x1p-16f, 0x1p-14f, 1, 1.5f, 57344, -0x1p-16f, -57344, INFINITY};
    for (uint64_t i = 0; i < 10; i++)
        assert_true(value(SD_FILE_F8_E5M2, e5m2, i) == want5[i]);
    assert_true(isnan(value(SD_FILE_F8_E5M2, "\x7d", 0)));
}

/* A block of a quantised type is longer than any number. */
static void no_numbers(void **state) {
    (void)state;
    static const char block[256];
    static const sd_file_dtype types[] = {SD_FILE_Q4_0, SD_FILE_Q6_K,    SD_FILE_C64,
                                          SD_FILE_F4,   SD_FILE_F6_E2M3, SD_FILE_F8_E8M0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_true(isnan(value(types[i], block, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(eight_bits),
        cmocka_unit_test(no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
