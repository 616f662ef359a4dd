/* Sizes of packed weights and the layout of matrices, for every kind of device, without one. */
#include "tests/unit/nn/fixture.h"

#include "sd/nn/weight_layout.h"

#include <string.h>

static const struct {
    sd_vk_kind kind;
    uint32_t vendor, subgroup;
    bool cpu; /* which kernels it gets */
} devices[] = {
    {SD_VK_CPU, 0x10005, 4, true},         {SD_VK_CPU, 0x10005, 8, true},
    {SD_VK_CPU, 0x10005, 16, true},        {SD_VK_CPU, 0x10005, 32, false},
    {SD_VK_CPU, 0x10005, 64, false},       {SD_VK_CPU, 0x1AE0, 4, false},
    {SD_VK_DISCRETE, 0x10005, 8, false},   {SD_VK_DISCRETE, 0x10DE, 32, false},
    {SD_VK_INTEGRATED, 0x8086, 16, false}, {SD_VK_DISCRETE, 0x1002, 64, false},
};

static struct sd_vk_info device(size_t i) {
    struct sd_vk_info info = gpu;
    info.kind = devices[i].kind;
    info.vendor = devices[i].vendor;
    info.subgroup = info.subgroup_min = info.subgroup_max = devices[i].subgroup;
    info.int64 = true;
    return info;
}

enum { device_count = sizeof devices / sizeof *devices };

static void kernels_for_cpus(void **state) {
    (void)state;
    for (size_t i = 0; i < device_count; i++) {
        const struct sd_vk_info info = device(i);
        assert_int_equal(sd_gemm_for_cpu(&info), devices[i].cpu);
    }
}

/* Every row and every channel has a place, nothing is padded by a whole tile or step, halves come in pairs
 * that stay within a tap, and the words are those of the layout in weight_layout.h. */
static void check_layout(const struct sd_vk_info *info, const sd_weight *w) {
    const struct sd_gemm_layout l = sd_gemm_layout(info, w);
    bool upsample = w->form == SD_WEIGHT_UPSAMPLE;
    assert_true(l.tile && l.step && l.step % 2 == 0);
    assert_true((uint64_t)l.tiles * l.tile >= w->n && (uint64_t)(l.tiles - 1) * l.tile < w->n);
    assert_true(l.c_padded >= w->c && l.c_padded - w->c < l.step && l.c_padded % l.step == 0);
    assert_int_equal(l.taps, upsample ? 4 : w->kh * w->kw);
    assert_int_equal(l.phases, upsample ? 4 : 1);
    uint64_t elements = (uint64_t)l.tiles * l.tile * l.taps * l.c_padded;
    assert_int_equal(l.words, w->dtype == SD_F16 ? elements / 2 : elements);
    /* Vectors of four words can be loaded from every tile. */
    assert_int_equal((uint64_t)l.tile * l.step / (w->dtype == SD_F16 ? 2 : 1) % 4, 0);
}

static void layouts_cover_the_matrix(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1,  2,  3,  4,  7,  8,   9,   15,  16,  17,   31,
                                     32, 33, 63, 64, 65, 127, 128, 129, 320, 1280, 49408};
    enum { size_count = sizeof sizes / sizeof *sizes };
    for (size_t d = 0; d < device_count; d++)
        for (size_t n = 0; n < size_count; n++)
            for (size_t c = 0; c < size_count; c++)
                for (uint32_t k = 0; k < 3; k++)
                    for (int half = 0; half < 2; half++) {
                        const struct sd_vk_info info = device(d);
                        check_layout(&info, &(sd_weight){.form = k == 2 ? SD_WEIGHT_UPSAMPLE : SD_WEIGHT_GEMM,
                                                         .n = sizes[n],
                                                         .c = sizes[c],
                                                         .kh = k ? 3 : 1,
                                                         .kw = k ? 3 : 1,
                                                         .dtype = half ? SD_F16 : SD_F32});
                    }
}

/* ---- sizes ---- */

static void expect_size(const sd_weight *w, sd_dtype dtype, uint64_t bytes) {
    if (w->dtype != dtype || w->bytes != bytes)
        fail_msg("%s: expected %llu bytes of %s, found %llu of %s", w->names[0], (unsigned long long)bytes,
                 sd_dtype_name(dtype), (unsigned long long)w->bytes, sd_dtype_name(w->dtype));
}

