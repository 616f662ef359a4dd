/* The affine map from latents to colours. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sd/base/rng.h"
#include "sd/latent_map.h"

enum { height = 24, width = 17, channels = 4, inputs = 9 * channels + 1 };

static void draw(float *out, size_t count, uint64_t seed) {
    sd_rng rng;
    sd_rng_init(&rng, SD_RNG_CPU, seed);
    sd_rng_randn(&rng, out, count);
}

static void fit(struct sd_latent_map *map, const float *latent, const float *colours) {
    sd_error err;
    if (sd_latent_map_fit(map, latent, colours, height, width, channels, &err))
        fail_msg("%s", err.message);
}

/* What a decoder that is such a map makes of latents is fitted, and then predicted from others, edges
 * included: to 0.05 of a level, where colours differ by some 30. What is left is the ridge, 1e-5 of weights
 * of up to 128. */
static void a_decoder_that_is_such_a_map_is_found(void **state) {
    (void)state;
    float weights[inputs * 3], latent[height * width * channels], colours[height * width * 3],
        got[height * width * 3];
    draw(weights, inputs * 3, 1);
    for (size_t i = 0; i < inputs * 3; i++)
        weights[i] = i / 3 == inputs - 1 ? 128 : weights[i] * 5;
    struct sd_latent_map truth = {channels, weights}, map;
    draw(latent, height * width * channels, 2);
    sd_latent_map_apply(&truth, latent, height, width, colours);
    for (size_t i = 0; i < height * width * 3; i++)
        assert_true(colours[i] > 0 && colours[i] < 255); /* nothing was cut off */
    fit(&map, latent, colours);
    draw(latent, height * width * channels, 3);
    sd_latent_map_apply(&truth, latent, height, width, colours);
    sd_latent_map_apply(&map, latent, height, width, got);
    for (size_t i = 0; i < height * width * 3; i++)
        assert_true(fabsf(got[i] - colours[i]) < 0.05f);
    sd_latent_map_clear(&map);
    assert_null(map.weights);
}

/* Weights of one neighbour alone move the picture by a pixel, and its edge is continued. */
static void neighbours_lie_row_by_row(void **state) {
    (void)state;
    const float latent[6] = {10, 20, 30, 40, 50, 60}; /* two rows of three */
    static const struct {
        uint32_t neighbour;
        float want[6];
    } rows[] = {{0, {10, 10, 20, 10, 10, 20}}, {1, {10, 20, 30, 10, 20, 30}}, {4, {10, 20, 30, 40, 50, 60}},
                {5, {20, 30, 30, 50, 60, 60}}, {7, {40, 50, 60, 40, 50, 60}}, {8, {50, 60, 60, 50, 60, 60}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float weights[10 * 3] = {0}, got[6 * 3];
        weights[rows[i].neighbour * 3 + 1] = 1;
        weights[9 * 3] = 300; /* beyond white */
        weights[9 * 3 + 2] = -1;
        sd_latent_map_apply(&(struct sd_latent_map){1, weights}, latent, 2, 3, got);
        for (size_t p = 0; p < 6; p++) {
            assert_true(got[p * 3] == 255 && got[p * 3 + 2] == 0);
            assert_true(got[p * 3 + 1] == rows[i].want[p]);
        }
    }
}

/* Latents that are all the same leave the equations without a single solution: still numbers, and the colour
 * is right. */
static void latents_without_a_difference_give_their_colour(void **state) {
    (void)state;
    float latent[height * width * channels], colours[height * width * 3], got[height * width * 3];
    struct sd_latent_map map;
    for (size_t i = 0; i < height * width * channels; i++)
        latent[i] = 0.5f;
    for (size_t i = 0; i < height * width * 3; i++)
        colours[i] = 77;
    fit(&map, latent, colours);
    sd_latent_map_apply(&map, latent, height, width, got);
    for (size_t i = 0; i < height * width * 3; i++)
        assert_true(fabsf(got[i] - 77) < 0.05f); /* the ridge */
    sd_latent_map_clear(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decoder_that_is_such_a_map_is_found),
        cmocka_unit_test(neighbours_lie_row_by_row),
        cmocka_unit_test(latents_without_a_difference_give_their_colour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
