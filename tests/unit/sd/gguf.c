/* Models from GGUF files: the tensors and pictures of safetensors files with the same values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clip/text_model.h"
#include "sd/base/half.h"
#include "sd/base/quant.h"
#include "sd/checkpoint.h"
#include "sd/io/gguf.h"
#include "sd/io/safetensors.h"
#include "sd/sd.h"
#include "tests/unit/folder.h"
#include "tests/unit/sd/psnr.h"
#include "unet/names.h"
#include "unet/weights.h"
#include "vae/vae.h"

#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"

static sd_checkpoint *open_checkpoint(const char *path) {
    sd_checkpoint *c;
    sd_error err;
    if (sd_checkpoint_open(&c, path, NULL, &err))
        fail_msg("%s", err.message);
    return c;
}

static sd_safetensors *open_single(const char *family) {
    char path[512];
    sd_safetensors *file;
    sd_error err;
    snprintf(path, sizeof path, NETWORKS "%s.safetensors", family);
    if (sd_safetensors_open(path, &file, &err))
        fail_msg("%s", err.message);
    return file;
}

/* ---- lists of tensors to write ---- */

struct list {
    sd_arena arena;
    sd_file_tensor items[2048];
    size_t count;
};

static sd_file_tensor *add(struct list *l, const sd_file_tensor *t, const char *name) {
    assert_true(l->count < sizeof l->items / sizeof *l->items);
    sd_file_tensor *added = &l->items[l->count++];
    *added = *t;
    added->name = sd_arena_strdup(&l->arena, name);
    return added;
}

static void clear(struct list *l) {
    sd_arena_clear(&l->arena);
    l->count = 0;
}

static void write_gguf(const char *path, const struct list *l) {
    sd_gguf_values values = {0};
    sd_error err;
    sd_gguf_add_string(&values, "general.architecture", "sd1");
    if (sd_gguf_write(path, l->items, l->count, &values, NULL, &err))
        fail_msg("%s", err.message);
    sd_gguf_values_clear(&values);
}

static void write_safetensors(const char *path, const struct list *l) {
    sd_error err;
    if (sd_safetensors_write(path, l->items, l->count, NULL, 0, &err))
        fail_msg("%s", err.message);
}

static float *as_floats(struct list *l, const sd_file_tensor *t, uint64_t *count) {
    assert_int_equal(t->dtype, SD_FILE_F16);
    *count = t->bytes / 2;
    float *x = sd_arena_array(&l->arena, *count, sizeof *x);
    for (uint64_t i = 0; i < *count; i++) {
        uint16_t half;
        memcpy(&half, t->data + 2 * i, 2);
        x[i] = sd_f32_from_f16(half);
    }
    return x;
}

/* Quantises the matrices of `quantised` with every type in turn and gives `plain` the values that come out as
 * F32. Rows that are no whole blocks become reshaped ones in the file. */
static void quantise(struct list *quantised, struct list *plain) {
    unsigned next = 0;
    for (size_t i = 0; i < quantised->count; i++) {
        sd_file_tensor *q = &quantised->items[i], *p = &plain->items[i];
        sd_file_dtype type = (sd_file_dtype)(SD_FILE_Q4_0 + next % (SD_FILE_IQ4_XS - SD_FILE_Q4_0 + 1));
        sd_dtype base = sd_file_dtype_base(type);
        uint64_t count, bytes;
        if (q->rank < 2 || !sd_file_tensor_size(type, q->rank, q->shape, &bytes))
            continue;
        float *x = as_floats(quantised, q, &count), *y = sd_arena_array(&plain->arena, count, sizeof *y);
        uint8_t *blocks = sd_arena_alloc(&quantised->arena, bytes);
        assert_true(sd_quantise(base, x, count, blocks));
        sd_dequantise(base, blocks, 0, count, y);
        q->dtype = type;
        q->data = blocks;
        q->bytes = bytes;
        p->dtype = SD_FILE_F32;
        p->data = (const uint8_t *)y;
        p->bytes = count * sizeof *y;
        next++;
    }
    assert_true(next > 100);
}

