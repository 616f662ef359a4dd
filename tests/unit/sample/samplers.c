/* What holds for every sampler, by theory or by contract. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sd/sample/sampler.h"

enum { COUNT = 32, IMAGES = 2 };

typedef struct denoiser {
    int kind;                /* 0: always `clean`; 1: Gaussian data of deviation 0.5 around `clean` */
    uint32_t calls, fail_at; /* counted from 1; 0: never */
    sd_status failure;
    bool poison;
    double first, last; /* noise levels seen */
} denoiser;

static float clean(size_t i) {
    return (float)sin(0.7 * (double)(i % COUNT));
}

static sd_status denoise(void *user, const float *x, float sigma, float *out, sd_error *err) {
    (void)err;
    denoiser *d = user;
    d->last = sigma;
    if (d->calls++ == 0)
        d->first = sigma;
    if (d->calls == d->fail_at)
        return d->failure;
    double v = d->kind ? 0.25 : 0, s = (double)sigma * sigma;
    for (size_t i = 0; i < COUNT; i++)
        out[i] = (float)((v * x[i] + s * clean(i)) / (v + s));
    if (d->poison)
        out[COUNT - 1] = NAN;
    return SD_OK;
}

typedef struct run_result {
    sd_status status;
    sd_error err;
    float x[COUNT];
    uint32_t steps_seen;
    uint32_t stop_at; /* in: 0 never */
} run_result;

static sd_status count_step(void *user, uint32_t step, uint32_t steps, const float *x, const float *denoised,
                            sd_error *err) {
    (void)err, (void)denoised;
    run_result *result = user;
    assert_int_equal(step, result->steps_seen);
    assert_true(step < steps && x == result->x);
    result->steps_seen++;
    return result->steps_seen == result->stop_at ? SD_E_CANCELLED : SD_OK;
}

/* Runs from noise of `seed` over `steps` karras steps with the default options. */
static void run(const sd_sampler *sampler, denoiser *d, uint32_t steps, uint64_t seed,
                const sd_sampler_options *options, run_result *result) {
    static sd_discrete model;
    float sigmas[SD_SIGMAS_MAX];
    uint32_t n;
    assert_int_equal(sd_discrete_init(&model, &(sd_discrete_params){0}, NULL), SD_OK);
    assert_int_equal(sd_schedule_sigmas(sd_schedule_find("karras"), &model, steps, NULL, sigmas, &n, NULL),
                     SD_OK);
    sd_noise *noise;
    assert_int_equal(sd_noise_create(&noise, &(sd_noise_params){SD_RNG_CPU, &seed, 1, COUNT, 0}, NULL),
                     SD_OK);
    sd_noise_randn(noise, result->x);
    for (int i = 0; i < COUNT; i++)
        result->x[i] *= sigmas[0];
    sd_sampler_job job = {denoise, d, count_step, result, sigmas, n, noise, {0}};
    if (options)
        job.options = *options;
    result->status = sd_sampler_run(sampler, &job, result->x, COUNT, &result->err);
    sd_noise_destroy(&noise);
}

static void a_constant_estimate_is_reached_exactly(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    for (uint32_t s = 0; s < rows; s++)
        for (uint32_t steps = 1; steps < 25; steps += 4) {
            denoiser d = {0};
            run_result r = {0};
            run(&samplers[s], &d, steps, 9, NULL, &r);
            assert_int_equal(r.status, SD_OK);
            assert_int_equal(r.steps_seen, steps);
            assert_true(d.calls >= steps && d.calls <= steps * samplers[s].calls);
            /* lms ends as a sum of weights times values up to the largest sigma: 15 * 6e-8 * 20. */
            for (int i = 0; i < COUNT; i++)
                assert_true(fabsf(r.x[i] - clean((size_t)i)) < 2e-5f);
        }
}

/* For Gaussian data the exact flow is known: x - clean shrinks as sqrt(v + sigma^2). Halving the steps must
 * divide the error by about 2^order. */
