/* Whole pictures against diffusers' from the same noise (tests/golden/pictures.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/latent.h"
#include "tests/unit/sd/context.h"
#include "tests/unit/sd/psnr.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"

static sd_model *open_model(void **state, const char *path, sd_precision precision) {
    sd_model *model;
    sd_error err;
    const sd_model_options options = {.precision = precision};
    if (sd_model_open(&model, *state, path, &options, &err))
        fail_msg("%s", err.message);
    return model;
}

static void check_latents(void **state, const char *folder, const char *file, const char *tensor,
                          const sd_params *params, sd_precision precision, double least) {
    sd_model *model = open_model(state, folder, precision);
    sd_safetensors *golden;
    sd_error err;
    float *latents;
    size_t values;
    assert_int_equal(sd_safetensors_open(file, &golden, &err), SD_OK);
    if (sd_generate_latents(model, params, &latents, &values, &err))
        fail_msg("%s", err.message);
    check_latent(golden, tensor, latents, values, least);
    free(latents);
    sd_safetensors_close(&golden);
    sd_model_close(&model);
}

static void tiny_families_in_f32(void **state) {
    const char *const negative = "blurry, low quality";
    const struct {
        const char *name, *prompt;
        int64_t seed;
    } rows[] = {{"sd1", "a red mug on a wooden table", 1},
                {"sd2", "a blue bottle", 2},
                {"sdxl", "a green can in a dark studio", 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char folder[256], tensor[64];
        const sd_params params = {.prompt = rows[i].prompt,
                                  .negative_prompt = negative,
                                  .width = 104,
                                  .height = 72,
                                  .steps = 4,
                                  .cfg_scale = 5,
                                  .seed = rows[i].seed};
        snprintf(folder, sizeof folder, GOLDEN "networks/%s", rows[i].name);
        snprintf(tensor, sizeof tensor, "%s.latent", rows[i].name);
        check_latents(state, folder, GOLDEN "pictures/tiny.safetensors", tensor, &params, SD_PRECISION_F32,
                      60);
        check_latents(state, folder, GOLDEN "pictures/tiny.safetensors", tensor, &params, SD_PRECISION_F16,
                      38);
    }
}

static const struct mockup {
    const char *png, *prompt;
    int64_t seed;
    const char *sampler, *schedule, *init;
} mockups[] = {
    {"mug", "a red mug on a wooden table, studio light", 0, NULL, NULL, NULL},
    {"bottle", "product photo of a blue bottle, marble counter", 1, NULL, NULL, NULL},
    {"can", "a green can in a dark studio", 2, NULL, NULL, NULL},
    {"box", "a yellow box on a pink backdrop", 3, NULL, NULL, NULL},
    {"t_shirt", "a black t-shirt by a sunlit wall", 4, NULL, NULL, NULL},
    {"tote_bag", "a purple tote bag on a blue backdrop", 5, NULL, NULL, NULL},
    {"jar", "a white jar on a podium", 6, NULL, NULL, NULL},
    {"candle", "an orange candle in a white studio", 4294967303, NULL, NULL, NULL},
    {"karras", "a teal mug on a marble counter", 8, "dpmpp_2m", "karras", NULL},
    {"img2img", "a blue mug on a wooden table", 9, NULL, NULL, "mug"},
};

static void load(const char *name, sd_image *image) {
    char path[256];
    sd_error err;
    snprintf(path, sizeof path, GOLDEN "pictures/%s.png", name);
    if (sd_image_read(path, 0, image, NULL, &err))
        fail_msg("%s", err.message);
}

static void sample_model_in_f32(void **state) {
    sd_model *model = open_model(state, SDVK_SOURCE_DIR "/samples/mockup", SD_PRECISION_F32);
    for (size_t i = 0; i < sizeof mockups / sizeof *mockups; i++) {
        const struct mockup *m = &mockups[i];
        sd_params params = {.prompt = m->prompt,
                            .cfg_scale = 5,
                            .seed = m->seed,
                            .sampler = m->sampler,
                            .schedule = m->schedule,
                            .strength = 0.6f};
        sd_image want = {0}, init = {0};
        sd_outputs *outputs;
        sd_picture picture;
        sd_error err;
        load(m->png, &want);
        if (m->init) {
            load(m->init, &init);
            picture = (sd_picture){init.width, init.height, init.channels, init.pixels};
            params.init_image = &picture;
        }
        if (sd_generate(model, &params, &outputs, &err))
            fail_msg("%s: %s", m->png, err.message);
        check_picture(m->png, &outputs->items[0].picture, &want, 45);
        sd_outputs_free(&outputs);
        sd_image_clear(&want);
        sd_image_clear(&init);
    }
    sd_model_close(&model);
}

/* Twice, in a batch and alone, and after another picture: the same bytes. */
static void same_request_same_bytes(void **state) {
    sd_model *model = open_model(state, GOLDEN "networks/sd1", SD_PRECISION_AUTO);
    sd_params params = {
        .prompt = "a mug", .width = 104, .height = 72, .steps = 3, .seed = 41, .sampler = "euler_a"};
    sd_outputs *first, *again, *other, *batch;
    sd_error err;
    size_t bytes = 104 * 72 * 3;
    assert_int_equal(sd_generate(model, &params, &first, &err), SD_OK);
    params.prompt = "something else entirely";
    assert_int_equal(sd_generate(model, &params, &other, &err), SD_OK);
    params.prompt = "a mug";
    assert_int_equal(sd_generate(model, &params, &again, &err), SD_OK);
    params.seed = 40;
    params.count = 3;
    assert_int_equal(sd_generate(model, &params, &batch, &err), SD_OK);
    assert_memory_equal(first->items[0].picture.pixels, again->items[0].picture.pixels, bytes);
    assert_memory_equal(first->items[0].picture.pixels, batch->items[1].picture.pixels, bytes);
    assert_memory_not_equal(first->items[0].picture.pixels, other->items[0].picture.pixels, bytes);
    assert_memory_not_equal(first->items[0].picture.pixels, batch->items[2].picture.pixels, bytes);
    sd_outputs_free(&first);
    sd_outputs_free(&again);
    sd_outputs_free(&other);
    sd_outputs_free(&batch);
    sd_model_close(&model);
}

