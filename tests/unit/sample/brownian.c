/* The Brownian path against torchsde and NumPy, and the per-image noise source. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/sample/brownian.h"
#include "sd/sample/noise.h"

/* About 25 bridges, each adding a normal value that is within 1e-6 of PyTorch's times a deviation that halves
 * every second level: 1e-6 * sqrt(14.6) * 3.4, rounded up. */
#define TOLERANCE 2e-5f

static void path_is_torchsdes(void **state) {
    (void)state;
    FILE *file = fopen(SDVK_SOURCE_DIR "/tests/golden/sample/brownian.bin", "rb");
    assert_non_null(file);
    uint32_t head[3], words[4], expected_words[4];
    assert_int_equal(fread(head, sizeof head, 1, file), 1);
    for (uint32_t s = 0; s < head[0]; s++) {
        uint64_t seed;
        assert_int_equal(fread(&seed, sizeof seed, 1, file), 1);
        sd_brownian *tree;
        assert_int_equal(sd_brownian_create(&tree, seed, 0.0291675, 14.614642, head[1], NULL), SD_OK);
        for (uint32_t q = 0; q < head[2]; q++) {
            double times[2];
            float expected[64], got[64];
            assert_int_equal(fread(times, sizeof times, 1, file), 1);
            assert_int_equal(fread(expected, sizeof(float), head[1], file), head[1]);
            assert_int_equal(sd_brownian_increment(tree, times[0], times[1], got, NULL), SD_OK);
            for (uint32_t i = 0; i < head[1]; i++)
                assert_true(fabsf(got[i] - expected[i]) <= TOLERANCE);
        }
        sd_brownian_destroy(&tree);
        assert_null(tree);
    }
    assert_int_equal(fread(expected_words, sizeof words, 1, file), 1);
    sd_seed_sequence(5, 0, -1, words, 4);
    assert_memory_equal(words, expected_words, sizeof words);
    assert_int_equal(fread(expected_words, sizeof words, 1, file), 1);
    sd_seed_sequence((UINT64_C(1) << 40) + 3, 12, 4, words, 4);
    assert_memory_equal(words, expected_words, sizeof words);
    fclose(file);
}

/* Whatever was asked before, an increment is the same; and increments of neighbouring intervals add up. */
static void path_does_not_depend_on_the_questions(void **state) {
    (void)state;
    enum { N = 20 };
    sd_brownian *fresh, *used;
    float whole[N], part[N], sum[N];
    assert_int_equal(sd_brownian_create(&used, 3, 0.1, 10, N, NULL), SD_OK);
    for (double at = 10; at > 0.3; at *= 0.83)
        assert_int_equal(sd_brownian_increment(used, at * 0.83, at, part, NULL), SD_OK);
    for (double a = 0.2, b = 4.4; a < b; a += 0.37, b -= 0.41) {
        assert_int_equal(sd_brownian_create(&fresh, 3, 0.1, 10, N, NULL), SD_OK);
        assert_int_equal(sd_brownian_increment(fresh, a, b, whole, NULL), SD_OK);
        sd_brownian_destroy(&fresh);
        memset(sum, 0, sizeof sum);
        for (int i = 0; i < 7; i++) {
            assert_int_equal(
                sd_brownian_increment(used, a + (b - a) * i / 7, a + (b - a) * (i + 1) / 7, part, NULL),
                SD_OK);
            for (int j = 0; j < N; j++)
                sum[j] += part[j];
        }
        for (int j = 0; j < N; j++)
            assert_true(fabsf(sum[j] - whole[j]) < 1e-5f); /* rounding of seven sums of values up to 10 */
    }
    sd_brownian_destroy(&used);
}

static void increments_have_the_variance_of_their_length(void **state) {
    (void)state;
    enum { N = 20000 };
    static float values[N];
    sd_brownian *tree;
    assert_int_equal(sd_brownian_create(&tree, 8, 0, 9, N, NULL), SD_OK);
    for (double length = 0.01; length < 8; length *= 4) {
        assert_int_equal(sd_brownian_increment(tree, 1, 1 + length, values, NULL), SD_OK);
        double mean = 0, square = 0;
        for (int i = 0; i < N; i++)
            mean += values[i], square += (double)values[i] * values[i];
        /* Four standard errors: 4 / sqrt(N) of the mean, 4 * sqrt(2 / N) of the variance. */
        assert_true(fabs(mean / N) < 4 * sqrt(length / N));
        assert_true(fabs(square / N / length - 1) < 4 * sqrt(2.0 / N));
    }
    assert_int_equal(sd_brownian_increment(tree, 20, 30, values, NULL), SD_OK);
    assert_true(values[0] == 0);
    sd_brownian_destroy(&tree);
}

static void bad_paths_are_refused(void **state) {
    (void)state;
    sd_brownian *tree = NULL;
    assert_int_equal(sd_brownian_create(&tree, 1, 2, 1, 4, NULL), SD_E_ARGUMENT);
    assert_int_equal(sd_brownian_create(&tree, 1, 1, 1.0000001, 4, NULL), SD_E_ARGUMENT);
    assert_int_equal(sd_brownian_create(&tree, 1, 0, NAN, 4, NULL), SD_E_ARGUMENT);
    assert_int_equal(sd_brownian_create(&tree, 1, 0, INFINITY, 4, NULL), SD_E_ARGUMENT);
    assert_int_equal(sd_brownian_create(&tree, 1, 0, 1, 0, NULL), SD_E_ARGUMENT);
    assert_null(tree);
    sd_brownian_destroy(&tree);
    sd_brownian_destroy(NULL);
}