static void deterministic_samplers_have_their_order(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double least; /* of log2(error at 40 / error at 80) */
    } expected[] = {{"euler", 0.8},    {"ddim", 0.8}, {"heun", 1.8},  {"dpm2", 1.8},
                    {"dpmpp_2m", 1.7}, {"lms", 2.5},  {"unipc", 1.8}, {"deis", 1.8}};
    for (size_t k = 0; k < sizeof expected / sizeof expected[0]; k++) {
        const sd_sampler *sampler;
        assert_int_equal(sd_sampler_find(expected[k].name, &sampler, NULL, NULL), SD_OK);
        double error[2] = {0};
        for (int fine = 0; fine < 2; fine++) {
            uint32_t n = fine ? 80 : 40;
            float sigmas[81], x[COUNT], start[COUNT];
            for (uint32_t i = 0; i <= n;
                 i++) /* to 0.5 only: the last step to 0 is of first order in all of them */
                sigmas[i] = (float)(8 * pow(0.5 / 8, (double)i / n));
            for (int i = 0; i < COUNT; i++)
                start[i] = x[i] = clean((size_t)i) + 8 * (float)cos(i);
            denoiser d = {.kind = 1};
            sd_sampler_job job = {.denoise = denoise, .denoise_user = &d, .sigmas = sigmas, .steps = n};
            assert_int_equal(sd_sampler_run(sampler, &job, x, COUNT, NULL), SD_OK);
            double shrink = sqrt((0.25 + sigmas[n] * sigmas[n]) / (0.25 + 64));
            for (int i = 0; i < COUNT; i++) {
                double exact = clean((size_t)i) + (start[i] - clean((size_t)i)) * shrink;
                error[fine] = fmax(error[fine], fabs(x[i] - exact));
            }
        }
        if (!(log2(error[0] / error[1]) >= expected[k].least))
            fail_msg("%s: errors %g and %g", expected[k].name, error[0], error[1]);
    }
}

/* Without noise the stochastic samplers are deterministic ones, and need no source. */
static void eta_zero_needs_no_noise(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    sd_sampler_options none = {.eta_set = true}, some = {.eta_set = true, .eta = 0.5f};
    for (uint32_t s = 0; s < rows; s++) {
        bool lcm = strcmp(samplers[s].name, "lcm") == 0;
        bool ddim = strcmp(samplers[s].name, "ddim") == 0;
        assert_int_equal(sd_sampler_needs_noise(&samplers[s], &none), lcm);
        assert_int_equal(sd_sampler_needs_noise(&samplers[s], &some), samplers[s].uses_noise || ddim);
        assert_int_equal(sd_sampler_needs_noise(&samplers[s], &(sd_sampler_options){0}),
                         samplers[s].uses_noise);
        float sigmas[] = {5, 2, 1, 0.4f, 0}, x[COUNT] = {3};
        denoiser d = {.kind = 1};
        sd_sampler_job job = {
            .denoise = denoise, .denoise_user = &d, .sigmas = sigmas, .steps = 4, .options = none};
        sd_error err;
        assert_int_equal(sd_sampler_run(&samplers[s], &job, x, COUNT, &err), lcm ? SD_E_ARGUMENT : SD_OK);
    }
}

static void the_same_job_gives_the_same_bytes(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    for (uint32_t s = 0; s < rows; s++) {
        denoiser d = {.kind = 1};
        run_result a = {0}, b = {0}, other = {0};
        run(&samplers[s], &d, 9, 4, NULL, &a);
        run(&samplers[s], &d, 7, 5, NULL, &other);
        run(&samplers[s], &d, 9, 4, NULL, &b);
        assert_memory_equal(a.x, b.x, sizeof a.x);
        assert_memory_not_equal(a.x, other.x, sizeof a.x);
    }
}

/* SDE samplers walk one path: with many steps two step counts nearly agree, which fresh noise would not. */
static void the_path_does_not_depend_on_the_steps(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    for (uint32_t s = 0; s < rows; s++) {
        if (!samplers[s].brownian)
            continue;
        denoiser d = {.kind = 1};
        run_result coarse = {0}, fine = {0}, other = {0};
        run(&samplers[s], &d, 100, 4, NULL, &coarse);
        run(&samplers[s], &d, 200, 4, NULL, &fine);
        run(&samplers[s], &d, 200, 5, NULL, &other);
        double near = 0, far = 0;
        for (int i = 0; i < COUNT; i++)
            near += fabs((double)coarse.x[i] - fine.x[i]), far += fabs((double)other.x[i] - fine.x[i]);
        assert_true(near < far / 3);
    }
}

