/* Linear layers whose weights stay quantised on the device. */
#include "tests/op/optest.h"

#include "sd/base/half.h"
#include "sd/base/quant.h"
#include "tests/ref/gemm.h"
#include "tests/ref/side.h"

#include <stdlib.h>
#include <string.h>

static const sd_dtype types[] = {SD_Q4_0, SD_Q4_1, SD_Q5_0, SD_Q5_1, SD_Q8_0, SD_IQ4_NL,
                                 SD_Q2_K, SD_Q3_K, SD_Q4_K, SD_Q5_K, SD_Q6_K, SD_IQ4_XS};
enum { type_count = sizeof types / sizeof *types };

struct quant_case {
    sd_dtype type, act;
    uint32_t rows, n, c; /* [rows,c] -> [rows,n] */
    bool geglu;
};

/* Blocks of random bits, with scales that are numbers: their exponents are kept in a middle range. */
static void *random_blocks(optest *t, const struct quant_case *k) {
    const sd_dtype_block block = sd_dtype_block_of(k->type);
    uint64_t count = (uint64_t)k->n * k->c / block.values;
    float *values = malloc(block.values * sizeof *values);
    uint8_t *blocks = calloc(count + 1, block.bytes);
    assert_non_null(values);
    assert_non_null(blocks);
    for (uint64_t i = 0; i < count; i++) {
        float size = 1 + (float)optest_int(t, 0, 100) / 10, shift = optest_uniform(t);
        for (uint32_t v = 0; v < block.values; v++)
            values[v] = size * optest_uniform(t) + shift;
        assert_true(sd_quantise(k->type, values, block.values, blocks + i * block.bytes));
    }
    free(values);
    return blocks;
}

static sd_layer bind(optest *t, const struct quant_case *k) {
    sd_weights *w = optest_weights(t);
    return k->geglu ? sd_bind_geglu(w, k->n, k->c, "layer") : sd_bind_linear(w, k->n, k->c, true, "layer");
}

static sd_tensor *build(optest *t, const struct quant_case *k, sd_layer layer, const float *x) {
    sd_graph *g = optest_graph(t);
    sd_tensor *in = optest_input(t, 1, 1, k->rows, k->c, x);
    return k->geglu ? sd_linear_geglu(g, in, layer) : sd_linear(g, in, layer, &(sd_fuse){.f32 = true});
}

static float *start(optest *t, const struct quant_case *k, const float **bias) {
    const uint64_t shape[] = {k->n, k->c};
    void *blocks = random_blocks(t, k);
    float *weight = optest_random(t, (size_t)k->n * k->c, SD_F32);
    optest_blocks(t, "layer.weight", k->type, 2, shape, blocks);
    float *zeros = optest_random(t, k->n, SD_F32);
    for (uint32_t i = 0; i < k->n && !k->geglu; i++)
        zeros[i] = 0;
    optest_tensor(t, "layer.bias", SD_F32, 1, shape, zeros);
    *bias = zeros;
    sd_dequantise(k->type, blocks, 0, (uint64_t)k->n * k->c, weight);
    return weight;
}

/* Rows of the unit matrix read the weights out: each result is one product with 1 among products with 0, so
 * that every bit of the expanded value shows. Matrix hardware gets them rounded to f16. */
static void check_bits(void **state, sd_dtype type, sd_dtype act, uint32_t n, uint32_t c) {
    const struct quant_case k = {.type = type, .act = act, .rows = c, .n = n, .c = c};
    const float *bias;
    optest *t = optest_begin(state, act);
    optest_seed(t, (uint64_t)type * 100 + n);
    float *weight = start(t, &k, &bias), *x = optest_random(t, (size_t)c * c, SD_F32);
    for (uint32_t i = 0; i < c * c; i++)
        x[i] = i / c == i % c;
    const float *got = optest_run(t, build(t, &k, bind(t, &k), x));
    bool rounded = optest_info(t)->coop.m && optest_info(t)->kind == SD_VK_DISCRETE && act == SD_F16;
    for (uint32_t r = 0; r < c; r++)
        for (uint32_t i = 0; i < n; i++) {
            float want = weight[(size_t)i * c + r];
            want = rounded ? sd_f32_from_f16(sd_f16_from_f32(want)) : want;
            if (got[(size_t)r * n + i] != want)
                fail_msg("%s: row %u, k %u is %.9g, expected %.9g", sd_dtype_name(type), i, r,
                         (double)got[(size_t)r * n + i], (double)want);
        }
    optest_end(&t);
}

static void every_bit_of_every_type(void **state) {
    for (uint64_t i = 0; i < optest_cases(2 * type_count); i++)
        if (i / type_count % 2)
            check_bits(state, types[i % type_count], SD_F16, 33, 512);
        else
            check_bits(state, types[i % type_count], SD_F32, 70, 256);
}

/* Inputs are small enough that results stay below about 10. f32 rounds as in op.gemm. f16 results are off by
 * half a unit in the last place, and weights that matrix hardware takes as f16 (below 12, so off by 2^-9 at
 * most) by 3e-4 a sum of 512, ten times that behind a gate. */
static void sums_match_the_reference(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(24); seed++) {
        struct quant_case k = {.type = types[seed % type_count],
                               .act = seed / type_count % 2 ? SD_F16 : SD_F32};
        const float *bias;
        optest *t = optest_begin(state, k.act);
        optest_seed(t, seed);
        k.geglu = optest_int(t, 0, 2) == 0;
        k.rows = optest_int(t, 0, 3) ? optest_int(t, 1, 90) : 1;
        k.n = 2 * optest_int(t, 1, 80);
        k.c = 256 * optest_int(t, 1, 2);
        float *weight = start(t, &k, &bias), *x = optest_random(t, (size_t)k.rows * k.c, k.act);
        for (size_t i = 0; i < (size_t)k.rows * k.c; i++)
            x[i] /= 64;
        struct ref_conv q = {.n = 1,
                             .h = 1,
                             .w = k.rows,
                             .c = k.c,
                             .oh = 1,
                             .ow = k.rows,
                             .oc = k.n,
                             .kernel = 1,
                             .stride = 1,
                             .geglu = k.geglu,
                             .x = x,
                             .weight = weight,
                             .bias = bias};
        sd_layer layer = bind(t, &k);
        if (seed % 3 == 0)
            side_attach(t, layer, &q, k.act);
        size_t count = (size_t)k.rows * (k.geglu ? k.n / 2 : k.n);
        float *want = calloc(count + 1, sizeof *want);
        assert_non_null(want);
        ref_conv(&q, want);
        bool rounded = k.act == SD_F16;
        optest_compare(optest_run(t, build(t, &k, layer, x)), want, count, rounded ? 1e-3 : 1e-5,
                       rounded ? 1e-2 : 2e-5, "%s [%u,%u]->%u geglu %d f16 %d side %d", sd_dtype_name(k.type),
                       k.rows, k.c, k.n, k.geglu, rounded, q.side != NULL);
        free(want);
        optest_end(&t);
    }
}

static int open_as_gpu(void **state) {
    int failed = optest_open(state);
    if (!failed) {
        ((struct sd_vk_info *)sd_vk_info(*state))->kind = SD_VK_DISCRETE;
        ((struct sd_vk_info *)sd_vk_info(*state))->cores = 2; /* tiles of every size */
    }
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_every_type),
        cmocka_unit_test(sums_match_the_reference),
    };
    int failed = cmocka_run_group_tests_name("as the device is", tests, optest_open, optest_close);
    return failed + cmocka_run_group_tests_name("as a GPU", tests, open_as_gpu, optest_close);
}
