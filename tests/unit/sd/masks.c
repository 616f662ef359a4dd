/* Scaled and masked init pictures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sd/context.h"

#include "sd/mask.h"

#define MODEL SDVK_SOURCE_DIR "/tests/golden/networks/sd1"

/* Colours that change slowly, so that scaling has little to lose. */
static sd_picture make_picture(uint32_t width, uint32_t height) {
    sd_picture p = {width, height, 3, malloc((size_t)width * height * 3)};
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < 3; c++)
                p.pixels[((size_t)y * width + x) * 3 + c] =
                    (uint8_t)lrint(127 + 100 * sin((x + 0.5) / width * 6 + c) * cos((y + 0.5) / height * 5));
    return p;
}

/* White in a rectangle. */
static sd_picture make_mask(uint32_t width, uint32_t height, struct sd_box white) {
    sd_picture p = {width, height, 3, calloc((size_t)width * height, 3)};
    for (uint32_t y = white.y; y < white.y + white.height; y++)
        memset(p.pixels + ((size_t)y * width + white.x) * 3, 255, (size_t)white.width * 3);
    return p;
}

/* A smooth picture scaled is that picture sampled anew: within 3 levels, and 12 at the edges, where a filter
 * lacks half of its taps. */
static void smooth_pictures_stay_what_they_are(void **state) {
    static const uint32_t sizes[][2] = {{64, 48}, {300, 200}, {33, 150}};
    (void)state;
    sd_picture in = make_picture(120, 90);
    for (size_t i = 0; i < 3; i++) {
        uint32_t w = sizes[i][0], h = sizes[i][1];
        sd_picture out, want = make_picture(w, h);
        assert_int_equal(sd_picture_resize(&out, &in, w, h, SD_RESIZE_STRETCH, NULL), SD_OK);
        for (uint32_t y = 0; y < h; y++)
            for (uint32_t x = 0; x < w; x++) {
                bool edge = x < 4 || y < 4 || x + 4 >= w || y + 4 >= h;
                size_t at = ((size_t)y * w + x) * 3;
                assert_true(abs(out.pixels[at] - want.pixels[at]) <= (edge ? 12 : 3));
            }
        sd_picture_free(&out);
        sd_picture_free(&want);
    }
    sd_picture_free(&in);
}

/* Half of the width is cut off, or the same as much is added above and below from the edges. */
static void crop_and_fill_keep_the_shape(void **state) {
    (void)state;
    sd_picture in = {4, 2, 3, NULL}, out;
    uint8_t pixels[24];
    for (size_t i = 0; i < 24; i++)
        pixels[i] = (uint8_t)(10 * (i / 3));
    in.pixels = pixels;
    assert_int_equal(sd_picture_resize(&out, &in, 2, 2, SD_RESIZE_CROP, NULL), SD_OK);
    const uint8_t cropped[] = {10, 20, 50, 60};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(out.pixels[i * 3], cropped[i]);
    sd_picture_free(&out);
    assert_int_equal(sd_picture_resize(&out, &in, 4, 4, SD_RESIZE_FILL, NULL), SD_OK);
    const uint8_t filled[] = {0, 10, 20, 30, 0, 10, 20, 30, 40, 50, 60, 70, 40, 50, 60, 70};
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(out.pixels[i * 3], filled[i]);
    sd_picture_free(&out);
    sd_error err;
    assert_int_equal(sd_picture_resize(&out, &in, 0, 2, SD_RESIZE_STRETCH, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "expected a picture of 1 to 16384 pixels a side, found 0 x 2");
}

static void boxes_have_the_shape_of_the_run(void **state) {
    static const struct {
        struct sd_box white;
        uint32_t padding, width, height;
        struct sd_box want;
    } rows[] = {
        {{10, 10, 20, 20}, 0, 64, 64, {10, 10, 20, 20}},  {{10, 10, 20, 20}, 5, 64, 64, {5, 5, 30, 30}},
        {{0, 0, 20, 20}, 5, 64, 64, {0, 0, 25, 25}},      {{40, 20, 20, 20}, 0, 128, 64, {30, 20, 40, 20}},
        {{80, 20, 20, 20}, 0, 128, 64, {60, 20, 40, 20}}, /* no room to the right */
        {{0, 0, 100, 10}, 0, 64, 128, {0, 0, 100, 80}},   /* no room at all below */
    };
    float mask[100 * 80];
    struct sd_box box;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_picture picture = make_mask(100, 80, rows[i].white);
        sd_mask_read(&picture, false, mask);
        assert_true(sd_mask_box(mask, 100, 80, rows[i].padding, rows[i].width, rows[i].height, &box));
        assert_memory_equal(&box, &rows[i].want, sizeof box);
        sd_picture_free(&picture);
    }
    memset(mask, 0, sizeof mask);
    assert_false(sd_mask_box(mask, 100, 80, 8, 64, 64, &box));
}

/* A hole in a smooth picture is filled near to what was there (within 25 levels, where black would be off by
 * up to 227), and nothing outside changes. */