static void stop_at_step_two(void *user, const sd_progress *progress) {
    if (progress->phase == SD_PHASE_STEP && progress->step == 2)
        sd_cancel_request(user);
}

static void cancel_stops_within_a_step(void **state) {
    sd_model *model = open_model(state, GOLDEN "networks/sd1", SD_PRECISION_AUTO);
    sd_cancel cancel = {0};
    sd_params params = {.prompt = "a mug",
                        .width = 104,
                        .height = 72,
                        .steps = 50,
                        .progress = stop_at_step_two,
                        .progress_user = &cancel,
                        .cancel = &cancel};
    sd_outputs *outputs;
    sd_error err;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_CANCELLED);
    assert_null(outputs);
    cancel.requested = 0;
    params.steps = 1;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
}

/* Pictures as they are made, and what stops or skips them. */
struct maker {
    uint8_t *pixels[3];
    uint32_t made, fail_at; /* fail_at: the picture that the caller cannot take, or beyond all */
    uint32_t cancel_at, skip_at;
    sd_cancel cancel, skip;
};

enum { MADE_BYTES = 104 * 72 * 3 };

static sd_status take_picture(void *user, uint32_t image, const sd_output *output, sd_error *err) {
    struct maker *m = user;
    assert_int_equal(output->seed, 40 + image);
    assert_non_null(output->json);
    if (image == m->fail_at) {
        *err = (sd_error){.status = SD_E_IO, .message = "no room"};
        return SD_E_IO;
    }
    m->pixels[image] = malloc(MADE_BYTES);
    memcpy(m->pixels[image], output->picture.pixels, MADE_BYTES);
    m->made++;
    return SD_OK;
}

static void stop_at_image(void *user, const sd_progress *progress) {
    struct maker *m = user;
    bool middle = progress->phase == SD_PHASE_STEP && progress->step == 2;
    if (middle && progress->image == m->cancel_at)
        sd_cancel_request(&m->cancel);
    if (middle && progress->image == m->skip_at)
        sd_cancel_request(&m->skip);
}

static void pictures_are_told_as_they_are_made(void **state) {
    enum { NEVER = 9 };
    static const struct {
        uint32_t fail_at, cancel_at, skip_at;
        sd_status status;
        bool made[3];
    } rows[] = {{NEVER, NEVER, NEVER, SD_OK, {true, true, true}},
                {1, NEVER, NEVER, SD_E_IO, {true, false, false}},
                {NEVER, 2, NEVER, SD_E_CANCELLED, {true, true, false}},
                {NEVER, NEVER, 1, SD_OK, {true, false, true}},
                {NEVER, NEVER, 2, SD_OK, {true, true, false}},
                {NEVER, 1, 1, SD_E_CANCELLED, {true, false, false}}};
    sd_model *model = open_model(state, GOLDEN "networks/sd1", SD_PRECISION_AUTO);
    sd_params params = {.prompt = "a mug",
                        .width = 104,
                        .height = 72,
                        .steps = 3,
                        .seed = 40,
                        .sampler = "euler_a",
                        .count = 3};
    sd_outputs *together, *outputs;
    sd_error err;
    assert_int_equal(sd_generate(model, &params, &together, &err), SD_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct maker m = {
            .fail_at = rows[i].fail_at, .cancel_at = rows[i].cancel_at, .skip_at = rows[i].skip_at};
        params.made = take_picture;
        params.progress = stop_at_image;
        params.made_user = params.progress_user = &m;
        params.cancel = &m.cancel;
        params.skip = &m.skip;
        assert_int_equal(sd_generate(model, &params, &outputs, &err), rows[i].status);
        for (uint32_t n = 0; n < 3; n++) {
            assert_int_equal(m.pixels[n] != NULL, rows[i].made[n]);
            if (m.pixels[n])
                assert_memory_equal(m.pixels[n], together->items[n].picture.pixels, MADE_BYTES);
            free(m.pixels[n]);
        }
        if (!rows[i].status) {
            assert_null(outputs->items);
            assert_int_equal(outputs->count, m.made);
            sd_outputs_free(&outputs);
        } else
            assert_null(outputs);
    }
    /* Without anybody who hears of them, those that are not skipped come together. */
    struct maker m = {.fail_at = NEVER, .cancel_at = NEVER, .skip_at = 0};
    params.made = NULL;
    params.cancel = &m.cancel;
    params.skip = &m.skip;
    params.progress_user = &m;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    assert_int_equal(outputs->count, 2);
    for (size_t n = 0; n < 2; n++)
        assert_memory_equal(outputs->items[n].picture.pixels, together->items[n + 1].picture.pixels,
                            MADE_BYTES);
    sd_outputs_free(&outputs);
    sd_outputs_free(&together);
    sd_model_close(&model);
}

