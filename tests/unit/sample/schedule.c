/* The discrete model and every schedule against diffusers, k-diffusion and scipy, and what holds for all. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sd/sample/schedule.h"

/* The references work in single precision, where log, exp and pow of the largest levels lose up to 16 units
 * in the last place (6e-8 each). */
#define TOLERANCE 2e-6

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

static void assert_near(const char *what, uint32_t n, const float *got, const float *expected,
                        double tolerance) {
    for (uint32_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance * fabs((double)expected[i])))
            fail_msg("%s, value %u of %u: expected %.9g, found %.9g", what, i, n, (double)expected[i],
                     (double)got[i]);
}

static void tables_are_diffusers(void **state) {
    (void)state;
    static const sd_discrete_params params[] = {
        {0}, {.betas = SD_BETAS_LINEAR, .start = 0.0001, .end = 0.02}, {.zero_terminal_snr = true}};
    FILE *file = open_golden("discrete.bin");
    static sd_discrete model;
    static float expected[SD_DISCRETE_LEVELS];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sd_discrete_init(&model, &params[i], NULL), SD_OK);
        read_all(file, expected, sizeof expected);
        /* Bit for bit but for the rescaled ones, whose ratios of small products lose digits on both sides. */
        double tolerance = i == 2 ? 1e-5 : 0;
        assert_near("alphas_cumprod", SD_DISCRETE_LEVELS, model.alphas_cumprod, expected, tolerance);
        read_all(file, expected, sizeof expected);
        assert_near("sigmas", SD_DISCRETE_LEVELS, model.sigmas, expected, tolerance + 2e-7);
    }
    float timesteps[7], sigmas[7], back[7];
    read_all(file, timesteps, sizeof timesteps);
    read_all(file, sigmas, sizeof sigmas);
    read_all(file, back, sizeof back);
    fclose(file);
    assert_int_equal(sd_discrete_init(&model, &params[0], NULL), SD_OK);
    for (int i = 0; i < 7; i++) {
        float sigma = sd_discrete_sigma(&model, timesteps[i]);
        assert_near("sigma", 1, &sigma, &sigmas[i], TOLERANCE);
        /* A float sigma fixes the timestep to 6e-8 / (log distance of levels, 6e-3). */
        assert_true(fabsf(sd_discrete_timestep(&model, sigma) - back[i]) < 1e-3f);
    }
}

static void levels_and_timesteps_are_inverse(void **state) {
    (void)state;
    static sd_discrete model;
    assert_int_equal(sd_discrete_init(&model, &(sd_discrete_params){0}, NULL), SD_OK);
    for (int t = 0; t < SD_DISCRETE_LEVELS; t++)
        assert_true(fabsf(sd_discrete_timestep(&model, model.sigmas[t]) - (float)t) < 1e-3f);
    assert_true(sd_discrete_timestep(&model, 1e-3) == 0 && sd_discrete_timestep(&model, 1e9) == 999);
    assert_true(sd_discrete_sigma(&model, -5) == model.sigmas[0] &&
                sd_discrete_sigma(&model, 2000) == model.sigmas[999]);
    sd_error err;
    sd_discrete_params bad = {.start = 0.5, .end = 0.1};
    assert_int_equal(sd_discrete_init(&model, &bad, &err), SD_E_ARGUMENT);
    assert_non_null(strstr(err.message, "0.5"));
}

/* Each kind of output, made from a known clean sample and noise, must give the clean sample back. */
static void scalings_recover_the_clean_sample(void **state) {
    (void)state;
    for (double sigma = 0.03; sigma < 200; sigma *= 1.7) {
        double clean = 0.37, noise = -1.1, x = clean + sigma * noise, alpha = 1 / sqrt(1 + sigma * sigma);
        double outputs[3] = {noise, alpha * noise - alpha * sigma * clean, clean};
        for (int kind = SD_PREDICT_EPSILON; kind <= SD_PREDICT_SAMPLE; kind++) {
            sd_scalings c = sd_discrete_scalings((sd_prediction)kind, sigma);
            assert_true(fabs(c.c_in - alpha) < 1e-7);
            /* c_skip and c_out are floats that multiply values as large as x. */
            assert_true(fabs(c.c_skip * x + c.c_out * outputs[kind] - clean) < 1e-6 * (1 + fabs(x)));
        }
    }
}