/* ---- the tiny single files ---- */

static void same_tensor(sd_checkpoint *a, sd_checkpoint *b, int part, const char *name) {
    struct sd_raw x, y;
    if (!a->part[part].source.find(a->part[part].source.user, name, &x) ||
        !b->part[part].source.find(b->part[part].source.user, name, &y))
        fail_msg("no %s", name);
    assert_int_equal(x.dtype, y.dtype);
    assert_int_equal(x.rank, y.rank);
    assert_memory_equal(x.shape, y.shape, x.rank * sizeof *x.shape);
    assert_int_equal(x.bytes, y.bytes);
    assert_memory_equal(x.data, y.data, x.bytes);
}

static void single_files_hold_the_same(void **state) {
    static const char *const families[] = {"sd1", "sd2", "sdxl", "refiner"};
    static struct list l;
    (void)state;
    for (size_t f = 0; f < 4; f++) {
        sd_safetensors *single = open_single(families[f]);
        char path[512];
        snprintf(path, sizeof path, NETWORKS "%s.safetensors", families[f]);
        for (size_t i = 0; i < sd_safetensors_count(single); i++)
            add(&l, sd_safetensors_at(single, i), sd_safetensors_at(single, i)->name);
        write_gguf(in_folder("tiny.gguf"), &l);
        sd_checkpoint *a = open_checkpoint(path), *b = open_checkpoint(in_folder("tiny.gguf"));
        assert_string_equal(b->name, "tiny");
        for (int part = 0; part < SD_PARTS; part++) {
            assert_int_equal(a->part[part].spelling, b->part[part].spelling);
            assert_int_equal(!a->part[part].file, !b->part[part].file);
        }
        assert_string_equal(sd_tensor_file_format(b->part[SD_PART_UNET].file), "GGUF");
        for (size_t i = 0; i < l.count; i++) {
            const sd_file_tensor *t = sd_tensor_file_find(b->files[0], l.items[i].name);
            assert_non_null(t);
            assert_int_equal(t->rank, l.items[i].rank);
            assert_int_equal(t->bytes, l.items[i].bytes);
            assert_memory_equal(t->data, l.items[i].data, t->bytes);
        }
        sd_error err;
        assert_int_equal(sd_unet_detect(&a->unet, &a->part[SD_PART_UNET].source, NULL),
                         sd_unet_detect(&b->unet, &b->part[SD_PART_UNET].source, &err));
        assert_memory_equal(&a->unet, &b->unet, sizeof a->unet);
        same_tensor(a, b, SD_PART_UNET, "conv_in.weight");
        same_tensor(a, b, SD_PART_VAE, "decoder.conv_in.weight");
        same_tensor(a, b, f == 3 ? SD_PART_TEXT_2 : SD_PART_TEXT, "encoder.layers.1.self_attn.k_proj.weight");
        sd_checkpoint_close(&a);
        sd_checkpoint_close(&b);
        sd_safetensors_close(&single);
        clear(&l);
    }
}

