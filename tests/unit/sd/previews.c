/* Pictures of runs that are under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/base/rng.h"
#include "sd/preview.h"
#include "tests/unit/sd/context.h"
#include "tests/unit/sd/psnr.h"

#define SAMPLE SDVK_SOURCE_DIR "/samples/mockup"
#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"
#define TAESD SDVK_SOURCE_DIR "/tests/golden/parts/taesd_decoder.safetensors"

static const struct sd_watch nobody;

static sd_model *open_model(void **state, const char *path, const char *taesd) {
    sd_model *model;
    sd_error err;
    if (sd_model_open(&model, *state, path, &(sd_model_options){.taesd = taesd}, &err))
        fail_msg("%s", err.message);
    return model;
}

static void preview(sd_model *model, const sd_params *params, const float *latent, sd_picture *out) {
    sd_error err;
    if (sd_preview(model, params, &nobody, latent, out, &err))
        fail_msg("%s", err.message);
}

/* Means of 8 x 8 pixels of what the decoder makes of a latent. */
static uint8_t *block_means(sd_model *model, const sd_params *p, const float *latent) {
    uint32_t w = p->width / 8, h = p->height / 8;
    uint8_t *pixels = malloc((size_t)p->width * p->height * 3), *means = malloc((size_t)w * h * 3);
    sd_error err;
    if (sd_decode(model, p, &nobody, latent, pixels, &err))
        fail_msg("%s", err.message);
    for (uint32_t i = 0; i < w * h * 3; i++) {
        uint32_t sum = 0, x = i / 3 % w * 8, y = i / 3 / w * 8;
        for (uint32_t k = 0; k < 64; k++)
            sum += pixels[((y + k / 8) * p->width + x + k % 8) * 3 + i % 3];
        means[i] = (uint8_t)((sum + 32) / 64);
    }
    free(pixels);
    return means;
}

static float *latent_of(sd_model *model, const sd_params *params) {
    float *latent;
    size_t values;
    sd_error err;
    if (sd_generate_latents(model, params, &latent, &values, &err))
        fail_msg("%s", err.message);
    return latent;
}

/* Ten finished pictures had 20.6 dB or more, 23.5 at the mean; a map of each pixel alone, without its
 * neighbours, had 15.5 or more. The mean colour of each of these three, all over, has 12.7 to 15.5. */
static void previews_are_the_picture_made_small(void **state) {
    static const struct {
        const char *prompt;
        int64_t seed;
    } rows[] = {{"a red mug on a wooden table, studio light", 0},
                {"a black t-shirt by a sunlit wall", 4},
                {"a teal mug on a marble counter", 8}};
    sd_model *model = open_model(state, SAMPLE, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const sd_params params = {.prompt = rows[i].prompt,
                                  .width = 256,
                                  .height = 256,
                                  .steps = 20,
                                  .cfg_scale = 5,
                                  .seed = rows[i].seed};
        float *latent = latent_of(model, &params);
        uint8_t *want = block_means(model, &params, latent);
        sd_picture got;
        preview(model, &params, latent, &got);
        assert_int_equal(got.width, 32);
        assert_int_equal(got.height, 32);
        double found = psnr_bytes(got.pixels, want, (size_t)32 * 32 * 3);
        print_message("%s: %.1f dB\n", rows[i].prompt, found);
        assert_true(found >= 19);
        sd_picture_free(&got);
        free(want);
        free(latent);
    }
    sd_model_close(&model);
}

/* Noise as the estimate of a clean latent. */
static float *noise(const sd_params *p, uint64_t seed) {
    size_t count = (size_t)(p->width / 8) * (p->height / 8) * 4;
    float *out = malloc(count * sizeof *out);
    sd_rng rng;
    sd_rng_init(&rng, SD_RNG_CPU, seed);
    sd_rng_randn(&rng, out, count);
    return out;
}

