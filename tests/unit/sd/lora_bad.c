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

#include "sd/io/safetensors.h"
#include "sd/model.h"

#define TINY SDVK_SOURCE_DIR "/tests/golden/networks/sd1"
#define FILE_NAME "bad_lora.safetensors" /* in the test's working folder */
#define TO_Q "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
#define CONV "lora_unet_down_blocks_1_resnets_0_conv1"

static float numbers[4096];

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
     FILE_NAME
     ": none of its 1 modules (nothing, made for unknown) fits a layer of this model; the first is " TO_Q},
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
};

static void write_file(const struct bad *bad) {
    sd_file_tensor tensors[most_tensors];
    static float firsts[most_tensors][4096];
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
    if (sd_safetensors_write(FILE_NAME, tensors, count, NULL, 0, &err))
        fail_msg("%s", err.message);
}

static void every_bad_file_has_its_sentence(void **state) {
    (void)state;
    sd_context *context;
    sd_model *model;
    sd_error err;
    if (sd_context_create(&context, &(sd_context_options){.cache_dir = ""}, &err) ||
        sd_model_open(&model, context, TINY, NULL, &err))
        fail_msg("%s", err.message);
    const sd_lora_use use = {.path = FILE_NAME, .unet = 1, .text = 1};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        write_file(&table[i]);
        err.message[0] = 0;
        assert_int_not_equal(sd_model_set_loras(model, &use, 1, false, &err), SD_OK);
        assert_string_equal(err.message, table[i].message);
    }
    sd_model_close(&model);
    sd_context_destroy(&context);
    remove(FILE_NAME);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_bad_file_has_its_sentence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