/* OpenCLIP's stacked and turned tensors, cut and turned back when they are quantised. */
static void stacked_tensors_may_be_quantised(void **state) {
    static struct list quantised, plain;
    sd_safetensors *single = open_single("sdxl");
    (void)state;
    for (size_t i = 0; i < sd_safetensors_count(single); i++) {
        const sd_file_tensor *t = sd_safetensors_at(single, i);
        add(&quantised, t, t->name);
        add(&plain, t, t->name);
    }
    quantise(&quantised, &plain);
    write_gguf(in_folder("xl.gguf"), &quantised);
    write_safetensors(in_folder("xl.safetensors"), &plain);
    sd_checkpoint *a = open_checkpoint(in_folder("xl.safetensors")),
                  *b = open_checkpoint(in_folder("xl.gguf"));
    static const char *const names[] = {"q", "k", "v"};
    for (unsigned layer = 0; layer < 4; layer++)
        for (int k = 0; k < 3; k++) {
            char name[96];
            struct sd_raw x, y;
            snprintf(name, sizeof name, "encoder.layers.%u.self_attn.%s_proj.weight", layer, names[k]);
            assert_true(a->part[SD_PART_TEXT_2].source.find(&a->part[SD_PART_TEXT_2], name, &x));
            assert_true(b->part[SD_PART_TEXT_2].source.find(&b->part[SD_PART_TEXT_2], name, &y));
            assert_true(sd_dtype_quantised(y.dtype));
            assert_int_equal(y.shape[0], 48);
            assert_int_equal(y.shape[1], 48);
            float values[48 * 48];
            sd_dequantise(y.dtype, y.data, 0, 48 * 48, values);
            assert_memory_equal(values, x.data, sizeof values);
        }
    assert_true(sd_file_dtype_quantised(
        sd_tensor_file_find(b->files[0], "conditioner.embedders.1.model.text_projection")->dtype));
    same_tensor(a, b, SD_PART_TEXT_2, "text_projection.weight");
    sd_checkpoint_close(&a);
    sd_checkpoint_close(&b);
    sd_safetensors_close(&single);
    clear(&quantised);
    clear(&plain);
}

/* ---- names that other programs give ---- */

/* stable-diffusion.cpp's SDXL: the second text encoder under transformers' names, its projection still
 * [in,out]. */
static void the_renamed_second_text_encoder_is_found(void **state) {
    static struct list l;
    sd_safetensors *single = open_single("sdxl");
    char name[256];
    (void)state;
    sd_checkpoint *a = open_checkpoint(NETWORKS "sdxl.safetensors");
    for (size_t i = 0; i < sd_safetensors_count(single); i++) {
        const sd_file_tensor *t = sd_safetensors_at(single, i);
        if (strncmp(t->name, "conditioner.", 12) != 0)
            add(&l, t, t->name);
        else if (!strcmp(t->name, "conditioner.embedders.1.model.text_projection"))
            add(&l, t, "cond_stage_model.1.transformer.text_model.text_projection");
        else if (!strncmp(t->name, "conditioner.embedders.0.", 24)) {
            snprintf(name, sizeof name, "cond_stage_model.%s", t->name + 24);
            add(&l, t, name);
        }
    }
    static const char *const names[] = {"embeddings.token_embedding.weight",
                                        "encoder.layers.0.self_attn.q_proj.weight",
                                        "encoder.layers.3.mlp.fc1.weight"};
    for (size_t i = 0; i < 3; i++) {
        struct sd_raw raw;
        assert_true(a->part[SD_PART_TEXT_2].source.find(&a->part[SD_PART_TEXT_2], names[i], &raw));
        sd_file_tensor t = {.dtype = SD_FILE_F16, .rank = raw.rank, .data = raw.data, .bytes = raw.bytes};
        memcpy(t.shape, raw.shape, sizeof t.shape);
        snprintf(name, sizeof name, "cond_stage_model.1.transformer.text_model.%s", names[i]);
        add(&l, &t, name);
    }
    write_gguf(in_folder("renamed.gguf"), &l);
    sd_checkpoint *b = open_checkpoint(in_folder("renamed.gguf"));
    for (size_t i = 0; i < 3; i++)
        same_tensor(a, b, SD_PART_TEXT_2, names[i]);
    same_tensor(a, b, SD_PART_TEXT_2, "text_projection.weight");
    same_tensor(a, b, SD_PART_TEXT, names[0]);
    sd_checkpoint_close(&a);
    sd_checkpoint_close(&b);
    sd_safetensors_close(&single);
    clear(&l);
}