static void failures_pass_through(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    for (uint32_t s = 0; s < rows; s++) {
        for (uint32_t call = 1; call <= 4 * samplers[s].calls - 1; call++) {
            denoiser d = {
                .kind = 1, .fail_at = call, .failure = call % 2 ? SD_E_CANCELLED : SD_E_DEVICE_LOST};
            run_result r = {0};
            run(&samplers[s], &d, 4, 1, NULL, &r);
            assert_int_equal(r.status, d.failure);
            assert_int_equal(d.calls, call);
        }
        denoiser d = {.kind = 1}, poisoned = {.poison = true};
        run_result r = {.stop_at = 2}, p = {0};
        run(&samplers[s], &d, 4, 1, NULL, &r);
        assert_int_equal(r.status, SD_E_CANCELLED);
        assert_int_equal(r.steps_seen, 2);
        run(&samplers[s], &poisoned, 4, 1, NULL, &p);
        assert_int_equal(p.status, SD_E_NUMERIC);
        assert_int_equal(poisoned.calls, 1);
    }
}

static void malformed_jobs_are_refused(void **state) {
    (void)state;
    const sd_sampler *euler, *unipc;
    assert_int_equal(sd_sampler_find("euler", &euler, NULL, NULL), SD_OK);
    assert_int_equal(sd_sampler_find("unipc", &unipc, NULL, NULL), SD_OK);
    float lists[][3] = {{1, 2, 0},        {1, 1, 0},  {1, 0, 0},  {NAN, 1, 0},
                        {INFINITY, 1, 0}, {2, 1, -1}, {2, 1, NAN}};
    float x[COUNT] = {0};
    denoiser d = {0};
    sd_error err;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        sd_sampler_job job = {.denoise = denoise, .denoise_user = &d, .sigmas = lists[i], .steps = 2};
        assert_int_equal(sd_sampler_run(euler, &job, x, COUNT, &err), SD_E_ARGUMENT);
        assert_non_null(strstr(err.message, "sigmas"));
    }
    float good[3] = {2, 1, 0};
    sd_sampler_job job = {.denoise = denoise, .denoise_user = &d, .sigmas = good, .steps = 2};
    sd_sampler_options bad[] = {
        {.s_churn = -1}, {.s_noise = NAN}, {.eta = -2}, {.s_tmin = -1}, {.s_tmax = NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        job.options = bad[i];
        assert_int_equal(sd_sampler_run(euler, &job, x, COUNT, &err), SD_E_ARGUMENT);
        assert_non_null(strstr(err.message, "options"));
    }
    job.options = (sd_sampler_options){.order = 4};
    assert_int_equal(sd_sampler_run(unipc, &job, x, COUNT, &err), SD_E_ARGUMENT);
    job.options = (sd_sampler_options){.s_churn = 1};
    assert_int_equal(sd_sampler_run(euler, &job, x, COUNT, &err), SD_E_ARGUMENT);
    assert_non_null(strstr(err.message, "noise"));
    job.options = (sd_sampler_options){0};
    assert_int_equal(sd_sampler_run(euler, &job, x, 0, &err), SD_E_ARGUMENT);
    job.steps = 0;
    assert_int_equal(sd_sampler_run(euler, &job, x, COUNT, &err), SD_E_ARGUMENT);
    assert_int_equal(d.calls, 0);
}

static sd_status denoise_images(void *user, const float *x, float sigma, float *out, sd_error *err) {
    (void)err;
    double v = 0.25, s = (double)sigma * sigma;
    for (size_t i = 0; i < *(size_t *)user; i++)
        out[i] = (float)((v * x[i] + s * clean(i % (COUNT / IMAGES))) / (v + s));
    return SD_OK;
}

static void sample_images(const sd_sampler *sampler, const uint64_t *seeds, size_t images, float *x) {
    float sigmas[] = {9, 4, 2, 1, 0.3f, 0};
    size_t values = COUNT / IMAGES, count = images * values;
    sd_noise *noise;
    sd_noise_params p = {SD_RNG_CPU, seeds, images, values, 4};
    assert_int_equal(sd_noise_create(&noise, &p, NULL), SD_OK);
    sd_noise_randn(noise, x);
    for (size_t i = 0; i < count; i++)
        x[i] *= sigmas[0];
    sd_sampler_job job = {
        .denoise = denoise_images, .denoise_user = &count, .sigmas = sigmas, .steps = 5, .noise = noise};
    assert_int_equal(sd_sampler_run(sampler, &job, x, count, NULL), SD_OK);
    sd_noise_destroy(&noise);
}

