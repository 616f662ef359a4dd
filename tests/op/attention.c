#include "tests/ref/attention.h"
#include "tests/op/optest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    uint32_t images, h, w, keys, heads, size;
    bool causal, packed; /* packed: query, key and value are slices of one tensor (self-attention) */
    float scale;
};

/* How large scores may get, and how exact results are: a score's rounding errors grow with its size, and the
 * weights are exponentials of scores. Queries and keys in [-1, 1) keep |score| below sqrt(size) / 2. */
static double tolerance(sd_dtype act) {
    return act == SD_F16 ? 6e-4 /* rounding of results in [-1, 1) to f16 */ : 4e-6;
}

static void check(void **state, sd_dtype act, bool gpu, const struct shape *s, uint64_t seed) {
    optest *t = optest_begin(state, act);
    sd_graph *g = optest_graph(t);
    optest_seed(t, seed);
    if (gpu) {
        g->info.kind = SD_VK_DISCRETE;
        if (seed % 2)
            g->info.shared_memory = 16384; /* the least that Vulkan allows */
    }
    uint32_t c = s->heads * s->size, queries = s->h * s->w, keys = s->packed ? queries : s->keys;
    uint32_t pitch = s->packed ? 3 * c : c;
    float *q, *k, *v;
    sd_tensor *tq, *tk, *tv;
    if (s->packed) {
        q = optest_random(t, (size_t)s->images * queries * pitch, act);
        k = q + c, v = q + 2 * c;
        sd_tensor *all = optest_input(t, s->images, s->h, s->w, pitch, q);
        tq = sd_slice(g, all, 0, c), tk = sd_slice(g, all, c, c), tv = sd_slice(g, all, 2 * c, c);
    } else {
        q = optest_random(t, (size_t)s->images * queries * c, act);
        k = optest_random(t, (size_t)s->images * keys * c, act);
        v = optest_random(t, (size_t)s->images * keys * c, act);
        tq = optest_input(t, s->images, s->h, s->w, c, q);
        tk = optest_input(t, s->images, 1, keys, c, k);
        tv = optest_input(t, s->images, 1, keys, c, v);
    }
    const sd_attention_params params = {s->heads, s->causal, s->scale};
    const float *got = optest_run(t, sd_attention(g, tq, tk, tv, &params));
    const struct ref_attention a = {s->images,
                                    queries,
                                    keys,
                                    s->heads,
                                    s->size,
                                    s->causal,
                                    s->scale != 0 ? (double)s->scale : 1 / sqrt(s->size)};
    size_t count = (size_t)s->images * queries * c;
    float *want = malloc(count * sizeof *want);
    assert_non_null(want);
    ref_attention(want, (struct ref_rows){q, pitch}, (struct ref_rows){k, pitch}, (struct ref_rows){v, pitch},
                  &a);
    optest_compare(got, want, count, 0, tolerance(act),
                   "%s, %s, [%u,%u,%u] x %u keys, %u heads of %u, causal %d, packed %d, seed %llu",
                   gpu ? "GPU" : "own kind", sd_dtype_name(act), s->images, s->h, s->w, keys, s->heads,
                   s->size, s->causal, s->packed, (unsigned long long)seed);
    free(want);
    optest_end(&t);
}

static void check_all(void **state, const struct shape *s, uint64_t seed) {
    for (int variant = 0; variant < 4; variant++)
        check(state, variant & 1 ? SD_F16 : SD_F32, variant & 2, s, seed);
}