/* Matrices take what their layout says; tables have rows of whole words, vectors are f32 always. */
static void assumed_sizes(void **state) {
    (void)state;
    for (size_t d = 0; d < device_count; d++)
        for (int all = 0; all < 2; all++) {
            sd_weights *w;
            sd_error err;
            const struct sd_vk_info info = device(d);
            assert_int_equal(sd_weights_create(&w, &err), SD_OK);
            const sd_layer matrices[] = {
                sd_bind_linear(w, 21, 13, true, "linear"), sd_bind_conv(w, 21, 13, 3, "conv"),
                sd_bind_geglu(w, 22, 13, "geglu"), sd_bind_upsample(w, 21, 13, "upsample"),
                sd_bind_stack(w, 7, 13, true, (const char *const[]){"q", "k", "v", NULL}, "stack.")};
            const sd_layer norm = sd_bind_norm(w, 13, "norm");
            const sd_weight *table = sd_bind_table(w, 10, 13, "table");
            assert_int_equal(sd_weights_assume(w, &info, all ? SD_WEIGHTS_F16 : SD_WEIGHTS_LOSSLESS, &err),
                             SD_OK);
            uint64_t sum = table->bytes + norm.weight->bytes + norm.bias->bytes;
            for (int i = 0; i < 5; i++) {
                const sd_weight *m = matrices[i].weight;
                /* The taps of upsampling filters are summed, which f16 cannot hold exactly. */
                sd_dtype dtype = m->form == SD_WEIGHT_UPSAMPLE && !all ? SD_F32 : SD_F16;
                const struct sd_gemm_layout l = sd_gemm_layout(&info, m);
                expect_size(m, dtype, l.words * l.phases * 4);
                expect_size(matrices[i].bias, SD_F32, (uint64_t)m->n * 4);
                sum += m->bytes + matrices[i].bias->bytes;
            }
            expect_size(table, SD_F16, 10 * 14 * 2);
            expect_size(norm.weight, SD_F32, 13 * 4);
            expect_size(norm.bias, SD_F32, 13 * 4);
            assert_int_equal(sd_weights_bytes(w), sum);
            sd_weights_destroy(NULL, &w);
        }
}

/* ---- binding ---- */

static void expect_weight(const sd_weight *w, const char *names, sd_weight_form form, uint32_t n, uint32_t c,
                          uint32_t k) {
    char found[128] = "";
    for (uint32_t i = 0; i < w->parts; i++)
        strcat(strcat(found, i ? " " : ""), w->names[i]);
    assert_string_equal(found, names);
    assert_int_equal(w->form, form);
    assert_int_equal(w->n, n);
    assert_int_equal(w->c, c);
    assert_int_equal(w->kh, k);
    assert_int_equal(w->kw, k);
    assert_int_equal(w->address, 0);
}

static void names_and_shapes_of_layers(void **state) {
    (void)state;
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    assert_null(sd_bind_linear(w, 4, 3, false, "l.%d", 7).bias);
    sd_bind_linear(w, 4, 3, true, "m");
    sd_bind_conv(w, 5, 3, 3, "c");
    sd_bind_upsample(w, 6, 3, "u");
    sd_bind_geglu(w, 8, 3, "g");
    sd_bind_norm(w, 3, "n");
    sd_bind_stack(w, 2, 3, true, (const char *const[]){"q", "k", NULL}, "a%c.", 't');
    sd_bind_table(w, 9, 3, "t.%s", "full");
    static const struct {
        const char *names;
        sd_weight_form form;
        uint32_t n, c, k;
    } expected[] = {
        {"l.7.weight", SD_WEIGHT_GEMM, 4, 3, 1},
        {"m.weight", SD_WEIGHT_GEMM, 4, 3, 1},
        {"m.bias", SD_WEIGHT_VECTOR, 4, 1, 1},
        {"c.weight", SD_WEIGHT_GEMM, 5, 3, 3},
        {"c.bias", SD_WEIGHT_VECTOR, 5, 1, 1},
        {"u.weight", SD_WEIGHT_UPSAMPLE, 6, 3, 3},
        {"u.bias", SD_WEIGHT_VECTOR, 6, 1, 1},
        {"g.weight", SD_WEIGHT_GEGLU, 8, 3, 1},
        {"g.bias", SD_WEIGHT_GEGLU_VECTOR, 8, 1, 1},
        {"n.weight", SD_WEIGHT_VECTOR, 3, 1, 1},
        {"n.bias", SD_WEIGHT_VECTOR, 3, 1, 1},
        {"at.q.weight at.k.weight", SD_WEIGHT_GEMM, 4, 3, 1},
        {"at.q.bias at.k.bias", SD_WEIGHT_VECTOR, 4, 1, 1},
        {"t.full", SD_WEIGHT_TABLE, 9, 3, 1},
    };
    size_t count = sizeof expected / sizeof *expected;
    assert_int_equal(sd_weights_count(w), count);
    for (size_t i = 0; i < count; i++)
        expect_weight(sd_weights_at(w, i), expected[i].names, expected[i].form, expected[i].n, expected[i].c,
                      expected[i].k);
    assert_null(sd_weights_at(w, count));
    assert_int_equal(sd_weights_parameters(w),
                     12 + 12 + 4 + 135 + 5 + 162 + 6 + 24 + 8 + 3 + 3 + 12 + 4 + 27);
    sd_weights_destroy(NULL, &w);
    assert_null(w);
    sd_weights_destroy(NULL, &w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_for_cpus),
        cmocka_unit_test(layouts_cover_the_matrix),
        cmocka_unit_test(assumed_sizes),
        cmocka_unit_test(names_and_shapes_of_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