static void schedules_are_the_references(void **state) {
    (void)state;
    static sd_discrete model;
    assert_int_equal(sd_discrete_init(&model, &(sd_discrete_params){0}, NULL), SD_OK);
    FILE *file = open_golden("schedules.bin");
    uint32_t rows, count;
    bool seen[64] = {0};
    read_all(file, &rows, 4);
    for (uint32_t r = 0; r < rows; r++) {
        char name[24], what[64];
        uint32_t size[2], steps;
        float expected[SD_SIGMAS_MAX], got[SD_SIGMAS_MAX];
        read_all(file, name, sizeof name);
        read_all(file, size, sizeof size);
        read_all(file, expected, (size[1] + 1) * sizeof(float));
        const sd_schedule *schedule = sd_schedule_find(name);
        assert_non_null(schedule);
        seen[schedule - sd_schedules(&count)] = true;
        assert_int_equal(sd_schedule_sigmas(schedule, &model, size[0], NULL, got, &steps, NULL), SD_OK);
        snprintf(what, sizeof what, "%s with %u steps", name, size[0]);
        assert_int_equal(steps, size[1]);
        assert_near(what, steps + 1, got, expected, TOLERANCE);
    }
    fclose(file);
    sd_schedules(&count);
    for (uint32_t i = 0; i < count; i++)
        assert_true(seen[i]);
}

static void sigmas_fall_strictly_to_zero(void **state) {
    (void)state;
    static sd_discrete models[2];
    assert_int_equal(sd_discrete_init(&models[0], &(sd_discrete_params){0}, NULL), SD_OK);
    assert_int_equal(sd_discrete_init(&models[1], &(sd_discrete_params){.zero_terminal_snr = true}, NULL),
                     SD_OK);
    uint32_t count, steps;
    const sd_schedule *schedules = sd_schedules(&count);
    static float sigmas[SD_SIGMAS_MAX];
    for (uint32_t s = 0; s < count; s++)
        for (uint32_t n = 1; n <= SD_STEPS_MAX; n += n < 60 ? 1 : 47) {
            uint32_t most = schedules[s].steps_max ? schedules[s].steps_max : SD_STEPS_MAX;
            sd_status status =
                sd_schedule_sigmas(&schedules[s], &models[n % 2], n, NULL, sigmas, &steps, NULL);
            assert_int_equal(status, n > most ? SD_E_ARGUMENT : SD_OK);
            if (status != SD_OK)
                continue;
            assert_true(steps >= 1 && steps <= SD_STEPS_MAX && sigmas[steps] == 0);
            for (uint32_t i = 0; i < steps; i++)
                assert_true(isfinite(sigmas[i]) && sigmas[i] > sigmas[i + 1]);
        }
}

static void bad_requests_are_named(void **state) {
    (void)state;
    static sd_discrete model;
    assert_int_equal(sd_discrete_init(&model, &(sd_discrete_params){0}, NULL), SD_OK);
    static float sigmas[SD_SIGMAS_MAX];
    const sd_schedule *karras = sd_schedule_find("Karras");
    uint32_t steps;
    sd_error err;
    assert_int_equal(sd_schedule_sigmas(karras, &model, 0, NULL, sigmas, &steps, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "steps: the schedule 'karras' expects 1 to 1000, found 0");
    assert_int_equal(sd_schedule_sigmas(karras, &model, 1001, NULL, sigmas, &steps, &err), SD_E_ARGUMENT);
    sd_schedule_options swapped = {.sigma_min = 5, .sigma_max = 1}, rho = {.rho = NAN};
    assert_int_equal(sd_schedule_sigmas(karras, &model, 5, &swapped, sigmas, &steps, &err), SD_E_ARGUMENT);
    assert_int_equal(sd_schedule_sigmas(karras, &model, 5, &rho, sigmas, &steps, &err), SD_E_ARGUMENT);
    assert_null(sd_schedule_find("nonesuch"));
    assert_null(sd_schedule_find(""));
    assert_ptr_equal(sd_schedule_find("SGM Uniform"), sd_schedule_find("sgm_uniform"));
}

static void strength_keeps_the_last_steps(void **state) {
    (void)state;
    assert_int_equal(sd_strength_first_step(20, 1), 0);
    assert_int_equal(sd_strength_first_step(20, 0.75), 5);
    assert_int_equal(sd_strength_first_step(20, 0.5), 10);
    assert_int_equal(sd_strength_first_step(7, 0.5), 4);
    assert_int_equal(sd_strength_first_step(20, 0), 20);
    assert_int_equal(sd_strength_first_step(20, 9), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_diffusers),
        cmocka_unit_test(levels_and_timesteps_are_inverse),
        cmocka_unit_test(scalings_recover_the_clean_sample),
        cmocka_unit_test(schedules_are_the_references),
        cmocka_unit_test(sigmas_fall_strictly_to_zero),
        cmocka_unit_test(bad_requests_are_named),
        cmocka_unit_test(strength_keeps_the_last_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