static sd_context *open_context(void) {
    sd_context *context;
    sd_error err;
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    if (sd_context_create(&context, &options, &err))
        fail_msg("%s", err.message);
    return context;
}

/* ComfyUI-GGUF's files: a UNet without a prefix, reshaped. */
static void a_unet_alone_is_recognised(void **state) {
    static const char prefix[] = "model.diffusion_model.";
    static struct list quantised, plain;
    sd_safetensors *single = open_single("sd1");
    (void)state;
    for (size_t i = 0; i < sd_safetensors_count(single); i++) {
        const sd_file_tensor *t = sd_safetensors_at(single, i);
        if (!strncmp(t->name, prefix, sizeof prefix - 1)) {
            add(&quantised, t, t->name + sizeof prefix - 1);
            add(&plain, t, t->name + sizeof prefix - 1);
        }
    }
    quantise(&quantised, &plain);
    write_gguf(in_folder("unet.gguf"), &quantised);
    sd_checkpoint *a = open_checkpoint(NETWORKS "sd1.safetensors"),
                  *b = open_checkpoint(in_folder("unet.gguf"));
    sd_error err;
    assert_non_null(b->part[SD_PART_UNET].file);
    assert_null(b->part[SD_PART_VAE].file);
    sd_unet_detect(&a->unet, &a->part[SD_PART_UNET].source, NULL);
    sd_unet_detect(&b->unet, &b->part[SD_PART_UNET].source, NULL);
    assert_memory_equal(&b->unet, &a->unet, sizeof a->unet);
    sd_checkpoint_close(&a);
    sd_checkpoint_close(&b);
    sd_safetensors_close(&single);
    clear(&quantised);
    clear(&plain);
    /* Other programs' models are named. */
    static struct list other;
    static const uint8_t zeros[4];
    add(&other, &(sd_file_tensor){.dtype = SD_FILE_F32, .rank = 1, .shape = {1}, .data = zeros, .bytes = 4},
        "token_embd.weight");
    sd_gguf_values values = {0};
    sd_gguf_add_string(&values, "general.architecture", "llama");
    assert_int_equal(sd_gguf_write(in_folder("llama.gguf"), other.items, 1, &values, NULL, &err), SD_OK);
    sd_gguf_values_clear(&values);
    char expected[256];
    snprintf(
        expected, sizeof expected,
        "%s/llama.gguf: not a Stable Diffusion model: its general.architecture is llama; supported are SD 1, "
        "SD 2 and SDXL",
        folder);
    assert_int_equal(sd_checkpoint_open(&b, in_folder("llama.gguf"), NULL, &err), SD_E_UNSUPPORTED);
    assert_string_equal(err.message, expected);
    clear(&other);
}

/* ---- pictures ---- */

/* A model as single files are: 32 norm groups, 8 heads. */
static const char unet_json[] =
    "{\"block_out_channels\":[64,64],\"down_block_types\":[\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
    "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\"],\"layers_per_block\":1,"
    "\"cross_attention_dim\":64,\"attention_head_dim\":8}";
static const char vae_json[] =
    "{\"block_out_channels\":[32,32,32,32],\"down_block_types\":[\"DownEncoderBlock2D\","
    "\"DownEncoderBlock2D\","
    "\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],\"up_block_types\":[\"UpDecoderBlock2D\","
    "\"UpDecoderBlock2D\",\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"],\"layers_per_block\":1,"
    "\"norm_num_groups\":32}";

/* Uniform values of the deviation of a fresh layer; scales of norms are near 1. */
static const uint8_t *random_halves(struct list *l, const sd_weight *w, const char *name, uint64_t count) {
    static uint32_t seed = 1;
    uint16_t *x = sd_arena_array(&l->arena, count, sizeof *x);
    float spread = 1 / sqrtf((float)w->c * (float)w->kh * (float)w->kw);
    bool scale = w->form == SD_WEIGHT_VECTOR && strstr(name, "norm") && strstr(name, ".weight");
    for (uint64_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        float value = ((float)(seed >> 8) * 0x1p-23f - 1) * (w->form == SD_WEIGHT_TABLE ? 0.02f : spread);
        x[i] = sd_f16_from_f32(scale ? 1 + 0.1f * value : value);
    }
    return (const uint8_t *)x;
}

