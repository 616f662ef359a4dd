#include "tests/op/optest.h"

#include "sd/base/half.h"
#include "tests/ref/gemm.h"
#include "tests/ref/side.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind { kind_linear, kind_geglu, kind_conv1, kind_conv3, kind_down0, kind_down1, kind_upsample, kinds };

static const char *const kind_names[] = {"linear",      "geglu",       "conv 1x1", "conv 3x3",
                                         "down, pad 0", "down, pad 1", "upsample"};

/* Everything that one random case consists of. */
struct gemm_case {
    enum kind kind;
    sd_dtype act, stored;
    struct ref_conv q;
    bool slice, concat;
    uint32_t c1;
};

static float *sized(size_t count) {
    float *p = calloc(count + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

static void pick_shape(optest *t, struct gemm_case *k) {
    bool linear = k->kind == kind_linear || k->kind == kind_geglu;
    struct ref_conv *q = &k->q;
    q->n = optest_int(t, 1, 3);
    q->h = optest_int(t, 2, linear ? 12 : 9);
    q->w = optest_int(t, 2, 11);
    q->c = optest_int(t, 0, 2) ? optest_int(t, 1, 70) : 8 * optest_int(t, 1, 12);
    q->oc = optest_int(t, 0, 2) ? optest_int(t, 1, 150) : 32 * optest_int(t, 1, 5);
    if (k->kind == kind_geglu)
        q->oc += q->oc & 1;
    if (optest_int(t, 0, 7) == 0)
        q->n = q->h = q->w = 1; /* a single row: the time embedding */
    if (k->kind == kind_down0 || k->kind == kind_down1) {
        q->h += q->h < 2;
        q->w += q->w < 2;
    }
    q->kernel = linear || k->kind == kind_conv1 ? 1 : 3;
    q->stride = 1;
    q->pad = q->kernel / 2;
    q->oh = q->h;
    q->ow = q->w;
    if (k->kind == kind_down0 || k->kind == kind_down1) {
        q->stride = 2;
        q->pad = k->kind == kind_down1;
        q->oh = (q->h + q->pad - 2) / 2 + 1;
        q->ow = (q->w + q->pad - 2) / 2 + 1;
    }
    q->upsample = k->kind == kind_upsample;
    q->oh <<= q->upsample;
    q->ow <<= q->upsample;
    q->geglu = k->kind == kind_geglu;
}

/* The input as a slice of a wider tensor, as two concatenated parts, or plain. */
static sd_tensor *make_input(optest *t, struct gemm_case *k, const float *x) {
    struct ref_conv *q = &k->q;
    size_t rows = (size_t)q->n * q->h * q->w;
    if (k->slice) {
        uint32_t before = 2 * optest_int(t, 0, 4), wide = before + q->c + optest_int(t, 0, 5);
        float *all = optest_random(t, rows * wide, k->act);
        for (size_t r = 0; r < rows; r++)
            memcpy(all + r * wide + before, x + r * q->c, q->c * sizeof *x);
        return sd_slice(optest_graph(t), optest_input(t, q->n, q->h, q->w, wide, all), before, q->c);
    }
    if (k->concat) {
        uint32_t c2 = q->c - k->c1;
        float *a = optest_random(t, rows * k->c1, k->act), *b = optest_random(t, rows * c2, k->act);
        for (size_t r = 0; r < rows; r++) {
            memcpy(a + r * k->c1, x + r * q->c, k->c1 * sizeof *x);
            memcpy(b + r * c2, x + r * q->c + k->c1, c2 * sizeof *x);
        }
        return sd_concat(optest_graph(t), optest_input(t, q->n, q->h, q->w, k->c1, a),
                         optest_input(t, q->n, q->h, q->w, c2, b));
    }
    return optest_input(t, q->n, q->h, q->w, q->c, x);
}

static sd_layer bind(optest *t, struct gemm_case *k, bool bias) {
    struct ref_conv *q = &k->q;
    sd_weights *w = optest_weights(t);
    const uint64_t shape[] = {q->oc, q->c, q->kernel, q->kernel};
    bool matrix = k->kind == kind_linear || k->kind == kind_geglu;
    optest_tensor(t, "layer.weight", k->stored, matrix ? 2 : 4, shape, q->weight);
    if (q->bias)
        optest_tensor(t, "layer.bias", SD_F32, 1, shape, q->bias);
    switch (k->kind) {
    case kind_linear:
        return sd_bind_linear(w, q->oc, q->c, bias, "layer");
    case kind_geglu:
        return sd_bind_geglu(w, q->oc, q->c, "layer");
    case kind_upsample:
        return sd_bind_upsample(w, q->oc, q->c, "layer");
    default:
        return sd_bind_conv(w, q->oc, q->c, q->kernel, "layer");
    }
}

static sd_tensor *build(optest *t, struct gemm_case *k, sd_tensor *x, sd_layer layer, const sd_fuse *fuse) {
    sd_graph *g = optest_graph(t);
    switch (k->kind) {
    case kind_linear:
        return sd_linear(g, x, layer, fuse);
    case kind_geglu:
        return sd_linear_geglu(g, x, layer);
    case kind_down0:
    case kind_down1:
        return sd_conv2d_down(g, x, layer, k->kind == kind_down1, fuse);
    case kind_upsample:
        return sd_upsample_conv2d(g, x, layer, fuse);
    default:
        return sd_conv2d(g, x, layer, fuse);
    }
}

/* Rounding of f32 sums grows with the root of their length: 2^-24 * sqrt(K) * the sum's size (inputs below 1,
 * K < 2,000) stays below 1e-5 with a margin of 4; f16 results add half a unit in the last place, 2^-11 of the
 * value. What comes from the side passes two more tensors of f16: the inner one, below 4, is off by 1e-3 and
 * summed up to 24 times with factors below 1/8; a gate or value below 5 enlarges that. */
static void check(optest *t, struct gemm_case *k, sd_tensor *out, bool f32) {
    struct ref_conv *q = &k->q;
    size_t count = (size_t)q->n * q->oh * q->ow * (q->geglu ? q->oc / 2 : q->oc);
    float *want = sized(count);
    const float *got = optest_run(t, out);
    ref_conv(q, want);
    bool half = k->act == SD_F16 && !f32;
    double absolute = k->stored == SD_F16 || !half ? 2e-5 : 2e-3;
    if (q->side && k->act == SD_F16)
        absolute = q->geglu ? 3e-2 : 5e-3;
    optest_compare(got, want, count, half ? 1e-3 : 1e-5, absolute,
                   "%s [%u,%u,%u,%u]->%u act %d%s f16 %d/%d slice %d concat %d(%u) side %d",
                   kind_names[k->kind], q->n, q->h, q->w, q->c, q->oc, q->act, q->act_last ? " last" : "",
                   k->act == SD_F16, k->stored == SD_F16, k->slice, k->concat, k->c1, q->side != NULL);
    free(want);
}

/* `half`: what matrix hardware takes, which is f16 throughout and channels in eights. `side`: with a side
 * term.
 */
static void run_case(void **state, uint64_t seed, bool half, bool side) {
    struct gemm_case k = {.kind = (enum kind)(seed % kinds)};
    k.act = half || seed / kinds % 2 ? SD_F16 : SD_F32;
    optest *t = optest_begin(state, k.act);
    optest_seed(t, seed);
    k.stored = optest_int(t, 0, 1) || half ? SD_F16 : SD_F32;
    pick_shape(t, &k);
    struct ref_conv *q = &k.q;
    if (half)
        q->c = (q->c + 7) & ~7u;
    k.slice = optest_int(t, 0, 4) == 0;
    k.c1 = q->c / 2 & ~15u;
    k.concat = !k.slice && k.c1 && optest_int(t, 0, 2) == 0;
    size_t rows = (size_t)q->n * q->h * q->w, outputs = (size_t)q->n * q->oh * q->ow * q->oc;
    float *x = optest_random(t, rows * q->c, k.act);
    for (size_t i = 0; i < rows * q->c && side; i++)
        x[i] /= 8;
    float *weight = optest_random(t, (size_t)q->oc * q->c * q->kernel * q->kernel, k.stored);
    bool bias = k.kind != kind_linear || optest_int(t, 0, 1), f32 = optest_int(t, 0, 3) == 0 && !q->geglu;
    q->x = x;
    q->weight = weight;
    q->bias = bias ? optest_random(t, q->oc, SD_F32) : NULL;
    sd_fuse fuse = {.f32 = f32};
    if (!q->geglu) {
        q->act = fuse.act = (sd_act)optest_int(t, SD_ACT_NONE, SD_ACT_TANH);
        q->act_last = fuse.act_last = optest_int(t, 0, 1);
        if (optest_int(t, 0, 1)) {
            q->one_vector = optest_int(t, 0, 1);
            q->vector = optest_random(t, (size_t)q->n * q->oc, k.act);
            fuse.vector = optest_input(t, q->one_vector ? 1 : q->n, 1, 1, q->oc, q->vector);
        }
        if (optest_int(t, 0, 1)) {
            q->residual = optest_random(t, outputs, k.act);
            fuse.residual = optest_input(t, q->n, q->oh, q->ow, q->oc, q->residual);
        }
    }
    sd_layer layer = bind(t, &k, bias);
    if (side)
        side_attach(t, layer, q, k.stored, true);
    check(t, &k, build(t, &k, make_input(t, &k, x), layer, &fuse), f32);
    optest_end(&t);
}

static void random_shapes_match_the_reference(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(280); seed++)
        run_case(state, seed, false, false);
}

static void random_shapes_in_half_precision_match_the_reference(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(84); seed++)
        run_case(state, 1000 + seed, true, false);
}

