/* Exchanging LoRAs in an open model: every way to a set of LoRAs gives the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sd/io/safetensors.h"
#include "sd/model.h"
#include "tests/unit/sd/sample_lora.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"
#define SECOND "second_lora.safetensors" /* in the test's working folder */

static int open_context(void **state) {
    sd_error err;
    if (!sd_context_create((sd_context **)state, &(sd_context_options){.cache_dir = ""}, &err))
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static int close_context(void **state) {
    sd_context_destroy((sd_context **)state);
    return 0;
}

static sd_model *open_model(sd_context *context, const char *path, sd_precision precision,
                            const sd_lora_use *uses, size_t count) {
    sd_model *model;
    sd_error err;
    if (sd_model_open(&model, context, path,
                      &(sd_model_options){.precision = precision, .loras = uses, .lora_count = count}, &err))
        fail_msg("%s", err.message);
    return model;
}

static void every_way_gives_the_same_bytes(void **state) {
    static const sd_precision precisions[] = {SD_PRECISION_AUTO, SD_PRECISION_F32, SD_PRECISION_F16};
    for (size_t i = 0; i < 3; i++) {
        const sd_lora_use whole = {ACME, 1, 1, NULL}, none = {ACME, 0, 0, NULL}, half = {ACME, 0.5f, 1, NULL};
        sd_model *fresh = open_model(*state, MOCKUP, precisions[i], &whole, 1);
        struct picture with = render(fresh);
        sd_model_close(&fresh);
        sd_model *model = open_model(*state, MOCKUP, precisions[i], NULL, 0);
        struct picture without = render(model), now = render_with(model, &none, 1);
        assert_true(equal(&now, &without));
        now = render_with(model, &whole, 1);
        assert_true(equal(&now, &with));
        assert_false(equal(&with, &without));
        now = render_with(model, &half, 1);
        assert_false(equal(&now, &with));
        now = render_with(model, NULL, 0);
        assert_true(equal(&now, &without));
        now = render_with(model, &whole, 1);
        assert_true(equal(&now, &with));
        sd_model_close(&model);
    }
}

/* The same as a request's own set, and a request without one leaves it alone. */
static void requests_bring_their_set(void **state) {
    const sd_lora_use whole = {ACME, 1, 1, NULL};
    sd_model *model = open_model(*state, MOCKUP, SD_PRECISION_AUTO, NULL, 0);
    struct picture without = render(model), with = render_with(model, &whole, 1), now = render(model);
    assert_true(equal(&now, &with));
    sd_outputs *outputs;
    sd_error err;
    sd_params params = {.prompt = "an acme red mug",
                        .width = side,
                        .height = side,
                        .steps = 3,
                        .seed = 5,
                        .cfg_scale = 4,
                        .loras = &whole};
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    assert_memory_equal(outputs->items[0].picture.pixels, without.pixels, sizeof without.pixels);
    sd_outputs_free(&outputs);
    params.lora_count = 1;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    assert_memory_equal(outputs->items[0].picture.pixels, with.pixels, sizeof with.pixels);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
}

/* acme with other numbers. */
static void write_second(void) {
    sd_safetensors *file;
    sd_error err;
    assert_int_equal(sd_safetensors_open(ACME, &file, &err), SD_OK);
    size_t count = sd_safetensors_count(file);
    sd_file_tensor *tensors = calloc(count, sizeof *tensors);
    for (size_t i = 0; i < count; i++) {
        tensors[i] = *sd_safetensors_at(file, i);
        uint16_t *data = malloc(tensors[i].bytes + 2);
        memcpy(data, tensors[i].data, tensors[i].bytes);
        /* f16 of another sign and mantissa */
        for (size_t k = 0; strstr(tensors[i].name, "lora_up") && k < tensors[i].bytes / 2; k++)
            data[k] = (uint16_t)(data[k] & 0x7C00 ? data[k] ^ 0x8200 : data[k]);
        tensors[i].data = (const uint8_t *)data;
    }
    assert_int_equal(sd_safetensors_write(SECOND, tensors, count, NULL, 0, &err), SD_OK);
    for (size_t i = 0; i < count; i++)
        free((void *)tensors[i].data);
    free(tensors);
    sd_safetensors_close(&file);
}

/* Sums of three terms in f32 differ by rounding with their order; of 8-bit pixels a few by one. */
static void two_loras_in_both_orders(void **state) {
    write_second();
    const sd_lora_use ab[] = {{ACME, 0.5f, 0.5f, NULL}, {SECOND, 0.25f, 0.25f, NULL}}, ba[] = {ab[1], ab[0]};
    sd_model *model = open_model(*state, MOCKUP, SD_PRECISION_F32, NULL, 0);
    struct picture without = render(model), first = render_with(model, ab, 2),
                   second = render_with(model, ba, 2), one = render_with(model, ab, 1),
                   again = render_with(model, ab, 2);
    assert_true(equal(&again, &first));
    assert_false(equal(&first, &one) || equal(&first, &without));
    for (size_t i = 0; i < sizeof first.pixels; i++)
        assert_true(abs(first.pixels[i] - second.pixels[i]) <= 1);
    sd_model_close(&model);
}

/* A set that is refused leaves the one before as it was. */
static void refused_sets_change_nothing(void **state) {
    const sd_lora_use whole = {ACME, 1, 1, NULL};
    sd_error err;
    sd_model *model = open_model(*state, MOCKUP, SD_PRECISION_AUTO, &whole, 1);
    struct picture with = render(model);
    const struct {
        sd_lora_use use;
        const char *message;
    } bad[] = {
        {{NULL, 1, 1, NULL}, "loras: expected the path or the name of a file, found none"},
        {{"nowhere.safetensors", 1, 1, NULL},
         "nowhere.safetensors: cannot open the LoRA: No such file or directory"},
        {{ACME, NAN, 1, NULL}, ACME ": expected finite strengths, found nan and 1"},
        {{ACME, 1, 1, "1,0,1"}, "block weights: expected 12, 17, 20 or 26 numbers, found 3"},
        {{ACME, 1, 1, "1,x"}, "block weights: expected 12, 17, 20 or 26 numbers with commas, found '1,x'"},
        {{MOCKUP "/vae/diffusion_pytorch_model.safetensors", 1, 1, NULL}, NULL},
        {{GOLDEN "loras/kohya_sdxl.safetensors", 1, 1, NULL}, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(sd_model_set_loras(model, &bad[i].use, 1, false, &err), SD_OK);
        if (bad[i].message)
            assert_string_equal(err.message, bad[i].message);
        sd_lora_info info;
        assert_true(sd_model_lora(model, 0, &info));
        assert_string_equal(info.name, "acme");
        assert_false(sd_model_lora(model, 1, &info));
    }
    struct picture now = render(model);
    assert_true(equal(&now, &with));
    sd_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_gives_the_same_bytes),
        cmocka_unit_test(requests_bring_their_set),
        cmocka_unit_test(two_loras_in_both_orders),
        cmocka_unit_test(refused_sets_change_nothing),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
