/* LoRAs beside the weights of a quantised model: nearly the pictures of merging, in the memory of the
 * quantised weights. The model is the sample with its UNet quantised. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sd/base/half.h"
#include "sd/base/quant.h"
#include "sd/io/file.h"
#include "sd/io/gguf.h"
#include "sd/io/safetensors.h"
#include "sd/sd.h"
#include "tests/unit/folder.h"
#include "tests/unit/sd/psnr.h"
#include "tests/unit/sd/sample_lora.h"

/* ---- files ---- */

static void copy_file(const char *from, const char *to) {
    sd_bytes bytes;
    sd_error err;
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    if (sd_file_read(from, 0, &bytes, &err))
        fail_msg("%s", err.message);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
    sd_bytes_clear(&bytes);
}

/* K-quants where rows are whole blocks of them, else 8 bits; tensors that are no whole blocks stay. */
static void quantise(sd_arena *arena, sd_file_tensor *t) {
    uint64_t row = t->rank > 1 ? t->shape[1] : 0, bytes, count = t->bytes / 2;
    sd_file_dtype type = row % 256 == 0 ? SD_FILE_Q4_K : SD_FILE_Q8_0;
    if (t->rank < 2 || t->dtype != SD_FILE_F16 || count % 32 ||
        !sd_file_tensor_size(type, t->rank, t->shape, &bytes))
        return;
    float *values = sd_arena_array(arena, count, sizeof *values);
    uint8_t *blocks = sd_arena_alloc(arena, bytes);
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, t->data + 2 * i, 2);
        values[i] = sd_f32_from_f16(half);
    }
    assert_true(sd_quantise(sd_file_dtype_base(type), values, count, blocks));
    t->dtype = type;
    t->data = blocks;
    t->bytes = bytes;
}

/* The sample's UNet as a folder whose weights are a GGUF file; files are known by what they begin with. */
static void write_unet(void) {
    sd_safetensors *file;
    sd_arena arena = {0};
    sd_gguf_values values = {0};
    sd_error err;
    if (sd_safetensors_open(MOCKUP "/unet/diffusion_pytorch_model.safetensors", &file, &err))
        fail_msg("%s", err.message);
    size_t count = sd_safetensors_count(file);
    sd_file_tensor *tensors = sd_arena_array(&arena, count, sizeof *tensors);
    for (size_t i = 0; i < count; i++) {
        tensors[i] = *sd_safetensors_at(file, i);
        quantise(&arena, &tensors[i]);
    }
    assert_int_equal(mkdir(in_folder("unet"), 0755), 0);
    copy_file(MOCKUP "/unet/config.json", in_folder("unet/config.json"));
    sd_gguf_add_string(&values, "general.architecture", "sd1");
    if (sd_gguf_write(in_folder("unet/diffusion_pytorch_model.safetensors"), tensors, count, &values, NULL,
                      &err))
        fail_msg("%s", err.message);
    sd_gguf_values_clear(&values);
    sd_safetensors_close(&file);
    sd_arena_clear(&arena);
}

/* A full difference for one layer that acme changes too; it has no factors. */
static void write_difference(void) {
    static uint16_t values[128 * 128];
    const sd_file_tensor t = {.name = "lora_unet_mid_block_attentions_0_proj_in.diff",
                              .dtype = SD_FILE_F16,
                              .rank = 4,
                              .shape = {128, 128, 1, 1},
                              .data = (const uint8_t *)values,
                              .bytes = sizeof values};
    sd_error err;
    for (size_t i = 0; i < 128 * 128; i++)
        values[i] = sd_f16_from_f32(i % 129 ? 0 : 0.25f);
    if (sd_safetensors_write(in_folder("difference.safetensors"), &t, 1, NULL, 0, &err))
        fail_msg("%s", err.message);
}

