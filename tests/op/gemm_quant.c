/* Linear layers and convolutions whose weights stay quantised on the device. */
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
    uint32_t images, h, w, n, c; /* [images,h,w,c] -> n channels */
    uint32_t kernel, stride;
    bool geglu, upsample;
};

static uint64_t weight_values(const struct quant_case *k) {
    return (uint64_t)k->n * k->c * k->kernel * k->kernel;
}

/* Blocks of random bits, with scales that are numbers: their exponents are kept in a middle range. */
static void *random_blocks(optest *t, const struct quant_case *k) {
    const sd_dtype_block block = sd_dtype_block_of(k->type);
    uint64_t count = weight_values(k) / block.values;
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
    return k->geglu      ? sd_bind_geglu(w, k->n, k->c, "layer")
           : k->upsample ? sd_bind_upsample(w, k->n, k->c, "layer")
                         : sd_bind_conv(w, k->n, k->c, k->kernel, "layer");
}

static sd_tensor *build(optest *t, const struct quant_case *k, sd_layer layer, const float *x) {
    sd_graph *g = optest_graph(t);
    sd_tensor *in = optest_input(t, k->images, k->h, k->w, k->c, x);
    const sd_fuse fuse = {.f32 = true};
    if (k->geglu)
        return sd_linear_geglu(g, in, layer);
    if (k->kernel == 1)
        return sd_linear(g, in, layer, &fuse);
    if (k->upsample)
        return sd_upsample_conv2d(g, in, layer, &fuse);
    return k->stride == 2 ? sd_conv2d_down(g, in, layer, 1, &fuse) : sd_conv2d(g, in, layer, &fuse);
}

static float *start(optest *t, const struct quant_case *k, const float **bias) {
    const uint64_t shape[] = {k->n, k->c, k->kernel, k->kernel};
    void *blocks = random_blocks(t, k);
    float *weight = optest_random(t, weight_values(k), SD_F32);
    optest_blocks(t, "layer.weight", k->type, 4, shape, blocks);
    float *zeros = optest_random(t, k->n, SD_F32);
    for (uint32_t i = 0; i < k->n && !k->geglu; i++)
        zeros[i] = 0;
    optest_tensor(t, "layer.bias", SD_F32, 1, shape, zeros);
    *bias = zeros;
    sd_dequantise(k->type, blocks, 0, weight_values(k), weight);
    return weight;
}

/* An image for each channel with a single one, in its middle pixel, reads the weights out: each result is one
 * product with 1 among products with 0, so that every bit of the expanded value shows. Matrix hardware gets
 * them rounded to f16. */
static void check_bits(void **state, sd_dtype type, sd_dtype act, uint32_t kernel, uint32_t n, uint32_t c) {
    const struct quant_case k = {type, act, c, kernel, kernel, n, c, kernel, 1, false, false};
    const float *bias;
    optest *t = optest_begin(state, act);
    optest_seed(t, (uint64_t)type * 100 + n);
    uint32_t taps = kernel * kernel;
    float *weight = start(t, &k, &bias), *x = optest_random(t, (size_t)c * taps * c, SD_F32);
    for (uint32_t i = 0; i < c * taps * c; i++)
        x[i] = i % c == i / c / taps && i / c % taps == taps / 2;
    const float *got = optest_run(t, build(t, &k, bind(t, &k), x));
    bool rounded = optest_info(t)->coop.m && optest_info(t)->kind == SD_VK_DISCRETE && act == SD_F16;
    for (uint32_t i = 0; i < c * taps * n; i++) {
        uint32_t row = i % n, channel = i / n / taps, tap = taps - 1 - i / n % taps;
        float want = weight[((size_t)row * c + channel) * taps + tap];
        want = rounded ? sd_f32_from_f16(sd_f16_from_f32(want)) : want;
        if (got[i] != want)
            fail_msg("%s: row %u, channel %u, tap %u of %u is %.9g, expected %.9g", sd_dtype_name(type), row,
                     channel, tap, taps, (double)got[i], (double)want);
    }
    optest_end(&t);
}