/* Image i of a batch is the single image of its seed, to the byte. */
static void a_batch_is_its_images(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    const uint64_t seeds[IMAGES] = {70, 71};
    for (uint32_t s = 0; s < rows; s++) {
        float batch[COUNT], single[COUNT];
        sample_images(&samplers[s], seeds, IMAGES, batch);
        for (size_t i = 0; i < IMAGES; i++)
            sample_images(&samplers[s], &seeds[i], 1, single + i * (COUNT / IMAGES));
        assert_memory_equal(batch, single, sizeof batch);
    }
}

static void labels_are_understood(void **state) {
    (void)state;
    static const char *const table[][3] = {
        {"Euler a", "euler_a", "uniform"},
        {"euler_ancestral", "euler_a", "uniform"},
        {"DPM++ 2M Karras", "dpmpp_2m", "karras"},
        {"DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"},
        {"dpm++ 2m sde heun karras", "dpmpp_2m_sde_heun", "karras"},
        {"DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun", "exponential"},
        {"DPM++ 3M SDE Karras", "dpmpp_3m_sde", "karras"},
        {"DPM++ 2S a Karras", "dpmpp_2s_a", "karras"},
        {"DPM2 a Karras", "dpm2_a", "karras"},
        {"LMS Karras", "lms", "karras"},
        {"Euler SGM Uniform", "euler", "sgm_uniform"},
        {"UniPC", "unipc", "uniform"},
        {"LCM", "lcm", "lcm"},
        {"DDIM", "ddim", "leading"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const sd_sampler *sampler;
        const sd_schedule *schedule;
        assert_int_equal(sd_sampler_find(table[i][0], &sampler, &schedule, NULL), SD_OK);
        assert_string_equal(sampler->name, table[i][1]);
        assert_string_equal(schedule->name, table[i][2]);
    }
    const sd_sampler *sampler;
    sd_error err;
    assert_int_equal(sd_sampler_find("eular", &sampler, NULL, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message, "unknown sampler 'eular'; did you mean 'euler'?");
    assert_int_equal(sd_sampler_find("", &sampler, NULL, &err), SD_E_NOT_FOUND);
    assert_int_equal(sd_sampler_find("Karras", &sampler, NULL, &err), SD_E_NOT_FOUND);
    char long_name[300];
    memset(long_name, 'e', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_int_equal(sd_sampler_find(long_name, &sampler, NULL, &err), SD_E_NOT_FOUND);
}

static void every_row_is_complete(void **state) {
    (void)state;
    uint32_t rows;
    const sd_sampler *samplers = sd_samplers(&rows);
    for (uint32_t s = 0; s < rows; s++) {
        const sd_sampler *by_name, *by_label;
        assert_int_equal(sd_sampler_find(samplers[s].name, &by_name, NULL, NULL), SD_OK);
        assert_int_equal(sd_sampler_find(samplers[s].label, &by_label, NULL, NULL), SD_OK);
        assert_ptr_equal(by_name, &samplers[s]);
        assert_ptr_equal(by_label, &samplers[s]);
        assert_non_null(sd_schedule_find(samplers[s].schedule));
        assert_true(samplers[s].order >= 1 && samplers[s].calls >= 1 && samplers[s].run);
        assert_int_equal(samplers[s].uses_noise, samplers[s].eta > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_estimate_is_reached_exactly),
        cmocka_unit_test(deterministic_samplers_have_their_order),
        cmocka_unit_test(eta_zero_needs_no_noise),
        cmocka_unit_test(the_same_job_gives_the_same_bytes),
        cmocka_unit_test(the_path_does_not_depend_on_the_steps),
        cmocka_unit_test(failures_pass_through),
        cmocka_unit_test(malformed_jobs_are_refused),
        cmocka_unit_test(a_batch_is_its_images),
        cmocka_unit_test(labels_are_understood),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
