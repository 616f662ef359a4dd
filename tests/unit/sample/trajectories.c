/* Every sampler on every schedule against k-diffusion and diffusers, step by step. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sd/sample/sampler.h"

enum { COUNT = 24, SEED = 1234 };

/* The references run in double precision on the same float noise, so the difference is the rounding of float
 * samples: about 1e-7 a step of at most 20, amplified by the multistep formulas' weights (below 10), and
 * noise that differs from PyTorch's by up to 5e-7. Relative to the largest value of the sample before the
 * step. */
#define TOLERANCE 1e-5

typedef struct record {
    char sampler[24], schedule[24];
    uint32_t asked, steps;
    float eta, churn;
    uint32_t order;
} record;

typedef struct progress {
    FILE *file;
    const record *record;
    uint32_t next;
    double scale, worst;
} progress;

static double largest(const float *x) {
    double most = 0;
    for (int i = 0; i < COUNT; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

/* The model of tests/golden/sample.py. */
static sd_status denoise(void *user, const float *x, float sigma, float *denoised, sd_error *err) {
    (void)user, (void)err;
    double s = sigma;
    for (int i = 0; i < COUNT; i++) {
        double deviation = 0.5 + 0.02 * i, v = deviation * deviation;
        denoised[i] = (float)((v * x[i] + s * s * cos(i)) / (v + s * s) + 0.1 * sin(x[i] / (1 + s)));
    }
    return SD_OK;
}

static sd_status compare(void *user, uint32_t step, uint32_t steps, const float *x, const float *denoised,
                         sd_error *err) {
    (void)denoised, (void)err;
    progress *p = user;
    float expected[COUNT];
    assert_int_equal(step, p->next++);
    assert_int_equal(steps, p->record->steps);
    assert_int_equal(fread(expected, sizeof(float), COUNT, p->file), COUNT);
    for (int i = 0; i < COUNT; i++) {
        double error = fabs((double)x[i] - expected[i]) / fmax(p->scale, largest(expected));
        p->worst = fmax(p->worst, error);
        if (!(error <= TOLERANCE))
            fail_msg("%s on %s, %u steps, eta %g, churn %g, order %u: step %u, value %d: expected %.9g, "
                     "found %.9g",
                     p->record->sampler, p->record->schedule, steps, (double)p->record->eta,
                     (double)p->record->churn, p->record->order, step, i, (double)expected[i], (double)x[i]);
    }
    p->scale = largest(expected);
    return SD_OK;
}

static double run_record(FILE *file, bool *seen, uint32_t rows) {
    record r;
    float sigmas[SD_SIGMAS_MAX], x[COUNT];
    assert_int_equal(fread(&r, sizeof r, 1, file), 1);
    assert_true(r.steps < SD_SIGMAS_MAX);
    assert_int_equal(fread(sigmas, sizeof(float), r.steps + 1, file), r.steps + 1);
    const sd_sampler *sampler;
    assert_int_equal(sd_sampler_find(r.sampler, &sampler, NULL, NULL), SD_OK);
    uint32_t count;
    assert_true(sampler - sd_samplers(&count) < rows);
    seen[sampler - sd_samplers(&count)] = true;
    uint64_t seed = SEED;
    sd_noise *noise;
    assert_int_equal(sd_noise_create(&noise, &(sd_noise_params){SD_RNG_CPU, &seed, 1, COUNT, 0}, NULL),
                     SD_OK);
    sd_noise_randn(noise, x);
    for (int i = 0; i < COUNT; i++)
        x[i] *= sigmas[0];
    progress p = {file, &r, 0, largest(x), 0};
    sd_sampler_job job = {
        .denoise = denoise, .step = compare, .step_user = &p, .sigmas = sigmas, .steps = r.steps};
    job.noise = noise;
    job.options = (sd_sampler_options){.eta_set = r.eta >= 0, .eta = fmaxf(r.eta, 0), .s_churn = r.churn};
    job.options.order = r.order;
    sd_error err = {0};
    if (sd_sampler_run(sampler, &job, x, COUNT, &err) != SD_OK)
        fail_msg("%s on %s: %s", r.sampler, r.schedule, err.message);
    assert_int_equal(p.next, r.steps);
    sd_noise_destroy(&noise);
    return p.worst;
}

static void samplers_follow_the_references(void **state) {
    (void)state;
    FILE *file = fopen(SDVK_SOURCE_DIR "/tests/golden/sample/trajectories.bin", "rb");
    assert_non_null(file);
    uint32_t head[2], rows;
    bool seen[64] = {0};
    assert_int_equal(fread(head, sizeof head, 1, file), 1);
    assert_int_equal(head[1], COUNT);
    const sd_sampler *samplers = sd_samplers(&rows);
    assert_true(rows <= 64);
    double worst = 0;
    for (uint32_t i = 0; i < head[0]; i++)
        worst = fmax(worst, run_record(file, seen, rows));
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    for (uint32_t i = 0; i < rows; i++)
        if (!seen[i])
            fail_msg("the sampler '%s' has no golden", samplers[i].name);
    print_message("%u trajectories, largest relative error %.2g\n", head[0], worst);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(samplers_follow_the_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
