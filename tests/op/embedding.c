#include "tests/op/optest.h"

#include "tests/ref/embedding.h"

#include <math.h>
#include <string.h>

static void one_case(void **state, uint64_t seed, sd_dtype act, sd_dtype table, uint32_t c,
                     bool with_positions, uint32_t extra_rows) {
    optest *t = optest_begin(state, act);
    optest_seed(t, seed);
    enum { longest = 77 };
    uint32_t n = optest_int(t, 1, 3), length = optest_int(t, 1, longest), table_rows = optest_int(t, 1, 200);
    int32_t tokens[3 * longest];
    for (uint32_t i = 0; i < n * length; i++)
        tokens[i] = (int32_t)optest_int(t, 0, table_rows + extra_rows - 1);
    tokens[0] = (int32_t)(seed % 2 ? table_rows : table_rows + extra_rows) - 1;
    tokens[n * length - 1] = seed % 3 == 0 ? -1 : seed % 3 == 1 ? (int32_t)(table_rows + extra_rows) : 0;
    float *rows = optest_random(t, (size_t)table_rows * c, table);
    float *positions = optest_random(t, (size_t)longest * c, table);
    float *extra = optest_random(t, (size_t)(extra_rows + 1) * c, act);
    const uint64_t rows_shape[] = {table_rows, c}, positions_shape[] = {longest, c};
    optest_tensor(t, "tokens", table, 2, rows_shape, rows);
    const sd_weight *row_table = sd_bind_table(optest_weights(t), table_rows, c, "tokens"),
                    *position_table = NULL;
    if (with_positions) {
        optest_tensor(t, "positions", table, 2, positions_shape, positions);
        position_table = sd_bind_table(optest_weights(t), longest, c, "positions");
    }
    size_t count = (size_t)n * length * c;
    float *want = optest_random(t, count, SD_F32);
    ref_embedding(want, tokens, n, length, rows, table_rows, extra, extra_rows,
                  with_positions ? positions : NULL, c);
    sd_tensor *ids = optest_input_i32(t, n, 1, length, 1, tokens),
              *behind = extra_rows ? optest_input(t, 1, 1, extra_rows, c, extra) : NULL;
    sd_tensor *out = sd_embedding_extended(optest_graph(t), ids, row_table, behind, position_table);
    /* One addition, which f16 activations round once more. */
    optest_compare(optest_run(t, out), want, count, act == SD_F16 ? 0x1p-11 : 0, act == SD_F16 ? 0x1p-25 : 0,
                   "%u tokens, table [%u,%u] %s and %u rows", n * length, table_rows, c, sd_dtype_name(table),
                   extra_rows);
    optest_end(&t);
}

static void rows_and_positions(void **state) {
    static const uint32_t widths[] = {64, 768, 37, 6, 1, 1280};
    for (uint64_t seed = 0; seed < optest_cases(24); seed++)
        one_case(state, seed, seed / 2 % 2 ? SD_F16 : SD_F32, seed % 2 ? SD_F16 : SD_F32, widths[seed / 4],
                 seed % 8 < 5, 0);
}

static void rows_behind_the_table(void **state) {
    static const uint32_t widths[] = {64, 37, 768, 6, 1, 1280};
    for (uint64_t seed = 0; seed < optest_cases(24); seed++)
        one_case(state, seed, seed / 2 % 2 ? SD_F16 : SD_F32, seed % 2 ? SD_F16 : SD_F32, widths[seed / 4],
                 seed % 8 < 5, seed % 5 ? (uint32_t)(1 + seed * 3) : 1);
}

static void extra_rows_of_another_width_are_refused(void **state) {
    optest *t = optest_begin(state, SD_F32);
    static const int32_t tokens[1];
    static const float values[40];
    const uint64_t shape[] = {8, 4};
    sd_error err;
    optest_tensor(t, "a", SD_F32, 2, shape, values);
    const sd_weight *a = sd_bind_table(optest_weights(t), 8, 4, "a");
    assert_null(sd_embedding_extended(optest_graph(t), optest_input_i32(t, 1, 1, 1, 1, tokens), a,
                                      optest_input(t, 1, 1, 3, 5, values), a));
    assert_int_equal(sd_graph_status(optest_graph(t), &err), SD_E_INTERNAL);
    assert_string_equal(err.message, "embedding: expected extra rows of 4 reals, found F32 [3,5]");
    optest_end(&t);
}

static void too_few_positions_are_refused(void **state) {
    optest *t = optest_begin(state, SD_F32);
    static const int32_t tokens[9];
    static const float values[40];
    const uint64_t shape[] = {8, 4};
    sd_error err;
    optest_tensor(t, "a", SD_F32, 2, shape, values);
    const sd_weight *a = sd_bind_table(optest_weights(t), 8, 4, "a");
    assert_null(sd_embedding(optest_graph(t), optest_input_i32(t, 1, 1, 9, 1, tokens), a, a));
    assert_int_equal(sd_graph_status(optest_graph(t), &err), SD_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "9 or more"));
    optest_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_positions),
        cmocka_unit_test(rows_behind_the_table),
        cmocka_unit_test(too_few_positions_are_refused),
        cmocka_unit_test(extra_rows_of_another_width_are_refused),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
