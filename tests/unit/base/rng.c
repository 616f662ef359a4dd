#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sd/base/rng.h"

/* A unit in the last place of the largest values, 5e-7: PyTorch fuses multiplications and additions, CUDA has
 * its own sine. 6e-7 leaves a margin for neither. */
#define TOLERANCE 6e-7f

static FILE *open_golden(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/sample/%s", SDVK_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    return file;
}

static void read_all(FILE *file, void *out, size_t size) {
    assert_int_equal(fread(out, 1, size, file), size);
}

static void assert_near(const float *got, const float *expected, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - expected[i]) <= TOLERANCE))
            fail_msg("value %zu of %zu: expected %.9g, found %.9g", i, n, (double)expected[i],
                     (double)got[i]);
}

static void cpu_stream_is_pytorchs(void **state) {
    (void)state;
    FILE *file = open_golden("rng_cpu.bin");
    uint32_t rows;
    read_all(file, &rows, 4);
    assert_true(rows > 100);
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t seed;
        uint32_t size[2];
        static float expected[16384], got[16384];
        read_all(file, &seed, 8);
        read_all(file, size, 8);
        sd_rng rng;
        sd_rng_init(&rng, SD_RNG_CPU, seed);
        for (uint32_t draw = 0; draw < size[0]; draw++) {
            read_all(file, expected, size[1] * sizeof(float));
            sd_rng_randn(&rng, got, size[1]);
            assert_near(got, expected, size[1]);
        }
        assert_int_equal(rng.draws, size[0]);
    }
    fclose(file);
}

static void gpu_stream_is_cudas(void **state) {
    (void)state;
    FILE *file = open_golden("rng_gpu.bin");
    uint32_t rows[2];
    read_all(file, rows, sizeof rows);
    for (uint32_t r = 0; r < rows[0]; r++) {
        uint32_t block[10], out[4];
        read_all(file, block, sizeof block);
        sd_philox(block, block + 4, out);
        assert_memory_equal(out, block + 6, sizeof out);
    }
    for (uint32_t r = 0; r < rows[1]; r++) {
        uint64_t seed;
        uint32_t n;
        float expected[1024], second[8], got[1024];
        read_all(file, &seed, 8);
        read_all(file, &n, 4);
        read_all(file, expected, n * sizeof(float));
        read_all(file, second, sizeof second);
        sd_rng rng;
        sd_rng_init(&rng, SD_RNG_GPU, seed);
        sd_rng_randn(&rng, got, n);
        assert_near(got, expected, n);
        sd_rng_randn(&rng, got, n);
        assert_near(got, second, 8);
    }
    fclose(file);
}

static void a_copy_continues_like_the_original(void **state) {
    (void)state;
    for (int kind = SD_RNG_CPU; kind <= SD_RNG_GPU; kind++) {
        sd_rng a, b;
        float x[35], y[35];
        sd_rng_init(&a, (sd_rng_kind)kind, 99);
        sd_rng_randn(&a, x, 7);
        sd_rng_randn(&a, x, 0);
        b = a;
        for (size_t n = 1; n < 35; n += 11) {
            sd_rng_randn(&a, x, n);
            sd_rng_randn(&b, y, n);
            assert_memory_equal(x, y, n * sizeof(float));
        }
        sd_rng_init(&b, (sd_rng_kind)kind, 100);
        sd_rng_randn(&a, x, 35);
        sd_rng_randn(&b, y, 35);
        assert_memory_not_equal(x, y, sizeof x);
    }
}

/* Writes nothing outside out[0..n). */
static void draws_stay_inside(void **state) {
    (void)state;
    for (int kind = SD_RNG_CPU; kind <= SD_RNG_GPU; kind++)
        for (size_t n = 0; n < 50; n++) {
            float buffer[52];
            for (int i = 0; i < 52; i++)
                buffer[i] = 1e30f;
            sd_rng rng;
            sd_rng_init(&rng, (sd_rng_kind)kind, n);
            sd_rng_randn(&rng, buffer + 1, n);
            assert_true(buffer[0] == 1e30f && buffer[n + 1] == 1e30f);
            for (size_t i = 0; i < n; i++)
                assert_true(fabsf(buffer[i + 1]) < 10);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_stream_is_pytorchs),
        cmocka_unit_test(gpu_stream_is_cudas),
        cmocka_unit_test(a_copy_continues_like_the_original),
        cmocka_unit_test(draws_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
