/* Parts in files of their own, and models that read a picture beside the latent: against diffusers' pipelines
 * (tests/golden/parts.py), and against the same model in one piece. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/io/safetensors.h"
#include "sd/latent.h"
#include "sd/request.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"
#define NETWORKS GOLDEN "networks/"
#define PARTS GOLDEN "parts/"

enum { width = 104, height = 72, pixels = width * height };

static sd_safetensors *golden;

static int open_all(void **state) {
    sd_error err;
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    if (sd_context_create((sd_context **)state, &options, &err) ||
        sd_safetensors_open(PARTS "golden.safetensors", &golden, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    return 0;
}

static int close_all(void **state) {
    sd_context *context = *state;
    sd_context_destroy(&context);
    sd_safetensors_close(&golden);
    return 0;
}

static sd_model *open_model(void **state, const char *path, const sd_model_options *options) {
    sd_model *model;
    sd_error err;
    if (sd_model_open(&model, *state, path, options, &err))
        fail_msg("%s", err.message);
    return model;
}

/* The golden [1,c,h,w] tensor, channels last. Free with free(). */
static float *golden_floats(const char *name, size_t *count) {
    const sd_file_tensor *t = sd_safetensors_find(golden, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, SD_FILE_F32);
    size_t c = t->shape[1], area = t->shape[2] * t->shape[3];
    float *out = malloc(c * area * sizeof *out);
    assert_non_null(out);
    for (size_t k = 0; k < c; k++)
        for (size_t p = 0; p < area; p++)
            memcpy(out + p * c + k, t->data + (k * area + p) * 4, 4);
    *count = c * area;
    return out;
}

/* The golden's picture of bytes [1,c,H,W] as RGB; one channel is grey. */
static void golden_picture(const char *name, sd_picture *out) {
    const sd_file_tensor *t = sd_safetensors_find(golden, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, SD_FILE_U8);
    *out = (sd_picture){width, height, 3, malloc(pixels * 3)};
    assert_non_null(out->pixels);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < 3; c++)
            out->pixels[p * 3 + c] = ((const uint8_t *)t->data)[(t->shape[1] == 3 ? c * pixels : 0) + p];
}

static double psnr(const float *got, const float *want, size_t count) {
    double sum = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        sum += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        high = fmax(high, fabs((double)want[i]));
    }
    return sum > 0 ? 10 * log10(high * high * (double)count / sum) : 999;
}

static const sd_params common = {.prompt = "a red mug on a wooden table",
                                 .negative_prompt = "blurry, low quality",
                                 .width = width,
                                 .height = height,
                                 .steps = 4,
                                 .cfg_scale = 5};

/* 60 dB in f32: sums in another order over four steps; 38 dB in f16, as for the other pictures. */
static void check_latents(void **state, const char *unet, const char *name, sd_params params,
                          sd_precision precision) {
    const sd_model_options options = {.precision = precision, .unet = unet};
    sd_model *model = open_model(state, NETWORKS "sd1", &options);
    size_t count, values;
    float *want = golden_floats(name, &count), *latents;
    sd_error err;
    if (sd_generate_latents(model, &params, &latents, &values, &err))
        fail_msg("%s", err.message);
    assert_int_equal(values, count);
    double found = psnr(latents, want, count), least = precision == SD_PRECISION_F32 ? 60 : 38;
    print_message("%s: %.1f dB\n", name, found);
    if (!(found >= least))
        fail_msg("%s: %.1f dB, expected at least %.0f", name, found, least);
    free(latents);
    free(want);
    sd_model_close(&model);
}

static void inpainting_as_diffusers_does_it(void **state) {
    sd_picture init, mask;
    sd_params params = common;
    golden_picture("init.picture", &init);
    golden_picture("init.mask", &mask);
    params.init_image = &init;
    params.mask = &mask;
    params.seed = 21;
    for (sd_precision p = SD_PRECISION_F32; p <= SD_PRECISION_F16; p++) {
        check_latents(state, PARTS "inpaint", "inpaint.latent", params, p);
        check_latents(state, NULL, "inpaint_plain.latent", params, p);
    }
    sd_picture_free(&init);
    sd_picture_free(&mask);
}

static void pix2pix_as_diffusers_does_it(void **state) {
    sd_picture init;
    sd_params params = common;
    golden_picture("init.picture", &init);
    params.init_image = &init;
    params.seed = 22;
    for (sd_precision p = SD_PRECISION_F32; p <= SD_PRECISION_F16; p++)
        check_latents(state, PARTS "pix2pix", "pix2pix.latent", params, p);
    sd_picture_free(&init);
}

