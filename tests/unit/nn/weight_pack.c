/* Weights of every form, stored in every type, as they lie on the device after loading: bit for bit what
 * plain C makes of the descriptions in sd/nn/weight.h and sd/nn/weight_layout.h. */
#include "tests/unit/nn/device_words.h"

#include "sd/base/half.h"
#include "sd/base/rng.h"
#include "tests/ref/pack_weight.h"
#include "tests/unit/nn/checkpoint.h"

#include <string.h>

static const sd_dtype stored_types[] = {SD_F32, SD_F16, SD_BF16, SD_F8_E4M3, SD_F8_E5M2};

enum { type_count = sizeof stored_types / sizeof *stored_types, most_tensors = 32 };

/* Compares what the device holds with what the checkpoint says. */
static void check_weight(sd_vk *vk, const sd_weights *weights, const sd_weight *w, struct stored *list) {
    struct sd_raw parts[SD_WEIGHT_PARTS];
    uint32_t *words = device_words(vk, weights, w);
    for (uint32_t i = 0; i < w->parts; i++)
        assert_true(find_stored(list, w->names[i], &parts[i]));
    assert_true(w->address && w->address % 256 == 0);
    ref_check_weight(sd_vk_info(vk), w, parts, words);
    free(words);
}

/* ---- checkpoints of random bits ---- */

static void random_bits(uint32_t *words, uint64_t count, uint32_t seed) {
    for (uint32_t i = 0; i < count / 4; i++) {
        const uint32_t counter[4] = {i, 0, 0, 0}, key[2] = {seed, 0};
        sd_philox(counter, key, words + 4 * (uint64_t)i);
    }
}

/* Denormals, infinities, NaNs, and what lies next to the ends of f16's range and halfway between its values.
 */
static const uint32_t edges[] = {0,          0x80000000, 1,          0x80000001, 0x7F800000,
                                 0xFF800000, 0x7FC00001, 0x7F800001, 0x477FEFFF, 0x477FF000,
                                 0xC77FF000, 0x33000000, 0x33000001, 0xB3800000, 0x387FFFFF,
                                 0x38800000, 0x3F801000, 0x3F803000, 0x3F801001};

/* Filters whose taps are summed get ordinary numbers, because devices may flush denormal results. */
static void random_values(struct sd_raw *raw, uint64_t count, bool ordinary, uint32_t seed) {
    uint32_t *words = calloc(count / 4 + 1, 16);
    assert_non_null(words);
    random_bits(words, (count + 3) & ~UINT64_C(3), seed);
    if (!ordinary && raw->dtype == SD_F32)
        memcpy(words, edges, count < sizeof edges / 4 ? count * 4 : sizeof edges);
    for (uint64_t i = 0; ordinary && i < count; i++) {
        float value = (float)words[i] * 0x1p-31f - 1;
        if (raw->dtype == SD_F32)
            memcpy(&words[i], &value, sizeof value);
        else if (raw->dtype == SD_BF16)
            ((uint16_t *)words)[i] = sd_bf16_from_f32(value);
    }
    raw->bytes = count * sd_dtype_size(raw->dtype);
    raw->data = words;
}

/* Tensors for every part of every weight. The last part of a stack is always f16. */
static void fill_checkpoint(const sd_weights *w, struct stored *list, sd_dtype dtype, uint32_t seed) {
    uint32_t count = 0;
    for (size_t i = 0; i < sd_weights_count(w); i++) {
        const sd_weight *x = sd_weights_at(w, i);
        bool vector = x->form == SD_WEIGHT_VECTOR || x->form == SD_WEIGHT_GEGLU_VECTOR;
        for (uint32_t part = 0; part < x->parts; part++) {
            assert_true(count < most_tensors);
            struct stored *s = &list[count++];
            s->name = x->names[part];
            s->raw = (struct sd_raw){.dtype = part && part + 1 == x->parts ? SD_F16 : dtype,
                                     .rank = vector      ? 1
                                             : x->kh > 1 ? 4
                                                         : 2,
                                     .shape = {x->n / x->parts, x->c, x->kh, x->kw}};
            random_values(&s->raw, (uint64_t)x->n / x->parts * x->c * x->kh * x->kw,
                          x->form == SD_WEIGHT_UPSAMPLE, seed * 100 + count);
        }
    }
    list[count].name = NULL;
}