struct network {
    struct sd_unet_config unet;
    struct sd_vae_config vae;
};

static void add_part(struct list *l, const struct network *n, sd_part part, sd_weights *w) {
    for (size_t i = 0; i < sd_weights_count(w); i++)
        for (uint32_t k = 0; k < sd_weights_at(w, i)->parts; k++) {
            const sd_weight *x = sd_weights_at(w, i);
            char theirs[192], full[256];
            bool vector = x->form == SD_WEIGHT_VECTOR || x->form == SD_WEIGHT_GEGLU_VECTOR;
            sd_file_tensor t = {.dtype = SD_FILE_F16,
                                .rank = vector      ? 1
                                        : x->kh > 1 ? 4
                                                    : 2,
                                .shape = {x->n / x->parts, x->c, x->kh, x->kw}};
            assert_true(sd_file_tensor_size(t.dtype, t.rank, t.shape, &t.bytes));
            t.data = random_halves(l, x, x->names[k], t.bytes / 2);
            if (part == SD_PART_UNET && sd_unet_ldm_name(&n->unet, x->names[k], theirs, sizeof theirs))
                snprintf(full, sizeof full, "model.diffusion_model.%s", theirs);
            else if (part == SD_PART_VAE && sd_vae_ldm_name(&n->vae, x->names[k], theirs, sizeof theirs))
                snprintf(full, sizeof full, "first_stage_model.%s", theirs);
            else
                snprintf(full, sizeof full, "cond_stage_model.transformer.text_model.%s", x->names[k]);
            add(l, &t, full);
        }
}

static void add_model(struct list *l) {
    static const struct sd_text_config text = {64, 1, 2, 128, 49408, 0, SD_ACT_GELU};
    struct network n;
    struct sd_unet *unet = NULL;
    struct sd_text_model text_model;
    struct sd_vae_decoder decoder;
    struct sd_vae_encoder encoder;
    sd_error err;
    if (sd_unet_config_parse(&n.unet, unet_json, strlen(unet_json), "unet", &err) ||
        sd_vae_config_parse(&n.vae, vae_json, strlen(vae_json), "vae", &err))
        fail_msg("%s", err.message);
    for (int part = 0; part < SD_PART_TEXT_2; part++) {
        sd_weights *w;
        assert_int_equal(sd_weights_create(&w, &err), SD_OK);
        if (part == SD_PART_UNET)
            assert_int_equal(sd_unet_bind(&unet, &n.unet, true, w, &err), SD_OK);
        else if (part == SD_PART_VAE) {
            sd_vae_bind_decoder(&decoder, w, &n.vae);
            sd_vae_bind_encoder(&encoder, w, &n.vae);
        } else
            sd_text_bind(&text_model, w, &text);
        add_part(l, &n, (sd_part)part, w);
        sd_weights_destroy(NULL, &w);
    }
    sd_unet_destroy(&unet);
}

static void render(sd_context *context, const char *path, sd_precision precision, const char *lora,
                   uint8_t *pixels) {
    const sd_lora_use use = {.path = lora, .unet = 1, .text = 1};
    const sd_model_options options = {.precision = precision, .loras = &use, .lora_count = lora != NULL};
    const sd_params params = {.prompt = "a red mug", .width = 64, .height = 64, .steps = 2, .seed = 5};
    sd_model *model;
    sd_outputs *outputs = NULL;
    sd_error err;
    if (sd_model_open(&model, context, path, &options, &err) || sd_generate(model, &params, &outputs, &err))
        fail_msg("%s", err.message);
    memcpy(pixels, outputs->items[0].picture.pixels, 64 * 64 * 3);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
}