static void test_models(void **state) {
    static const struct shape shapes[] = {
        {.images = 1, .h = 16, .w = 16, .heads = 8, .size = 40, .packed = true},
        {.images = 2, .h = 8, .w = 8, .heads = 8, .size = 80, .packed = true},
        {.images = 1, .h = 4, .w = 4, .heads = 8, .size = 160, .packed = true},
        {.images = 2, .h = 16, .w = 12, .keys = 77, .heads = 2, .size = 40},
        {.images = 1, .h = 8, .w = 8, .keys = 77, .heads = 2, .size = 160},
        {.images = 1, .h = 8, .w = 8, .keys = 154, .heads = 5, .size = 64},
        {.images = 1, .h = 1, .w = 77, .heads = 12, .size = 64, .causal = true, .packed = true},
        {.images = 1, .h = 8, .w = 9, .heads = 1, .size = 512, .packed = true},
        {.images = 1, .h = 16, .w = 16, .heads = 1, .size = 64, .packed = true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_all(state, &shapes[i], i);
}

static void test_every_head_size(void **state) {
    for (uint32_t size = 8; size <= 160; size += 8) {
        const struct shape s = {.images = 1, .h = 3, .w = 5, .keys = 19, .heads = 2, .size = size};
        check(state, size % 16 ? SD_F16 : SD_F32, false, &s, size);
        check(state, size % 16 ? SD_F16 : SD_F32, true, &s, size);
    }
}

static void test_random_shapes(void **state) {
    static const uint32_t sizes[] = {8, 16, 32, 40, 64, 80};
    optest *t = optest_begin(state, SD_F32);
    optest_seed(t, 7);
    for (int i = 0; i < 8; i++) {
        struct shape s = {.images = optest_int(t, 1, 3),
                          .h = optest_int(t, 1, 9),
                          .w = optest_int(t, 1, 19),
                          .keys = optest_int(t, 1, 90),
                          .heads = optest_int(t, 1, 4),
                          .size = sizes[optest_int(t, 0, 5)],
                          .scale = optest_int(t, 0, 1) ? 0.0F : 0.3F};
        s.packed = optest_int(t, 0, 1);
        s.causal = s.packed && optest_int(t, 0, 1);
        check_all(state, &s, (uint64_t)i);
    }
    optest_end(&t);
}

static void test_many_keys(void **state) {
    const struct shape s = {.images = 1, .h = 1, .w = 33, .keys = 4099, .heads = 2, .size = 40};
    check_all(state, &s, 1);
}

/* One head of 8 channels; 70 keys, of which one alone is special. */
struct extreme {
    float query, key, special_key, value, special_value;
    float want; /* of every channel */
};

static void check_extreme(void **state, sd_dtype act, bool gpu, int special, const struct extreme *x) {
    enum { KEYS = 70, C = 8, QUERIES = 5 };
    optest *t = optest_begin(state, act);
    float q[QUERIES * C], k[KEYS * C], v[KEYS * C];
    if (gpu)
        optest_graph(t)->info.kind = SD_VK_DISCRETE;
    for (int i = 0; i < QUERIES * C; i++)
        q[i] = x->query;
    for (int i = 0; i < KEYS * C; i++) {
        k[i] = i / C == special ? x->special_key : x->key;
        v[i] = i / C == special ? x->special_value : x->value;
    }
    const sd_attention_params params = {.heads = 1, .scale = 1};
    sd_tensor *out =
        sd_attention(optest_graph(t), optest_input(t, 1, 1, QUERIES, C, q), optest_input(t, 1, 1, KEYS, C, k),
                     optest_input(t, 1, 1, KEYS, C, v), &params);
    const float *got = optest_run(t, out);
    float want[QUERIES * C];
    for (int i = 0; i < QUERIES * C; i++)
        want[i] = x->want;
    optest_compare(got, want, QUERIES * C, 1e-3, 0, "%s, GPU %d, special key %d: %g %g %g %g %g",
                   sd_dtype_name(act), gpu, special, (double)x->query, (double)x->key, (double)x->special_key,
                   (double)x->value, (double)x->special_value);
    optest_end(&t);
}

static void test_extremes(void **state) {
    static const struct extreme extremes[] = {
        {100, 100, -100, 2, 7, 2}, /* scores of 80,000: no overflow */
        {-100, 100, 90, 2, 7, 7},  /* all scores far below 0 */
        {1, 0, 30000, 2, 7, 7},    /* the last tile takes all */
        {1, 0, -30000, 2, 7, 2},   /* or nothing */
        {0, 3, 5, 2, 72, 3},       /* equal weights */
        {1, 0, NAN, 2, 7, NAN},    /* NaN anywhere that is seen */
        {NAN, 1, 1, 2, 2, NAN},
        {1, 0, 0, 2, NAN, NAN},
        {1, 0, 0, 2, INFINITY, INFINITY},
        {1, 0, INFINITY, 2, 7, NAN},         /* infinity - infinity */
        {1, 0, -INFINITY, 2, 7, 2},          /* weight 0 */
        {1, -INFINITY, -INFINITY, 2, 7, NAN} /* no weight at all */
    };
    for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++)
        for (int variant = 0; variant < 4; variant++)
            for (int special = 0; special < 70; special += 69) /* first and last key */
                check_extreme(state, variant & 1 ? SD_F16 : SD_F32, variant & 2, special, &extremes[i]);
}

static void test_refusals(void **state) {
    static const struct {
        uint32_t q[2], k[2], v[2], heads; /* tokens, channels */
        const char *message;
    } cases[] = {
        {{4, 20}, {4, 20}, {4, 20}, 1, "found 20 channels in 1 heads"},
        {{4, 16}, {4, 16}, {4, 16}, 0, "found 16 channels in 0 heads"},
        {{4, 1024}, {4, 1024}, {4, 1024}, 1, "found 1024 channels in 1 heads"},
        {{4, 16}, {4, 32}, {4, 32}, 1, "expected keys and values of [1,tokens,16]"},
        {{4, 16}, {4, 16}, {5, 16}, 1, "expected keys and values of [1,tokens,16]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        optest *t = optest_begin(state, SD_F32);
        sd_graph *g = optest_graph(t);
        sd_tensor *q = sd_graph_tensor(g, SD_F32, 1, 1, cases[i].q[0], cases[i].q[1]);
        sd_tensor *k = sd_graph_tensor(g, SD_F32, 1, 1, cases[i].k[0], cases[i].k[1]);
        sd_tensor *v = sd_graph_tensor(g, SD_F32, 1, 1, cases[i].v[0], cases[i].v[1]);
        sd_error err;
        assert_null(sd_attention(g, q, k, v, &(sd_attention_params){.heads = cases[i].heads}));
        assert_int_not_equal(sd_graph_status(g, &err), SD_OK);
        if (!strstr(err.message, cases[i].message))
            fail_msg("'%s' lacks '%s'", err.message, cases[i].message);
        optest_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),        cmocka_unit_test(test_every_head_size),
        cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_extremes),      cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("op.attention", tests, optest_open, optest_close);
}