/* f16 holds every f16 and f8 exactly, but not their sums. */
static sd_dtype expected_type(const sd_weight *w, const struct stored *list, sd_weight_precision precision) {
    if (w->form == SD_WEIGHT_VECTOR || w->form == SD_WEIGHT_GEGLU_VECTOR)
        return SD_F32;
    bool exact = w->form != SD_WEIGHT_UPSAMPLE;
    for (uint32_t i = 0; i < w->parts; i++) {
        struct sd_raw raw = {0};
        assert_true(find_stored((void *)list, w->names[i], &raw));
        exact = exact && raw.dtype != SD_F32 && raw.dtype != SD_BF16;
    }
    return exact || precision == SD_WEIGHTS_F16 ? SD_F16 : SD_F32;
}

static sd_weights *bind_all_forms(uint32_t size) {
    static const char *const three[] = {"to_q", "to_k", "to_v", NULL}, *const two[] = {"k", "v", NULL};
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    sd_bind_linear(w, 37 * size, 19, true, "linear");
    sd_bind_linear(w, 3, 64 * size + 1, false, "flat");
    sd_bind_conv(w, 21, 13 * size, 3, "conv");
    sd_bind_stack(w, 11 * size, 10, true, three, "attn.");
    sd_bind_stack(w, 32, 16, false, two, "attn2.");
    sd_bind_geglu(w, 46 * size, 14, "geglu");
    sd_bind_upsample(w, 17 * size, 9, "up");
    sd_bind_norm(w, 29, "norm");
    sd_bind_table(w, 13 * size, 7, "odd");
    sd_bind_table(w, 13, 8 * size, "even");
    return w;
}

/* Leaves memory that is not zero behind, where the next weights will lie: padding must be written too. The
 * returned buffer keeps the block from going back to the driver. */
static sd_vk_buffer *soil_memory(sd_vk *vk) {
    sd_vk_buffer *kept, *soiled;
    sd_error err;
    if (sd_vk_buffer_create(vk, &kept, 256, SD_VK_LOCAL, "kept", &err) ||
        sd_vk_buffer_create(vk, &soiled, 16 << 20, SD_VK_LOCAL, "soiled", &err) ||
        sd_vk_fill(vk, soiled, 0, soiled->size, 0xDEADBEEF, &err))
        fail_msg("%s", err.message);
    sd_vk_buffer_destroy(vk, &soiled);
    return kept;
}

static void load_and_check(sd_vk *vk, sd_dtype dtype, sd_weight_precision precision, uint32_t size) {
    struct stored list[most_tensors + 1];
    sd_weights *w = bind_all_forms(size);
    sd_vk_buffer *kept = soil_memory(vk);
    sd_error err;
    fill_checkpoint(w, list, dtype, size * 10 + dtype);
    const struct sd_weight_source source = {.label = "test", .user = list, .find = find_stored};
    if (sd_weights_load(w, vk, &source, precision, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < sd_weights_count(w); i++) {
        const sd_weight *x = sd_weights_at(w, i);
        assert_int_equal(x->dtype, expected_type(x, list, precision));
        check_weight(vk, w, x, list);
    }
    for (struct stored *s = list; s->name; s++)
        free((void *)s->raw.data);
    sd_weights_destroy(vk, &w);
    sd_vk_buffer_destroy(vk, &kept);
}

static void every_form_of_every_type(void **state) {
    for (uint32_t type = 0; type < type_count; type++)
        for (uint32_t size = 1; size < 8; size += 3) {
            load_and_check(*state, stored_types[type], SD_WEIGHTS_LOSSLESS, size);
            load_and_check(*state, stored_types[type], SD_WEIGHTS_F16, size);
        }
}

/* All 256 values of the f8 types, in f16. */
static void every_f8(void **state) {
    for (uint32_t type = 3; type < type_count; type++) {
        sd_weights *w;
        sd_error err;
        uint8_t all[256];
        for (int i = 0; i < 256; i++)
            all[i] = (uint8_t)i;
        struct stored list[] = {
            {"table", {.dtype = stored_types[type], .rank = 2, .shape = {16, 16}, .data = all, .bytes = 256}},
            {NULL, {0}}};
        const struct sd_weight_source source = {.label = "test", .user = list, .find = find_stored};
        assert_int_equal(sd_weights_create(&w, &err), SD_OK);
        const sd_weight *table = sd_bind_table(w, 16, 16, "table");
        assert_int_equal(sd_weights_load(w, *state, &source, SD_WEIGHTS_LOSSLESS, &err), SD_OK);
        assert_int_equal(table->dtype, SD_F16);
        check_weight(*state, w, table, list);
        sd_weights_destroy(*state, &w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_form_of_every_type),
                                       cmocka_unit_test(every_f8)};
    int failed = cmocka_run_group_tests_name("as the device is", tests, optest_open, optest_close);
    return failed + cmocka_run_group_tests_name("as a GPU", tests, optest_open_as_gpu, optest_close);
}
