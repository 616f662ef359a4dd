/* Tensors that do not fit into what the loader moves at once (16 MiB), in weights that do not fit into one
 * buffer (256 MiB). All of them share the same values, which saves memory. */
#include "tests/unit/nn/device_words.h"

#include "sd/base/quant.h"
#include "tests/ref/pack_weight.h"
#include "tests/unit/nn/checkpoint.h"

#include <stdio.h>
#include <string.h>

/* Rows of an odd length, none of whose multiples is 16 MiB, and more of them than fit. */
enum { rows = 1366, columns = 12347 };

_Static_assert((uint64_t)rows *columns * 4 > 2 * SD_UPLOAD_BYTES, "one tensor is moved in several pieces");

/* Every value is another one: the floats from 1 upwards. */
static uint32_t *numbered(void) {
    uint32_t *values = malloc((size_t)rows * columns * sizeof *values);
    assert_non_null(values);
    for (uint32_t i = 0; i < rows * columns; i++)
        values[i] = 0x3F800000 + i;
    return values;
}

static void expect_apart(const sd_weights *w) {
    for (size_t i = 0; i < sd_weights_count(w); i++)
        for (size_t j = 0; j < i; j++) {
            const sd_weight *a = sd_weights_at(w, i), *b = sd_weights_at(w, j);
            assert_true(a->address >= b->address + b->bytes || b->address >= a->address + a->bytes);
        }
}

static void tensors_come_in_pieces(void **state) {
    sd_vk *vk = *state;
    uint32_t *values = numbered();
    const struct sd_raw raw = {SD_F32, 2, {rows, columns}, values, (uint64_t)rows * columns * sizeof *values};
    const struct sd_raw bias = {SD_F32, 1, {rows}, values, rows * sizeof *values};
    struct stored list[] = {{"up.weight", raw}, {"up.bias", bias}, {"q.weight", raw},
                            {"k.weight", raw},  {"table", raw},    {NULL, {0}}};
    const struct sd_weight_source source = {.label = "test", .user = list, .find = find_stored};
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    sd_bind_geglu(w, rows, columns, "up");
    sd_bind_stack(w, rows, columns, false, (const char *const[]){"q", "k", NULL}, "%s", "");
    sd_bind_table(w, rows, columns, "table");
    if (sd_weights_load(w, vk, &source, SD_WEIGHTS_LOSSLESS, &err))
        fail_msg("%s", err.message);
    assert_true(sd_weights_bytes(w) > 256 << 20);
    expect_apart(w);
    for (size_t i = 0; i < sd_weights_count(w); i++) {
        const sd_weight *x = sd_weights_at(w, i);
        const struct sd_raw parts[SD_WEIGHT_PARTS] = {x->form == SD_WEIGHT_GEGLU_VECTOR ? bias : raw, raw};
        uint32_t *words = device_words(vk, w, x);
        ref_check_weight(sd_vk_info(vk), x, parts, words);
        free(words);
    }
    sd_weights_destroy(vk, &w);
    free(values);
}

/* Quantised tensors are as large as their f32 values; here the second piece begins inside of a block. */
static void quantised_tensors_come_in_pieces(void **state) {
    enum { more_rows = 1376, blocks = more_rows * columns / 32 };
    _Static_assert((uint64_t)more_rows * columns % 32 == 0, "whole blocks");
    _Static_assert((SD_UPLOAD_BYTES / (columns * 4) & ~1u) * columns % 32 != 0,
                   "a piece ends inside of a block");
    const uint64_t count = (uint64_t)more_rows * columns;
    uint8_t *stored = calloc(blocks, 34);
    float *values = malloc(count * sizeof *values);
    assert_non_null(stored);
    assert_non_null(values);
    for (uint32_t i = 0; i < blocks; i++) {
        stored[34 * (size_t)i] = (uint8_t)i; /* the scale: another one in every block */
        stored[34 * (size_t)i + 1] = (uint8_t)(0x30 + i / 256 % 8);
        for (uint32_t k = 0; k < 32; k++)
            stored[34 * (size_t)i + 2 + k] = (uint8_t)(k * 7 + i);
    }
    sd_dequantise(SD_Q8_0, stored, 0, count, values);
    struct stored list[] = {{"table", {SD_Q8_0, 2, {more_rows, columns}, stored, (uint64_t)blocks * 34}},
                            {NULL, {0}}};
    const struct sd_raw plain = {SD_F32, 2, {more_rows, columns}, values, count * sizeof *values};
    const struct sd_weight_source source = {.label = "test", .user = list, .find = find_stored};
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    const sd_weight *table = sd_bind_table(w, more_rows, columns, "table");
    if (sd_weights_load(w, *state, &source, SD_WEIGHTS_LOSSLESS, &err))
        fail_msg("%s", err.message);
    assert_int_equal(table->dtype, SD_F32);
    uint32_t *words = device_words(*state, w, table);
    ref_check_weight(sd_vk_info(*state), table, &plain, words);
    free(words);
    sd_weights_destroy(*state, &w);
    free(values);
    free(stored);
}

static void refused(sd_vk *vk, const struct sd_raw *raw, const char *found) {
    struct stored list[] = {{"table", *raw}, {NULL, {0}}};
    const struct sd_weight_source source = {.label = "model.safetensors", .user = list, .find = find_stored};
    sd_weights *w;
    sd_error err;
    char expected[128];
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    const sd_weight *table = sd_bind_table(w, 1, (uint32_t)raw->shape[1], "table");
    assert_int_equal(sd_weights_load(w, vk, &source, SD_WEIGHTS_LOSSLESS, &err), SD_E_UNSUPPORTED);
    snprintf(expected, sizeof expected,
             "model.safetensors: tensor table: expected rows of at most 8388608 bytes, found %s", found);
    assert_string_equal(err.message, expected);
    assert_int_equal(table->address, 0);
    sd_weights_destroy(vk, &w);
}

/* A piece holds two whole rows at least, so that one may not be larger than half a piece; quantised ones
 * count as f32.
 */
static void rows_beyond_a_piece_are_refused(void **state) {
    static const float data[1];
    const uint32_t width = SD_UPLOAD_BYTES / 8 + 1, blocks = SD_UPLOAD_BYTES / 8 / 32 + 1;
    refused(*state, &(struct sd_raw){SD_F32, 2, {1, width}, data, (uint64_t)width * 4}, "8388612");
    refused(*state, &(struct sd_raw){SD_Q8_0, 2, {1, 32 * blocks}, data, (uint64_t)blocks * 34}, "8388736");
}

/* As with a card whose memory the host cannot reach. */
static int open_staging(void **state) {
    const struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE"), .staging = true};
    sd_error err;
    sd_vk *vk = NULL;
    if (sd_vk_open(&vk, &options, &err))
        print_error("%s\n", err.message);
    *state = vk;
    return vk ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tensors_come_in_pieces),
                                       cmocka_unit_test(quantised_tensors_come_in_pieces),
                                       cmocka_unit_test(rows_beyond_a_piece_are_refused)};
    const struct CMUnitTest staged[] = {cmocka_unit_test(tensors_come_in_pieces)};
    int failed = cmocka_run_group_tests(tests, optest_open, optest_close);
    return failed + cmocka_run_group_tests_name("staging", staged, open_staging, optest_close);
}