/* Image i of a batch gets what the single image of its seed gets, in both layouts. */
static void images_of_a_batch_are_independent(void **state) {
    (void)state;
    enum { N = 48, CHANNELS = 4 };
    const uint64_t seeds[3] = {5, 6, 1u << 31};
    for (int kind = SD_RNG_CPU; kind <= SD_RNG_GPU; kind++)
        for (size_t channels = 1; channels <= CHANNELS; channels += CHANNELS - 1) {
            float together[3][N], path[3][N], alone[N], plain[N];
            sd_noise *batch, *single;
            sd_noise_params p = {(sd_rng_kind)kind, seeds, 3, N, channels};
            assert_int_equal(sd_noise_create(&batch, &p, NULL), SD_OK);
            assert_int_equal(sd_noise_count(batch), 3 * N);
            sd_noise_randn(batch, together[0]);
            assert_int_equal(sd_noise_path_begin(batch, 0.5f, 4, NULL), SD_OK);
            assert_int_equal(sd_noise_path(batch, 3, 1, path[0], NULL), SD_OK);
            sd_noise_randn(batch, together[0]);
            for (int i = 0; i < 3; i++) {
                sd_rng rng;
                sd_rng_init(&rng, (sd_rng_kind)kind, seeds[i]);
                sd_rng_randn(&rng, plain, N);
                sd_rng_randn(&rng, plain, N);
                for (size_t c = 0; c < channels; c++)
                    for (size_t j = 0; j < N / channels; j++)
                        assert_true(together[i][j * channels + c] == plain[c * (N / channels) + j]);
                sd_noise_params one = {(sd_rng_kind)kind, &seeds[i], 1, N, channels};
                assert_int_equal(sd_noise_create(&single, &one, NULL), SD_OK);
                assert_int_equal(sd_noise_path_begin(single, 0.5f, 4, NULL), SD_OK);
                assert_int_equal(sd_noise_path(single, 3, 1, alone, NULL), SD_OK);
                assert_memory_equal(alone, path[i], sizeof alone);
                sd_noise_destroy(&single);
            }
            sd_noise_destroy(&batch);
        }
    sd_noise *noise = NULL;
    assert_int_equal(sd_noise_create(&noise, &(sd_noise_params){0}, NULL), SD_E_ARGUMENT);
    assert_int_equal(sd_noise_create(&noise, &(sd_noise_params){SD_RNG_CPU, seeds, 1, 10, 4}, NULL),
                     SD_E_ARGUMENT);
    assert_int_equal(sd_noise_create(&noise, &(sd_noise_params){SD_RNG_CPU, seeds, SIZE_MAX, 8, 0}, NULL),
                     SD_E_ARGUMENT);
    assert_null(noise);
}

/* What was computed ahead is what is computed when asked, whether the announcement was kept, broken,
 * repeated or forgotten. */
static void noise_ahead_is_the_same_noise(void **state) {
    (void)state;
    enum { N = 4096 };
    static float expected[2][N], got[N], other[N];
    uint64_t seed = 11;
    const sd_noise_params params = {SD_RNG_CPU, &seed, 1, N, 4};
    sd_noise *plain, *noise;
    assert_int_equal(sd_noise_create(&plain, &params, NULL), SD_OK);
    assert_int_equal(sd_noise_path_begin(plain, 0.5f, 4, NULL), SD_OK);
    assert_int_equal(sd_noise_path(plain, 3, 2, expected[0], NULL), SD_OK);
    assert_int_equal(sd_noise_path(plain, 2, 1, expected[1], NULL), SD_OK);
    sd_noise_destroy(&plain);

    assert_int_equal(sd_noise_create(&noise, &params, NULL), SD_OK);
    sd_noise_path_ahead(noise, 3, 2, got); /* before the path was begun: not answered */
    assert_int_equal(sd_noise_path(noise, 3, 2, got, NULL), SD_E_INTERNAL);
    assert_int_equal(sd_noise_path_begin(noise, 0.5f, 4, NULL), SD_OK);
    sd_noise_path_ahead(noise, 3, 2, got);
    assert_int_equal(sd_noise_path(noise, 3, 2, got, NULL), SD_OK);
    assert_memory_equal(got, expected[0], sizeof got);
    memset(got, 0, sizeof got); /* an answer is given once */
    assert_int_equal(sd_noise_path(noise, 3, 2, got, NULL), SD_OK);
    assert_memory_equal(got, expected[0], sizeof got);
    sd_noise_path_ahead(noise, 3, 2, got);
    assert_int_equal(sd_noise_path(noise, 2, 1, got, NULL), SD_OK);
    assert_memory_equal(got, expected[1], sizeof got);
    sd_noise_path_ahead(noise, 3, 2, other);
    sd_noise_path_ahead(noise, 2, 1, got);
    sd_noise_settle(noise);
    assert_memory_equal(other, expected[0], sizeof other);
    assert_memory_equal(got, expected[1], sizeof got);
    sd_noise_path_ahead(noise, 3, 1, got);
    sd_noise_destroy(&noise);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_is_torchsdes),
        cmocka_unit_test(path_does_not_depend_on_the_questions),
        cmocka_unit_test(increments_have_the_variance_of_their_length),
        cmocka_unit_test(bad_paths_are_refused),
        cmocka_unit_test(images_of_a_batch_are_independent),
        cmocka_unit_test(noise_ahead_is_the_same_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