/* Rows of whole blocks, and rows that end inside a block of 256: of 3 units, or 27 and 45 with nine taps. */
static void every_bit_of_every_type(void **state) {
    static const struct {
        sd_dtype act;
        uint32_t kernel, n, c;
    } shapes[] = {{SD_F32, 1, 70, 256}, {SD_F16, 1, 33, 512}, {SD_F32, 1, 72, 96},
                  {SD_F32, 3, 72, 96},  {SD_F16, 3, 8, 160},  {SD_F16, 3, 33, 256}};
    enum { count = sizeof shapes / sizeof *shapes };
    /* All pairs, in an order that has something of each even in the few cases of a slow device. */
    for (uint64_t i = 0; i < optest_cases(count * type_count); i++) {
        uint64_t shape = (i % type_count + i / type_count) % count;
        check_bits(state, types[i % type_count], shapes[shape].act, shapes[shape].kernel, shapes[shape].n,
                   shapes[shape].c);
    }
}

static void choose_shape(optest *t, struct quant_case *k) {
    uint32_t rows = optest_int(t, 0, 3) ? optest_int(t, 1, 90) : 1;
    k->images = k->h = k->kernel = k->stride = 1;
    k->geglu = optest_int(t, 0, 2) == 0;
    k->w = rows;
    k->n = 16 * optest_int(t, 1, 10);
    k->c = 32 * optest_int(t, 1, 16);
    if (k->geglu || optest_int(t, 0, 1))
        return;
    k->kernel = 3;
    k->upsample = optest_int(t, 0, 2) == 0;
    k->stride = k->upsample ? 1 : optest_int(t, 1, 2);
    k->images = optest_int(t, 1, 2);
    k->h = optest_int(t, 1, 9);
    k->w = optest_int(t, 1, 9);
    k->c = 32 * optest_int(t, 1, 5);
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
        choose_shape(t, &k);
        size_t inputs = (size_t)k.images * k.h * k.w * k.c;
        float *weight = start(t, &k, &bias), *x = optest_random(t, inputs, k.act);
        for (size_t i = 0; i < inputs; i++)
            x[i] /= 64;
        uint32_t oh = k.upsample ? 2 * k.h : (k.h - 1) / k.stride + 1;
        uint32_t ow = k.upsample ? 2 * k.w : (k.w - 1) / k.stride + 1;
        struct ref_conv q = {.n = k.images,
                             .h = k.h,
                             .w = k.w,
                             .c = k.c,
                             .oh = oh,
                             .ow = ow,
                             .oc = k.n,
                             .kernel = k.kernel,
                             .stride = k.stride,
                             .pad = k.kernel / 2,
                             .geglu = k.geglu,
                             .upsample = k.upsample,
                             .x = x,
                             .weight = weight,
                             .bias = bias};
        sd_layer layer = bind(t, &k);
        if (seed % 3 == 0)
            side_attach(t, layer, &q, k.act, false);
        const struct sd_weight_side *side = layer.weight->side;
        optest_load(t); /* which takes sides away that it did not make */
        ((sd_weight *)layer.weight)->side = side;
        size_t count = (size_t)k.images * oh * ow * (k.geglu ? k.n / 2 : k.n);
        float *want = calloc(count + 1, sizeof *want);
        assert_non_null(want);
        ref_conv(&q, want);
        bool rounded = k.act == SD_F16;
        optest_compare(
            optest_run(t, build(t, &k, layer, x)), want, count, rounded ? 1e-3 : 1e-5, rounded ? 1e-2 : 2e-5,
            "%s [%u,%u,%u,%u]->%u kernel %u stride %u up %d geglu %d f16 %d side %d", sd_dtype_name(k.type),
            k.images, k.h, k.w, k.c, k.n, k.kernel, k.stride, k.upsample, k.geglu, rounded, q.side != NULL);
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