/* One step from the highest noise level, with the guidance scale embedded. The sampler leaves out the
 * boundary scalings of LCMScheduler, which are 1 and 0 there but for a ten thousandth. */
static void lcm_as_diffusers_does_it(void **state) {
    sd_params params = common;
    params.seed = 23;
    params.steps = 1;
    params.schedule = "trailing";
    for (sd_precision p = SD_PRECISION_F32; p <= SD_PRECISION_F16; p++)
        check_latents(state, PARTS "lcm", "lcm.latent", params, p);
}

static sd_outputs *generate(sd_model *model, const sd_params *params) {
    sd_outputs *outputs;
    sd_error err;
    if (sd_generate(model, params, &outputs, &err))
        fail_msg("%s", err.message);
    return outputs;
}

/* Both kinds of models keep every byte outside the mask, and make the rest anew. */
static void what_the_mask_keeps_stays_byte_for_byte(void **state) {
    static const char *const unets[] = {NULL, PARTS "inpaint"};
    sd_picture init, mask;
    sd_params params = common;
    golden_picture("init.picture", &init);
    golden_picture("init.mask", &mask);
    params.init_image = &init;
    params.mask = &mask;
    for (int i = 0; i < 2; i++) {
        const sd_model_options options = {.unet = unets[i]};
        sd_model *model = open_model(state, NETWORKS "sd1", &options);
        sd_outputs *outputs = generate(model, &params);
        size_t changed = 0, white = 0;
        for (size_t p = 0; p < pixels; p++) {
            bool same = !memcmp(outputs->items[0].picture.pixels + p * 3, init.pixels + p * 3, 3);
            if (!mask.pixels[p * 3] && !same)
                fail_msg("pixel %zu, which the mask keeps, changed", p);
            white += mask.pixels[p * 3] != 0;
            changed += mask.pixels[p * 3] && !same;
        }
        assert_true(changed > white * 9 / 10);
        assert_non_null(strstr(outputs->items[0].infotext, "Mask blur: 0"));
        assert_non_null(strstr(outputs->items[0].json, "mask_sha256"));
        sd_outputs_free(&outputs);
        sd_model_close(&model);
    }
    sd_picture_free(&init);
    sd_picture_free(&mask);
}

/* A blurred edge goes from the old picture to the new one: neither one's bytes there. */
static void blur_softens_the_edge(void **state) {
    sd_picture init = {width, height, 3, calloc(pixels, 3)}, mask = {width, height, 3, calloc(pixels, 3)};
    sd_params params = common;
    for (size_t p = 0; p < pixels; p++)
        memset(mask.pixels + p * 3, p % width >= 52 ? 255 : 0, 3);
    params.init_image = &init;
    params.mask = &mask;
    params.mask_blur = 4;
    sd_model *model = open_model(state, NETWORKS "sd1", NULL);
    sd_outputs *outputs = generate(model, &params);
    const uint8_t *row = outputs->items[0].picture.pixels + (size_t)height / 2 * width * 3;
    uint64_t left = 0, between = 0;
    for (size_t x = 0; x < 41; x++) /* further away than 2.5 standard deviations */
        left += row[x * 3] + row[x * 3 + 1] + row[x * 3 + 2];
    for (size_t x = 44; x < 52; x++)
        between += row[x * 3] + row[x * 3 + 1] + row[x * 3 + 2];
    assert_int_equal(left, 0);
    assert_true(between > 0);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
    sd_picture_free(&init);
    sd_picture_free(&mask);
}

/* An inpainting model without a mask makes everything anew; a pix2pix model needs its picture. */
static void models_say_what_they_need(void **state) {
    sd_params params = common;
    sd_picture init;
    sd_outputs *outputs;
    sd_error err;
    sd_model *model = open_model(state, NETWORKS "sd1", &(sd_model_options){.unet = PARTS "inpaint"});
    params.steps = 1;
    outputs = generate(model, &params);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
    model = open_model(state, NETWORKS "sd1", &(sd_model_options){.unet = PARTS "pix2pix"});
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "init_image: expected the picture to edit, as sd1 is a pix2pix model, "
                                     "found none");
    golden_picture("init.picture", &init);
    params.mask = &init;
    params.init_image = NULL;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "mask: expected an init_image beside it, found none");
    sd_picture smaller = init;
    smaller.width--;
    params.init_image = &init;
    params.mask = &smaller;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "mask: expected 104 x 72 pixels as init_image, found 103 x 72");
    params.init_image = &smaller;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message,
                        "init_image: expected 104 x 72 pixels, found 103 x 72 (resize scales it)");
    params.mask_fill = "noize";
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "unknown mask_fill 'noize'; did you mean 'noise'?");
    sd_picture_free(&init);
    sd_model_close(&model);
}