/* The same bytes if `exact`. Otherwise nearly: quantised layers have kernels of their own, which add up in
 * another order, and in f16 the values of the plain file are rounded, those that are expanded inside the
 * kernels are not. 60 and 38 dB are what other pictures in f32 and f16 are held to. */
static void same_picture(sd_context *context, const char *a, const char *b, const char *lora, bool exact) {
    static uint8_t x[64 * 64 * 3], y[sizeof x];
    for (int p = 0; p < 2; p++) {
        sd_precision precision = p ? SD_PRECISION_F16 : SD_PRECISION_F32;
        render(context, a, precision, lora, x);
        render(context, b, precision, lora, y);
        if (exact)
            assert_memory_equal(x, y, sizeof x);
        print_message("%s: %.1f dB\n", b, psnr_bytes(x, y, sizeof x));
        assert_true(psnr_bytes(x, y, sizeof x) >= (p ? 38 : 60));
        size_t other = 0;
        for (size_t i = 3; i < sizeof x; i++)
            other += x[i] != x[i % 3];
        assert_true(other > sizeof x / 2); /* not one colour */
    }
}

/* Of rank 4, for a convolution whose rows are no whole blocks and for a linear layer. */
static void write_lora(const char *path) {
    static const struct {
        const char *name;
        uint32_t rank;
        uint64_t shape[4];
    } tensors[] = {
        {"lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight", 4, {4, 64, 3, 3}},
        {"lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight", 4, {64, 4, 1, 1}},
        {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_2.lora_down.weight", 2, {4, 256}},
        {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_2.lora_up.weight", 2, {64, 4}},
    };
    static struct list l;
    for (size_t i = 0; i < 4; i++) {
        const sd_weight like = {.form = SD_WEIGHT_GEMM, .c = 16, .kh = 1, .kw = 1};
        sd_file_tensor t = {.dtype = SD_FILE_F16, .rank = tensors[i].rank};
        memcpy(t.shape, tensors[i].shape, sizeof tensors[i].shape);
        assert_true(sd_file_tensor_size(t.dtype, t.rank, t.shape, &t.bytes));
        t.data = random_halves(&l, &like, tensors[i].name, t.bytes / 2);
        add(&l, &t, tensors[i].name);
    }
    write_safetensors(path, &l);
    clear(&l);
}

static void single_files_give_the_same_pictures(void **state) {
    static struct list f16, quantised, plain;
    sd_context *context = open_context();
    (void)state;
    add_model(&f16);
    for (size_t i = 0; i < f16.count; i++) {
        add(&quantised, &f16.items[i], f16.items[i].name);
        add(&plain, &f16.items[i], f16.items[i].name);
    }
    quantise(&quantised, &plain);
    write_gguf(in_folder("f16.gguf"), &f16);
    write_safetensors(in_folder("f16.safetensors"), &f16);
    write_gguf(in_folder("quantised.gguf"), &quantised);
    write_safetensors(in_folder("plain.safetensors"), &plain);
    write_lora(in_folder("lora.safetensors"));
    same_picture(context, in_folder("f16.safetensors"), in_folder("f16.gguf"), NULL, true);
    same_picture(context, in_folder("plain.safetensors"), in_folder("quantised.gguf"), NULL, false);
    same_picture(context, in_folder("plain.safetensors"), in_folder("quantised.gguf"),
                 in_folder("lora.safetensors"), false);
    sd_context_destroy(&context);
    clear(&f16);
    clear(&quantised);
    clear(&plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_files_hold_the_same),
        cmocka_unit_test(stacked_tensors_may_be_quantised),
        cmocka_unit_test(the_renamed_second_text_encoder_is_found),
        cmocka_unit_test(a_unet_alone_is_recognised),
        cmocka_unit_test(single_files_give_the_same_pictures),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