struct compilation {
    uint32_t reports, done, all;
    sd_cancel cancel;
    bool stop;
};

static void follow_compilation(void *user, const sd_progress *progress) {
    struct compilation *c = user;
    if (progress->phase != SD_PHASE_COMPILE)
        return;
    assert_true(progress->steps > 0 && progress->step <= progress->steps);
    if (progress->step < c->done) { /* another network */
        assert_int_equal(c->done, c->all);
        assert_int_equal(progress->step, 0);
    }
    c->reports++;
    c->done = progress->step;
    c->all = progress->steps;
    if (c->stop && progress->step)
        sd_cancel_request(&c->cancel);
}

/* Every kernel is compiled once in a context; a cancel stops between two kernels. */
static void compilation_is_reported_once_and_can_be_cancelled(void **state) {
    (void)state;
    sd_context *context;
    sd_error err;
    assert_int_equal(open_context((void **)&context), 0);
    sd_model *model = open_model((void **)&context, GOLDEN "networks/sd1", SD_PRECISION_AUTO);
    struct compilation c = {.stop = true};
    const sd_params params = {.prompt = "a mug",
                              .width = 104,
                              .height = 72,
                              .steps = 1,
                              .progress = follow_compilation,
                              .progress_user = &c,
                              .cancel = &c.cancel};
    sd_outputs *outputs;
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_E_CANCELLED);
    assert_true(c.done > 0);
    c = (struct compilation){0};
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    assert_true(c.reports > 0);
    assert_int_equal(c.done, c.all);
    assert_true(outputs->host_step_seconds > 0 && outputs->host_step_seconds < outputs->step_seconds);
    sd_outputs_free(&outputs);
    c = (struct compilation){0};
    assert_int_equal(sd_generate(model, &params, &outputs, &err), SD_OK);
    assert_int_equal(c.reports, 0);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
    close_context((void **)&context);
}

/* PNG gives the pixels back; JPEG nearly; what is no picture is refused by its label. */
static void pictures_go_through_memory(void **state) {
    (void)state;
    uint8_t pixels[16 * 8 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i / 3);
    const sd_picture picture = {16, 8, 3, pixels};
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        const sd_encoding encoding = {.jpeg = jpeg, .quality = 100};
        uint8_t *data;
        size_t size;
        sd_picture back;
        sd_error err;
        assert_int_equal(sd_picture_encode(&picture, &encoding, &data, &size, &err), SD_OK);
        assert_int_equal(sd_picture_decode(&back, "image", data, size, 16 * 8, &err), SD_OK);
        assert_int_equal(back.width, 16);
        for (size_t i = 0; i < sizeof pixels; i++)
            assert_true(abs(back.pixels[i] - pixels[i]) <= (jpeg ? 4 : 0));
        sd_picture_free(&back);
        assert_int_equal(sd_picture_decode(&back, "image", data, size, 16 * 8 - 1, &err), SD_E_UNSUPPORTED);
        assert_string_equal(err.message, "image: expected at most 127 pixels, found 16 x 8");
        assert_int_equal(sd_picture_decode(&back, "image", data, 20, 0, &err), SD_E_FORMAT);
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_families_in_f32),
        cmocka_unit_test(same_request_same_bytes),
        cmocka_unit_test(cancel_stops_within_a_step),
        cmocka_unit_test(pictures_are_told_as_they_are_made),
        cmocka_unit_test(compilation_is_reported_once_and_can_be_cancelled),
        cmocka_unit_test(pictures_go_through_memory),
        cmocka_unit_test(sample_model_in_f32),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