static void parts_of_their_own_give_the_same_picture(void **state) {
    static const sd_model_options separate[] = {
        {.vae = NETWORKS "sdxl/vae"},
        {.unet = NETWORKS "sdxl/unet"},
        {.text_encoders = {NETWORKS "sdxl/text_encoder_2"}},
        {.text_encoders = {NETWORKS "sdxl/text_encoder_2", NETWORKS "sdxl/text_encoder"}},
        {.text_encoders = {NETWORKS "sdxl/text_encoder", NETWORKS "sdxl/text_encoder_2"},
         .vae = NETWORKS "sdxl/vae",
         .unet = NETWORKS "sdxl/unet"}};
    sd_model *model = open_model(state, NETWORKS "sdxl", NULL);
    sd_outputs *want = generate(model, &common);
    sd_model_close(&model);
    for (size_t i = 0; i < sizeof separate / sizeof *separate; i++) {
        model = open_model(state, NETWORKS "sdxl", &separate[i]);
        sd_outputs *got = generate(model, &common);
        assert_memory_equal(got->items[0].picture.pixels, want->items[0].picture.pixels, pixels * 3);
        assert_non_null(strstr(got->items[0].json, "\"parts\":[{\"part\":"));
        assert_int_equal(strstr(got->items[0].infotext, "VAE hash: ") != NULL, separate[i].vae != NULL);
        sd_outputs_free(&got);
        sd_model_close(&model);
    }
    sd_outputs_free(&want);
}

/* A file with a UNet alone, diffusers' or LDM names, beside the parts of whole models. */
static void a_unet_alone_is_a_model_beside_its_parts(void **state) {
    (void)state;
    const struct sd_separate_parts parts = {
        .vae = NETWORKS "sd1.safetensors", .text = {NETWORKS "sd1.safetensors"}, .text_count = 1};
    sd_checkpoint *c, *whole;
    sd_error err;
    struct sd_raw a, b;
    if (sd_checkpoint_open(&c, NETWORKS "sd1/unet/diffusion_pytorch_model.safetensors", &parts, &err) ||
        sd_checkpoint_open(&whole, NETWORKS "sd1", NULL, &err))
        fail_msg("%s", err.message);
    static const struct {
        sd_part part;
        const char *name;
    } rows[] = {{SD_PART_UNET, "mid_block.resnets.1.conv2.weight"},
                {SD_PART_VAE, "decoder.mid_block.attentions.0.to_q.weight"},
                {SD_PART_TEXT, "encoder.layers.2.mlp.fc1.weight"}};
    assert_int_equal(sd_vae_detect(&c->vae, &c->part[SD_PART_VAE].source, &err), SD_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct sd_checkpoint_part *x = &c->part[rows[i].part], *y = &whole->part[rows[i].part];
        assert_true(x->source.find(x->source.user, rows[i].name, &a));
        assert_true(y->source.find(y->source.user, rows[i].name, &b));
        assert_int_equal(a.bytes, b.bytes);
        assert_memory_equal(a.data, b.data, a.bytes);
    }
    sd_checkpoint_close(&c);
    sd_checkpoint_close(&whole);
}

/* Bytes within one level of diffusers': sums in another order. */
static void taesd_stands_in_for_the_vae(void **state) {
    static const char *const files[] = {PARTS "taesd", PARTS "taesd_decoder.safetensors"};
    size_t latents, values;
    float *latent = golden_floats("taesd.in.latent", &latents),
          *want = golden_floats("taesd.out.picture", &values);
    uint8_t *got = malloc(pixels * 3);
    for (int i = 0; i < 2; i++) {
        sd_model *model = open_model(state, NETWORKS "sd1", &(sd_model_options){.taesd = files[i]});
        struct sd_request request;
        const struct sd_watch watch = {0};
        sd_error err;
        assert_int_equal(sd_request_resolve(&request, model, &common, &err), SD_OK);
        if (sd_decode(model, &request.params, &watch, latent, got, &err))
            fail_msg("%s", err.message);
        for (size_t p = 0; p < values; p++) {
            double level = fmin(fmax(((double)want[p] + 1) * 127.5, 0), 255);
            assert_true(fabs(level - got[p]) <= 1);
        }
        sd_outputs *outputs = generate(model, &common);
        assert_non_null(strstr(outputs->items[0].infotext, "VAE Decoder: TAESD"));
        sd_outputs_free(&outputs);
        sd_model_close(&model);
    }
    free(latent);
    free(want);
    free(got);
}