static void holes_are_filled_from_around(void **state) {
    (void)state;
    const struct sd_box hole = {50, 30, 20, 16};
    sd_picture picture = make_picture(120, 90), before = make_picture(120, 90),
               white = make_mask(120, 90, hole);
    float *mask = malloc(120 * 90 * sizeof *mask);
    sd_mask_read(&white, false, mask);
    for (size_t i = 0; i < 120 * 90; i++)
        if (mask[i] > 0)
            memset(picture.pixels + i * 3, 0, 3);
    assert_int_equal(sd_mask_fill(&picture, mask, NULL), SD_OK);
    for (size_t i = 0; i < 120 * 90 * 3; i++)
        assert_true(abs(picture.pixels[i] - before.pixels[i]) <= (mask[i / 3] > 0 ? 25 : 0));
    /* With nothing known there is nothing to go by: black. */
    for (size_t i = 0; i < 120 * 90; i++)
        mask[i] = 1;
    assert_int_equal(sd_mask_fill(&picture, mask, NULL), SD_OK);
    assert_int_equal(picture.pixels[1234], 0);
    free(mask);
    sd_picture_free(&picture);
    sd_picture_free(&before);
    sd_picture_free(&white);
}

static sd_outputs *generate(sd_model *model, const sd_params *params) {
    sd_outputs *outputs;
    sd_error err;
    if (sd_generate(model, params, &outputs, &err))
        fail_msg("%s", err.message);
    return outputs;
}

static sd_model *open_model(void **state) {
    sd_model *model;
    sd_error err;
    if (sd_model_open(&model, *state, MODEL, NULL, &err))
        fail_msg("%s", err.message);
    return model;
}

/* The picture has the init picture's size; outside the mask all bytes are its own. */
static void only_the_masked_area(void **state) {
    const struct sd_box white = {100, 40, 30, 24};
    sd_picture init = make_picture(200, 120), mask = make_mask(200, 120, white);
    const sd_params params = {.prompt = "a mug",
                              .width = 104,
                              .height = 72,
                              .steps = 2,
                              .seed = 3,
                              .init_image = &init,
                              .mask = &mask,
                              .mask_area = "masked",
                              .mask_padding = 8};
    sd_model *model = open_model(state);
    sd_outputs *outputs = generate(model, &params);
    const sd_picture *made = &outputs->items[0].picture;
    size_t changed = 0;
    assert_int_equal(made->width, 200);
    assert_int_equal(made->height, 120);
    for (size_t i = 0; i < 200 * 120; i++) {
        bool same = !memcmp(made->pixels + i * 3, init.pixels + i * 3, 3);
        assert_true(mask.pixels[i * 3] || same);
        changed += !same;
    }
    assert_true(changed > (size_t)white.width * white.height * 9 / 10);
    assert_non_null(strstr(outputs->items[0].infotext, "Inpaint area: Only masked"));
    sd_outputs_free(&outputs);
    sd_model_close(&model);
    sd_picture_free(&init);
    sd_picture_free(&mask);
}

/* Each way to begin gives another picture within the mask; black paint is the white of the inverted mask. */
static void what_the_masked_part_starts_from(void **state) {
    static const char *const fills[] = {"original", "fill", "noise", "nothing"};
    sd_picture init = make_picture(104, 72), mask = make_mask(104, 72, (struct sd_box){24, 16, 48, 40});
    sd_picture inverse = make_mask(104, 72, (struct sd_box){0, 0, 104, 72});
    sd_params params = {.prompt = "a mug",
                        .width = 104,
                        .height = 72,
                        .steps = 2,
                        .seed = 3,
                        .init_image = &init,
                        .mask = &mask};
    size_t bytes = (size_t)104 * 72 * 3;
    sd_model *model = open_model(state);
    sd_outputs *outputs[4];
    for (size_t i = 0; i < bytes; i++)
        inverse.pixels[i] = (uint8_t)(255 - mask.pixels[i]);
    for (int i = 0; i < 4; i++) {
        params.mask_fill = fills[i];
        outputs[i] = generate(model, &params);
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(outputs[i]->items[0].picture.pixels, outputs[k]->items[0].picture.pixels,
                                    bytes);
    }
    params.mask = &inverse;
    params.mask_paint = "black";
    sd_outputs *black = generate(model, &params);
    assert_memory_equal(black->items[0].picture.pixels, outputs[3]->items[0].picture.pixels, bytes);
    sd_outputs_free(&black);
    for (int i = 0; i < 4; i++)
        sd_outputs_free(&outputs[i]);
    sd_model_close(&model);
    sd_picture_free(&init);
    sd_picture_free(&mask);
    sd_picture_free(&inverse);
}

/* Without a size the picture is as large as the init picture; with one `resize` scales it. */
static void sizes_come_from_the_init_picture(void **state) {
    sd_picture init = make_picture(88, 64);
    sd_params params = {.prompt = "a mug", .steps = 1, .seed = 3, .init_image = &init};
    sd_model *model = open_model(state);
    sd_outputs *outputs = generate(model, &params);
    assert_int_equal(outputs->items[0].picture.width, 88);
    assert_int_equal(outputs->items[0].picture.height, 64);
    sd_outputs_free(&outputs);
    params.width = 72;
    params.height = 72;
    params.resize = "crop";
    outputs = generate(model, &params);
    assert_int_equal(outputs->items[0].picture.width, 72);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
    sd_picture_free(&init);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smooth_pictures_stay_what_they_are),
        cmocka_unit_test(crop_and_fill_keep_the_shape),
        cmocka_unit_test(boxes_have_the_shape_of_the_run),
        cmocka_unit_test(holes_are_filled_from_around),
        cmocka_unit_test(only_the_masked_area),
        cmocka_unit_test(what_the_masked_part_starts_from),
        cmocka_unit_test(sizes_come_from_the_init_picture),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
