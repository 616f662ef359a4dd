/* Adapter files that are refused, with the sentence of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lora/file.h"
#include "sd/io/safetensors.h"
#include "sd/layers.h"
#include "sd/model.h"

#define TINY SDVK_SOURCE_DIR "/tests/golden/networks/sd1"
#define FILE_NAME "bad_lora.safetensors" /* in the test's working folder */
#define TO_Q "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
#define CONV "lora_unet_down_blocks_1_resnets_0_conv1"

static float numbers[8192];

struct tensor {
    const char *name;
    uint64_t shape[4];
    sd_file_dtype dtype; /* SD_FILE_F64, the first, stands for f32 */
    float first;         /* the first value, when not 0 */
};

enum { most_tensors = 4, none = 1 << 20 /* a dimension of 0 */ };

struct bad {
    struct tensor tensors[most_tensors];
    const char *message;
};

static const struct bad table[] = {
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0},
      {TO_Q ".alpha", {1}, 0, NAN}},
     FILE_NAME ": tensor " TO_Q ".alpha: expected a finite number, found nan"},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0},
      {TO_Q ".alpha", {2}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".alpha: expected one number, found 2"},
    {{{TO_Q ".lora_up.weight", {16, none}, 0, 0}, {TO_Q ".lora_down.weight", {none, 16}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".lora_up.weight is empty: expected a rank of at least 1"},
    {{{TO_Q ".lora_up.weight", {16, 3}, 0, 0}, {TO_Q ".lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".lora_up.weight: expected 16 x 2 values for a layer of shape [16,16], found [16,3]"},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0}, {TO_Q ".lora_down.weight", {2, 24}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".lora_down.weight: expected 2 x 16 values for a layer of shape [16,16], found [2,24]"},
    {{{CONV ".lora_up.weight", {16, 2}, 0, 0}, {CONV ".lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": tensor " CONV
               ".lora_down.weight: expected 2 x 144 values for a layer of shape [16,16,3,3], found [2,16]"},
    {{{TO_Q ".lora_up.weight", {16, 2}, SD_FILE_I32, 0}, {TO_Q ".lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".lora_up.weight: expected F32, F16, BF16 or F8 values, found I32"},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0}},
     FILE_NAME ": none of its modules has all tensors of an algorithm; the first is " TO_Q},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0},
      {"lora_unet_nowhere.alpha", {1}, 0, 0}},
     FILE_NAME ": 1 keys fit no layer of this model (--lenient ignores them): lora_unet_nowhere.alpha"},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0},
      {TO_Q ".lora_A.weight", {2, 16}, 0, 0}},
     FILE_NAME ": two tensors say the same of one layer: " TO_Q ".lora_A.weight and " TO_Q
               ".lora_down.weight"},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0},
      {TO_Q ".diff_b", {16}, 0, 0}},
     FILE_NAME ": " TO_Q ": the layer has no bias to change"},
    {{{"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", {16, 2}, 0, 0},
      {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": this LoRA is for Flux, which this version cannot run"},
    {{{"transformer.joint_blocks.0.attn.lora_A.weight", {2, 16}, 0, 0},
      {"transformer.joint_blocks.0.attn.lora_B.weight", {16, 2}, 0, 0}},
     FILE_NAME ": this LoRA is for SD 3, which this version cannot run"},
    {{{"decoder.conv_in.kernel", {16}, 0, 0}},
     FILE_NAME ": not a LoRA: no tensor's name ends as those of one do"},
    {{{TO_Q ".lokr_w1", {3, 3}, 0, 0}, {TO_Q ".lokr_w2", {5, 5}, 0, 0}},
     FILE_NAME ": " TO_Q ": its left factor of 3 x 3 does not divide a layer of 16 x 16"},
    {{{TO_Q ".oft_blocks", {3, 5, 5}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".oft_blocks: expected square blocks that cover 16 outputs, found [3,5,5]"},
    {{{TO_Q ".oft_R.weight", {4, 7}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".oft_R.weight: expected blocks that cover 16 inputs, found 4 rows of 7 values"},
    {{{TO_Q ".weight", {9}, 0, 0}, {TO_Q ".on_input", {1}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".weight: expected 16 values, one for each output, found 9"},
    {{{TO_Q ".boft_R", {2, 3, 4, 4}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".boft_R: expected stages of square blocks that cover 16 inputs, found [2,3,4,4]"},
    {{{TO_Q ".boft_R", {3, 2, 8, 8}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".boft_R: expected stages of square blocks that cover 16 inputs, found [3,2,8,8]"},
    {{{TO_Q ".boft_R", {1, 4, 4, 4}, 0, 0}, {TO_Q ".boft_s", {15, 1}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".boft_s: expected 16 values, one for each output, found 15"},
    {{{TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0},
      {TO_Q ".alpha", {1}, 0, INFINITY}},
     FILE_NAME ": tensor " TO_Q ".alpha: expected a finite number, found inf"},
    {{{TO_Q ".lora_mid.weight", {2, 2, 3, 3}, 0, 0},
      {TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".lora_mid.weight: expected 2 x 2 values for a layer of shape [16,16], found [2,2,3,3]"},
    {{{TO_Q ".dora_scale", {5, 1}, 0, 0},
      {TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": tensor " TO_Q
               ".dora_scale: expected 1 x 16 values for a layer of shape [16,16], found [5,1]"},
    {{{TO_Q ".hada_w1_a", {16, 2}, 0, 0}, {TO_Q ".hada_w1_b", {2, 16}, 0, 0}},
     FILE_NAME ": none of its modules has all tensors of an algorithm; the first is " TO_Q},
    {{{"lora_te2_text_model_encoder_layers_9_mlp_fc1.lora_up.weight", {16, 2}, 0, 0},
      {"lora_te2_text_model_encoder_layers_9_mlp_fc1.lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": none of its 1 modules (LoRA, made for SDXL) fits a layer of this model; the first is "
               "lora_te2_text_model_encoder_layers_9_mlp_fc1"},
    {{{TO_Q ".dora_scale", {16, 1}, 0, NAN},
      {TO_Q ".lora_up.weight", {16, 2}, 0, 0},
      {TO_Q ".lora_down.weight", {2, 16}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".dora_scale: expected finite numbers, found nan at value 0"},
    {{{TO_Q ".oft_blocks", {4, 4, 4}, 0, 0}, {TO_Q ".rescale", {16, 1}, 0, -INFINITY}},
     FILE_NAME ": tensor " TO_Q ".rescale: expected finite numbers, found -inf at value 0"},
    {{{TO_Q ".weight", {16}, 0, INFINITY}, {TO_Q ".on_input", {1}, 0, 0}},
     FILE_NAME ": tensor " TO_Q ".weight: expected finite numbers, found inf at value 0"},
};

/* PEFT's configuration in the header of a file that is right otherwise. */
static const struct {
    const char *config, *message;
} configurations[] = {
    {"[1", FILE_NAME ": expected a JSON object with PEFT's configuration"},
    {"[1]", FILE_NAME ": expected a JSON object with PEFT's configuration"},
    {"{\"num_cayley_neumann_terms\":1e9}",
     FILE_NAME ": num_cayley_neumann_terms: expected 1 to 64, found 1e+09"},
    {"{\"num_cayley_neumann_terms\":-1}", FILE_NAME ": num_cayley_neumann_terms: expected 1 to 64, found -1"},
    {"{\"coft\":true,\"eps\":-1}", FILE_NAME ": eps: expected 0 to 1e+06, found -1"},
    {"{\"unet.r\":1,\"unet.lora_alpha\":\"two\"}", FILE_NAME ": unet.lora_alpha: expected a number"},
    {"{\"unet.r\":1e999,\"unet.lora_alpha\":2}", FILE_NAME ": unet.r: expected a number"},
    {"{\"unet.r\":1,\"unet.alpha_pattern\":{\"a{1000}\":2}}",
     FILE_NAME ": expected names of layers or simple expressions as patterns, found 'a{1000}'"},
    {"{\"unet.r\":1,\"unet.rank_pattern\":{\"(\":2}}",
     FILE_NAME ": expected names of layers or simple expressions as patterns, found '('"},
};

static void write_file(const struct bad *bad, const char *config) {
    sd_file_tensor tensors[most_tensors];
    static float firsts[most_tensors][8192];
    size_t count = 0;
    sd_error err;
    for (; count < most_tensors && bad->tensors[count].name; count++) {
        const struct tensor *t = &bad->tensors[count];
        sd_file_tensor *f = &tensors[count];
        *f = (sd_file_tensor){.name = t->name, .dtype = t->dtype ? t->dtype : SD_FILE_F32};
        for (; f->rank < 4 && t->shape[f->rank]; f->rank++)
            f->shape[f->rank] = t->shape[f->rank] == none ? 0 : t->shape[f->rank];
        memcpy(firsts[count], numbers, sizeof numbers);
        firsts[count][0] = t->first;
        f->data = (const uint8_t *)firsts[count];
        assert_true(sd_file_tensor_size(f->dtype, f->rank, f->shape, &f->bytes));
    }
    const sd_file_metadata metadata = {"lora_adapter_metadata", config};
    if (sd_safetensors_write(FILE_NAME, tensors, count, &metadata, config ? 1 : 0, &err))
        fail_msg("%s", err.message);
}

struct setting {
    sd_context *context;
    sd_model *model;
};

static int begin(void **state) {
    static struct setting s;
    sd_error err;
    *state = &s;
    if (!sd_context_create(&s.context, &(sd_context_options){.cache_dir = ""}, &err) &&
        !sd_model_open(&s.model, s.context, TINY, NULL, &err))
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static int end(void **state) {
    struct setting *s = *state;
    sd_model_close(&s->model);
    sd_context_destroy(&s->context);
    remove(FILE_NAME);
    return 0;
}

static void expect(void **state, const char *message) {
    struct setting *s = *state;
    const sd_lora_use use = {.path = FILE_NAME, .unet = 1, .text = 1};
    sd_error err = {0};
    assert_int_not_equal(sd_model_set_loras(s->model, &use, 1, false, &err), SD_OK);
    assert_string_equal(err.message, message);
}

static void every_bad_file_has_its_sentence(void **state) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        write_file(&table[i], NULL);
        expect(state, table[i].message);
    }
}

static void every_bad_configuration_has_its_sentence(void **state) {
    const struct bad right = {{{"unet.conv_in.lora_A.weight", {1, 4, 3, 3}, 0, 0},
                               {"unet.conv_in.lora_B.weight", {16, 1, 1, 1}, 0, 0}},
                              NULL};
    struct setting *s = *state;
    const sd_lora_use use = {.path = FILE_NAME, .unet = 1, .text = 1};
    write_file(&right, NULL);
    assert_int_equal(sd_model_set_loras(s->model, &use, 1, false, NULL), SD_OK);
    for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
        write_file(&right, configurations[i].config);
        expect(state, configurations[i].message);
    }
}

/* Trainers write 0 for "as the rank". */
static void a_zero_alpha_is_no_error(void **state) {
    (void)state;
    static const struct bad zero = {{{TO_Q ".lora_up.weight", {16, 4}, 0, 0},
                                     {TO_Q ".lora_down.weight", {4, 16}, 0, 0},
                                     {TO_Q ".alpha", {1}, 0, 0}},
                                    NULL},
                            two = {{{TO_Q ".lora_up.weight", {16, 4}, 0, 0},
                                    {TO_Q ".lora_down.weight", {4, 16}, 0, 0},
                                    {TO_Q ".alpha", {1}, 0, 2}},
                                   NULL};
    sd_lora *lora;
    write_file(&zero, NULL);
    assert_int_equal(sd_lora_open(&lora, FILE_NAME, NULL), SD_OK);
    assert_true(lora->module_count == 1 && lora->modules[0].scale == 1);
    sd_lora_close(&lora);
    write_file(&two, NULL);
    assert_int_equal(sd_lora_open(&lora, FILE_NAME, NULL), SD_OK);
    assert_true(lora->modules[0].scale == 0.5f);
    sd_lora_close(&lora);
}

/* Of the families' own sizes, which the tiny model has not. */
static void other_families_are_named(void **state) {
    (void)state;
    static const struct {
        size_t model;
        const char *module;
        uint32_t outputs, inputs;
        const char *message;
    } rows[] = {
        {0, "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 640, 2048,
         FILE_NAME ": this LoRA is for SDXL, and the model is SD 1"},
        {0, "lora_te2_text_model_encoder_layers_0_mlp_fc1", 5120, 1280,
         FILE_NAME ": this LoRA is for SDXL, and the model is SD 1"},
        {0, "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 640, 1024,
         FILE_NAME ": this LoRA is for SD 2, and the model is SD 1"},
        {1, "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 640, 768,
         FILE_NAME ": this LoRA is for SD 1, and the model is SD 2"},
        {2, "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 640, 768,
         FILE_NAME ": this LoRA is for SD 1, and the model is SDXL"},
        {3, "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 640, 2048,
         FILE_NAME ": this LoRA is for SDXL, and the model is SDXL refiner"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char down[128], up[128];
        sd_lora *lora;
        sd_lora_match *match;
        sd_lora_targets *targets;
        sd_error err;
        snprintf(down, sizeof down, "%s.lora_down.weight", rows[i].module);
        snprintf(up, sizeof up, "%s.lora_up.weight", rows[i].module);
        const struct bad file = {{{down, {1, rows[i].inputs}, 0, 0}, {up, {rows[i].outputs, 1}, 0, 0}}, NULL};
        write_file(&file, NULL);
        if (sd_layers_of_family(&targets, rows[i].model, &err) || sd_lora_open(&lora, FILE_NAME, &err))
            fail_msg("%s", err.message);
        assert_int_equal(sd_lora_match_create(&match, lora, targets, false, &err), SD_E_UNSUPPORTED);
        assert_string_equal(err.message, rows[i].message);
        sd_lora_close(&lora);
        sd_lora_targets_destroy(&targets);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_file_has_its_sentence),
        cmocka_unit_test(every_bad_configuration_has_its_sentence),
        cmocka_unit_test(a_zero_alpha_is_no_error),
        cmocka_unit_test(other_families_are_named),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
