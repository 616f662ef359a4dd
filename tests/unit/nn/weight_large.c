/* Tensors that do not fit into what the loader moves at once (64 MiB), in weights that do not fit into one
 * buffer (256 MiB). All of them share the same values, which saves memory. */
#include "tests/unit/nn/device_words.h"

#include "tests/ref/pack_weight.h"
#include "tests/unit/nn/checkpoint.h"

#include <string.h>

/* Rows of an odd length, none of whose multiples is 64 MiB, and a little more of them than fit. */
enum { rows = 1366, columns = 12347 };

_Static_assert((uint64_t)rows *columns * 4 > 64 << 20, "one tensor is moved in several pieces");

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
        uint32_t *words = device_words(vk, x);
        ref_check_weight(sd_vk_info(vk), x, parts, words);
        free(words);
    }
    sd_weights_destroy(vk, &w);
    free(values);
}

/* A piece holds whole rows, so one row may not be larger than a piece. */
static void rows_beyond_a_piece_are_refused(void **state) {
    static const float data[1];
    const uint32_t width = (64 << 20) / 4 + 1;
    struct stored list[] = {{"table", {SD_F32, 2, {1, width}, data, (uint64_t)width * 4}}, {NULL, {0}}};
    const struct sd_weight_source source = {.label = "model.safetensors", .user = list, .find = find_stored};
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    const sd_weight *table = sd_bind_table(w, 1, width, "table");
    assert_int_equal(sd_weights_load(w, *state, &source, SD_WEIGHTS_LOSSLESS, &err), SD_E_UNSUPPORTED);
    assert_string_equal(err.message,
                        "model.safetensors: tensor table: expected rows of at most 67108864 bytes, found "
                        "67108868");
    assert_int_equal(table->address, 0);
    sd_weights_destroy(*state, &w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tensors_come_in_pieces),
                                       cmocka_unit_test(rows_beyond_a_piece_are_refused)};
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