/* Whatever the model's first preview was of. */
static void previews_do_not_depend_on_those_before(void **state) {
    const sd_params first = {.width = 104, .height = 72}, second = {.width = 64, .height = 128};
    float *one = noise(&first, 1), *two = noise(&second, 2);
    sd_picture alone, other, after;
    sd_model *model = open_model(state, NETWORKS "sd1", NULL);
    preview(model, &second, two, &alone);
    sd_model_close(&model);
    model = open_model(state, NETWORKS "sd1", NULL);
    preview(model, &first, one, &other);
    preview(model, &second, two, &after);
    sd_model_close(&model);
    assert_int_equal(other.width, 13);
    assert_int_equal(other.height, 9);
    assert_memory_equal(alone.pixels, after.pixels, 8 * 16 * 3);
    sd_picture_free(&alone);
    sd_picture_free(&other);
    sd_picture_free(&after);
    free(one);
    free(two);
}

/* By the map 128 pixels a side at most, by a TAESD 512; a very narrow picture keeps a pixel's width. */
static void previews_are_small(void **state) {
    static const struct {
        uint32_t width, height, by_map[2], by_taesd[2];
    } rows[] = {{256, 128, {32, 16}, {256, 128}},
                {2048, 1032, {128, 64}, {512, 256}},
                {2048, 8, {256, 1}, {2048, 8}},
                {1032, 64, {64, 4}, {344, 16}}};
    for (int tiny = 0; tiny < 2; tiny++) {
        sd_model *model = open_model(state, NETWORKS "sd1", tiny ? TAESD : NULL);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const sd_params params = {.width = rows[i].width, .height = rows[i].height};
            const uint32_t *want = tiny ? rows[i].by_taesd : rows[i].by_map;
            float *latent = noise(&params, 3);
            sd_picture got;
            preview(model, &params, latent, &got);
            assert_int_equal(got.width, want[0]);
            assert_int_equal(got.height, want[1]);
            sd_picture_free(&got);
            free(latent);
        }
        sd_model_close(&model);
    }
}

struct previews {
    uint32_t count, last_step;
};

static void follow(void *user, const sd_progress *progress) {
    struct previews *p = user;
    if (!progress->preview)
        return;
    assert_int_equal(progress->phase, SD_PHASE_STEP);
    p->count++;
    p->last_step = progress->step;
}

/* Every third step but the last, and the picture is the same as without. */
static void previews_do_not_change_the_picture(void **state) {
    sd_model *model = open_model(state, NETWORKS "sd1", NULL);
    struct previews p = {0};
    sd_params params = {.prompt = "a red mug", .width = 64, .height = 64, .steps = 12, .seed = 1};
    sd_outputs *without, *with;
    sd_error err;
    assert_int_equal(sd_generate(model, &params, &without, &err), SD_OK);
    params.preview_every = 3;
    params.progress = follow;
    params.progress_user = &p;
    assert_int_equal(sd_generate(model, &params, &with, &err), SD_OK);
    assert_int_equal(p.count, 3);
    assert_int_equal(p.last_step, 9);
    assert_memory_equal(with->items[0].picture.pixels, without->items[0].picture.pixels, 64 * 64 * 3);
    sd_outputs_free(&without);
    sd_outputs_free(&with);
    sd_model_close(&model);
}

static void cancel_ends_a_preview(void **state) {
    const sd_params params = {.width = 64, .height = 64};
    sd_cancel cancel = {0};
    float *latent = noise(&params, 4);
    sd_model *model = open_model(state, NETWORKS "sd1", NULL);
    sd_picture out;
    sd_error err;
    sd_cancel_request(&cancel);
    assert_int_equal(sd_preview(model, &params, &(struct sd_watch){.cancel = &cancel}, latent, &out, &err),
                     SD_E_CANCELLED);
    assert_null(out.pixels);
    preview(model, &params, latent, &out);
    sd_picture_free(&out);
    sd_model_close(&model);
    free(latent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(previews_are_the_picture_made_small),
        cmocka_unit_test(previews_do_not_depend_on_those_before),
        cmocka_unit_test(previews_are_small),
        cmocka_unit_test(previews_do_not_change_the_picture),
        cmocka_unit_test(cancel_ends_a_preview),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