static void side_terms_match_the_reference(void **state) {
    for (uint64_t seed = 0; seed < optest_cases(112); seed++)
        run_case(state, 2000 + seed, seed % 4 == 3, true);
}

/* A NaN and an infinity reach every output that reads them, and no other. */
static void nan_and_infinity_propagate(void **state) {
    optest *t = optest_begin(state, SD_F32);
    struct ref_conv q = {
        .n = 1, .h = 9, .w = 9, .c = 12, .oh = 9, .ow = 9, .oc = 20, .kernel = 3, .stride = 1, .pad = 1};
    float *x = optest_random(t, 81 * 12, SD_F32), *weight = optest_random(t, 20 * 12 * 9, SD_F32);
    x[(2 * 9 + 2) * 12 + 5] = NAN;
    x[(7 * 9 + 6) * 12 + 11] = INFINITY;
    q.x = x;
    q.weight = weight;
    q.bias = optest_random(t, 20, SD_F32);
    struct gemm_case k = {.kind = kind_conv3, .act = SD_F32, .stored = SD_F32, .q = q};
    sd_layer layer = bind(t, &k, true);
    check(t, &k, build(t, &k, make_input(t, &k, x), layer, &(sd_fuse){0}), true);
    optest_end(&t);
}

/* Few cores are filled by few tiles, so that the largest ones are chosen for small shapes. */
static int open_as_gpu_of_one_core(void **state) {
    int failed = optest_open_as_gpu(state);
    if (!failed)
        ((struct sd_vk_info *)sd_vk_info(*state))->cores = 1;
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_shapes_match_the_reference),
        cmocka_unit_test(random_shapes_in_half_precision_match_the_reference),
        cmocka_unit_test(side_terms_match_the_reference),
        cmocka_unit_test(nan_and_infinity_propagate),
    };
    int failed = cmocka_run_group_tests_name("as the device is", tests, optest_open, optest_close);
    failed += cmocka_run_group_tests_name("as a GPU", tests, optest_open_as_gpu, optest_close);
    return failed +
           cmocka_run_group_tests_name("as a GPU of one core", tests, open_as_gpu_of_one_core, optest_close);
}