static int open_all(void **state) {
    sd_error err;
    if (make_folder(state))
        return -1;
    write_unet();
    write_difference();
    if (!sd_context_create((sd_context **)state, &(sd_context_options){.cache_dir = ""}, &err))
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static int close_all(void **state) {
    sd_context_destroy((sd_context **)state);
    return remove_folder(state);
}

/* ---- pictures ---- */

static sd_model *open_model(sd_context *context, sd_precision precision, sd_lora_mode mode, float strength) {
    const sd_lora_use use = {ACME, strength, strength, NULL};
    const sd_model_options options = {
        .precision = precision, .lora_mode = mode, .unet = in_folder("unet"), .loras = &use, .lora_count = 1};
    sd_model *model;
    sd_error err;
    if (sd_model_open(&model, context, MOCKUP, &options, &err))
        fail_msg("%s", err.message);
    return model;
}

static double between(const struct picture *a, const struct picture *b) {
    return psnr_bytes(a->pixels, b->pixels, sizeof a->pixels);
}

static sd_lora_info lora_at(const sd_model *model, size_t index) {
    sd_lora_info info;
    assert_true(sd_model_lora(model, index, &info));
    return info;
}

static uint64_t weight_bytes(const sd_model *model) {
    sd_model_info info;
    sd_model_get_info(model, &info);
    return info.weight_bytes;
}

/* In f32 both are sums of the same products in another order. In f16 merging rounds W + up down, which lies
 * on the device for the whole run, and the other way rounds W's activations, the inner ones and the sum once
 * more: errors of the size that pictures in f16 are off by anyway. 60 and 38 dB are what other pictures are
 * held to. */
static void pictures_are_those_of_merging(void **state) {
    static const struct {
        sd_precision precision;
        double limit;
    } cases[] = {{SD_PRECISION_F32, 60}, {SD_PRECISION_AUTO, 38}, {SD_PRECISION_F16, 38}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_model *merged = open_model(*state, cases[i].precision, SD_LORA_MERGE, 2),
                 *apart = open_model(*state, cases[i].precision, SD_LORA_RUNTIME, 2),
                 *none = open_model(*state, cases[i].precision, SD_LORA_RUNTIME, 0);
        struct picture a = render(merged), b = render(apart), c = render(none);
        print_message("runtime and merged %.1f dB, without the LoRA %.1f dB; %llu, %llu and %llu bytes\n",
                      between(&a, &b), between(&c, &b), (unsigned long long)weight_bytes(apart),
                      (unsigned long long)weight_bytes(merged), (unsigned long long)weight_bytes(none));
        assert_true(between(&a, &b) >= cases[i].limit);
        assert_true(between(&c, &b) < cases[i].limit - 10); /* the LoRA is seen */
        assert_true(weight_bytes(none) < weight_bytes(apart));
        assert_true(weight_bytes(apart) < weight_bytes(merged));
        sd_model_close(&merged);
        sd_model_close(&apart);
        sd_model_close(&none);
    }
}

/* Thin layers, where two matrices of rank 8 are more than is saved, are merged. */
static void the_report_counts_both_ways(void **state) {
    sd_model *merged = open_model(*state, SD_PRECISION_F16, SD_LORA_MERGE, 1),
             *apart = open_model(*state, SD_PRECISION_F16, SD_LORA_RUNTIME, 1),
             *none = open_model(*state, SD_PRECISION_F16, SD_LORA_RUNTIME, 0);
    sd_lora_info a = lora_at(merged, 0), b = lora_at(apart, 0), c = lora_at(none, 0);
    print_message("%u kept apart, %u merged\n", b.apart, b.merged);
    assert_int_equal(a.apart, 0);
    assert_int_equal(a.merged, a.matched);
    assert_int_equal(b.apart + b.merged, a.matched);
    assert_true(b.apart > b.merged);
    assert_true(b.merged > 0);
    assert_int_equal(c.apart + c.merged, 0);
    sd_model_close(&merged);
    sd_model_close(&apart);
    sd_model_close(&none);
}

/* Strength 0 and an empty set are the same bytes, whatever was there before. */
static void switching_gives_the_same_bytes(void **state) {
    const sd_lora_use whole = {ACME, 1, 1, NULL}, zero = {ACME, 0, 0, NULL}, half = {ACME, 0.5f, 1, NULL};
    sd_model *plain = open_model(*state, SD_PRECISION_AUTO, SD_LORA_MERGE, 0),
             *model = open_model(*state, SD_PRECISION_AUTO, SD_LORA_RUNTIME, 1);
    struct picture without = render(plain), with = render(model), now = render_with(model, NULL, 0);
    uint64_t bytes = weight_bytes(model);
    assert_false(equal(&with, &without));
    assert_true(equal(&now, &without));
    now = render_with(model, &whole, 1);
    assert_true(equal(&now, &with));
    assert_true(weight_bytes(model) > bytes);
    now = render_with(model, &half, 1);
    assert_false(equal(&now, &with));
    now = render_with(model, &zero, 1);
    assert_true(equal(&now, &without));
    assert_int_equal(weight_bytes(model), bytes);
    now = render_with(model, &whole, 1);
    assert_true(equal(&now, &with));
    sd_model_close(&plain);
    sd_model_close(&model);
}

/* Sums in f32 of the same terms in another order: 60 dB as above. */
static void several_add_up_in_any_order(void **state) {
    const sd_lora_use ab[] = {{ACME, 2, 1, NULL}, {ACME, 1, 1, NULL}}, ba[] = {ab[1], ab[0]},
                      sum = {ACME, 3, 1, NULL};
    sd_model *model = open_model(*state, SD_PRECISION_F32, SD_LORA_RUNTIME, 0);
    struct picture first = render_with(model, ab, 2);
    assert_true(lora_at(model, 0).apart > 0);
    assert_int_equal(lora_at(model, 0).apart, lora_at(model, 1).apart);
    struct picture second = render_with(model, ba, 2), once = render_with(model, &sum, 1),
                   one = render_with(model, ab, 1);
    print_message("%.1f dB in the other order, %.1f dB as one, %.1f dB without the second\n",
                  between(&first, &second), between(&first, &once), between(&first, &one));
    assert_true(between(&first, &second) >= 60);
    assert_true(between(&first, &once) >= 60);
    assert_true(between(&first, &one) < 50);
    sd_model_close(&model);
}

/* A layer with a change that has no factors is merged with all that changes it, and comes apart again. */
static void what_has_no_factors_is_merged(void **state) {
    const sd_lora_use both[] = {{ACME, 1, 1, NULL}, {in_folder("difference.safetensors"), 1, 1, NULL}};
    sd_model *model = open_model(*state, SD_PRECISION_F32, SD_LORA_RUNTIME, 1),
             *merged = open_model(*state, SD_PRECISION_F32, SD_LORA_MERGE, 1);
    uint32_t apart = lora_at(model, 0).apart;
    struct picture with = render(model), now = render_with(model, both, 2),
                   expected = render_with(merged, both, 2);
    assert_int_equal(lora_at(model, 0).apart, apart - 1);
    assert_int_equal(lora_at(model, 1).apart, 0);
    assert_int_equal(lora_at(model, 1).merged, 1);
    assert_true(between(&now, &expected) >= 60);
    assert_false(equal(&now, &with));
    now = render_with(model, both, 1);
    assert_true(equal(&now, &with));
    assert_int_equal(lora_at(model, 0).apart, apart);
    sd_model_close(&model);
    sd_model_close(&merged);
}

static void plans_count_what_lies_beside(void **state) {
    sd_model *model = open_model(*state, SD_PRECISION_F16, SD_LORA_RUNTIME, 1),
             *none = open_model(*state, SD_PRECISION_F16, SD_LORA_RUNTIME, 0);
    const sd_params params = {.prompt = "a red mug", .width = side, .height = side};
    sd_plan_report a, b;
    sd_error err;
    assert_int_equal(sd_plan_generate(model, &params, &a, &err), SD_OK);
    assert_int_equal(sd_plan_generate(none, &params, &b, &err), SD_OK);
    assert_string_equal(a.network[1].name, "unet");
    assert_int_equal(a.network[1].weight_bytes - b.network[1].weight_bytes,
                     weight_bytes(model) - weight_bytes(none));
    assert_true(a.network[1].nodes > b.network[1].nodes);
    assert_true(a.network[1].flop > b.network[1].flop);
    sd_model_close(&model);
    sd_model_close(&none);
}

static void unknown_modes_are_refused(void **state) {
    sd_model *model;
    sd_error err;
    assert_int_equal(
        sd_model_open(&model, *state, MOCKUP, &(sd_model_options){.lora_mode = (sd_lora_mode)7}, &err),
        SD_E_ARGUMENT);
    assert_null(model);
    assert_string_equal(err.message, "lora_mode: expected SD_LORA_MERGE or SD_LORA_RUNTIME, found 7");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_those_of_merging),  cmocka_unit_test(the_report_counts_both_ways),
        cmocka_unit_test(switching_gives_the_same_bytes), cmocka_unit_test(several_add_up_in_any_order),
        cmocka_unit_test(what_has_no_factors_is_merged),  cmocka_unit_test(plans_count_what_lies_beside),
        cmocka_unit_test(unknown_modes_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