/* The TAESD's encoder where its file has one, else the VAE's: other latents, and other pictures. */
static void init_pictures_are_encoded_by_what_there_is(void **state) {
    static const char *const files[] = {PARTS "taesd", PARTS "taesd_decoder.safetensors"};
    sd_picture init;
    sd_params params = common;
    sd_outputs *outputs[2];
    golden_picture("init.picture", &init);
    params.init_image = &init;
    for (int i = 0; i < 2; i++) {
        sd_model *model = open_model(state, NETWORKS "sd1", &(sd_model_options){.taesd = files[i]});
        assert_int_equal(model->autoencoder.tiny_encoder, i == 0);
        outputs[i] = generate(model, &params);
        sd_model_close(&model);
    }
    assert_memory_not_equal(outputs[0]->items[0].picture.pixels, outputs[1]->items[0].picture.pixels,
                            pixels * 3);
    sd_outputs_free(&outputs[0]);
    sd_outputs_free(&outputs[1]);
    sd_picture_free(&init);
}

static void wrong_parts_are_refused_by_what_they_are(void **state) {
#define UNET_FILE NETWORKS "sd1/unet/diffusion_pytorch_model.safetensors"
#define LORA SDVK_SOURCE_DIR "/samples/loras/acme.safetensors"
    static const struct {
        sd_model_options options;
        sd_status status;
        const char *message;
    } rows[] = {
        {{.vae = UNET_FILE}, SD_E_UNSUPPORTED, UNET_FILE ": expected a VAE, found a UNet"},
        {{.vae = LORA}, SD_E_UNSUPPORTED, LORA ": expected a VAE, found a LoRA"},
        {{.unet = PARTS "taesd_decoder.safetensors"},
         SD_E_UNSUPPORTED,
         PARTS "taesd_decoder.safetensors: expected a UNet, found a TAESD decoder"},
        {{.taesd = UNET_FILE}, SD_E_UNSUPPORTED, UNET_FILE ": expected a TAESD decoder, found a UNet"},
        {{.text_encoders = {LORA}}, SD_E_UNSUPPORTED, LORA ": expected a text encoder, found a LoRA"},
        {{.vae = NETWORKS "sd1"},
         SD_E_ARGUMENT,
         NETWORKS "sd1: expected the folder of one part, found a whole model; try " NETWORKS "sd1/vae"},
        {{.vae = NETWORKS "sd1/scheduler"},
         SD_E_NOT_FOUND,
         NETWORKS "sd1/scheduler: expected the file config.json, which is not there"},
        {{.vae = "/nowhere"}, SD_E_NOT_FOUND, "/nowhere: no such file"},
        {{.text_encoders = {NETWORKS "sd1/text_encoder", NETWORKS "sd1/text_encoder"}},
         SD_E_ARGUMENT,
         NETWORKS "sd1/text_encoder/model.safetensors: expected text encoders of two kinds, found two for "
                  "the same place, the other in " NETWORKS "sd1/text_encoder/model.safetensors"},
        {{.text_encoders = {NETWORKS "sd2/text_encoder"}},
         SD_E_FORMAT,
         NETWORKS "sd1: the UNet reads text of width 32, but the text encoder gives 48"},
        {{.unet = NETWORKS "sd2/unet"},
         SD_E_FORMAT,
         NETWORKS "sd1: the UNet reads text of width 48, but the text encoder gives 32"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_model *model;
        sd_error err;
        assert_int_equal(sd_model_open(&model, *state, NETWORKS "sd1", &rows[i].options, &err),
                         rows[i].status);
        assert_null(model);
        assert_string_equal(err.message, rows[i].message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inpainting_as_diffusers_does_it),
        cmocka_unit_test(pix2pix_as_diffusers_does_it),
        cmocka_unit_test(lcm_as_diffusers_does_it),
        cmocka_unit_test(what_the_mask_keeps_stays_byte_for_byte),
        cmocka_unit_test(blur_softens_the_edge),
        cmocka_unit_test(models_say_what_they_need),
        cmocka_unit_test(parts_of_their_own_give_the_same_picture),
        cmocka_unit_test(a_unet_alone_is_a_model_beside_its_parts),
        cmocka_unit_test(taesd_stands_in_for_the_vae),
        cmocka_unit_test(init_pictures_are_encoded_by_what_there_is),
        cmocka_unit_test(wrong_parts_are_refused_by_what_they_are),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
