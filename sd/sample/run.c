#include "sd/sample/run.h"

#include <stdlib.h>
#include <string.h>

#include "sd/base/checked.h"

sd_status sd_run_buffers(sd_run *run, uint32_t n, float **buffers, sd_error *err) {
    uint64_t values, bytes;
    if (!sd_mul_u64(run->count, n + 1u, &values) || !sd_mul_u64(values, sizeof(float), &bytes) ||
        bytes > SIZE_MAX || !(run->memory = calloc((size_t)values, sizeof(float))))
        return sd_fail(err, SD_E_MEMORY, "sampler '%s': out of memory for %u buffers of %zu values",
                       run->sampler->name, n + 1, run->count);
    run->noise_scratch = run->memory;
    for (uint32_t i = 0; i < n; i++)
        buffers[i] = run->memory + (i + 1) * run->count;
    return SD_OK;
}

sd_status sd_run_denoise(sd_run *run, const float *x, double sigma, float *denoised, sd_error *err) {
    sd_status status = run->job->denoise(run->job->denoise_user, x, (float)sigma, denoised, err);
    if (status != SD_OK)
        return status;
    for (size_t i = 0; i < run->count; i++)
        if (!isfinite(denoised[i]))
            return sd_fail(err, SD_E_NUMERIC, "denoised sample at sigma %g: expected finite values, found %g",
                           sigma, (double)denoised[i]);
    return SD_OK;
}

sd_status sd_run_step(sd_run *run, uint32_t step, const float *denoised, sd_error *err) {
    if (!run->job->step)
        return SD_OK;
    return run->job->step(run->job->step_user, step, run->steps, run->x, denoised, err);
}

sd_status sd_run_add_noise(sd_run *run, float *x, double deviation, double from, double to, sd_error *err) {
    if (deviation == 0)
        return SD_OK;
    if (run->sampler->brownian) {
        sd_status status = sd_noise_path(run->job->noise, (float)from, (float)to, run->noise_scratch, err);
        if (status != SD_OK)
            return status;
    } else {
        sd_noise_randn(run->job->noise, run->noise_scratch);
    }
    sd_combine(run->count, x, 1, x, deviation * run->s_noise, run->noise_scratch);
    return SD_OK;
}

void sd_run_expect_noise(sd_run *run, double from, double to) {
    if (to > 0 && run->eta > 0)
        sd_noise_path_ahead(run->job->noise, (float)from, (float)to, run->noise_scratch);
}

sd_status sd_run_churn(sd_run *run, uint32_t step, double *sigma, sd_error *err) {
    const sd_sampler_options *o = &run->job->options;
    double from = run->sigmas[step], most = o->s_tmax > 0 ? o->s_tmax : INFINITY;
    *sigma = from;
    if (!(o->s_churn > 0) || from < o->s_tmin || from > most)
        return SD_OK;
    double gamma = fmin((double)o->s_churn / run->steps, sqrt(2) - 1);
    *sigma = from * (1 + gamma);
    return sd_run_add_noise(run, run->x, sqrt(*sigma * *sigma - from * from), *sigma, from, err);
}

void sd_ancestral_step(double from, double to, double eta, double *down, double *up) {
    *up = fmin(to, eta * sqrt(to * to * (from * from - to * to) / (from * from)));
    *down = sqrt(to * to - *up * *up);
}

void sd_euler_step(sd_run *run, float *x, const float *denoised, double from, double to) {
    sd_combine(run->count, x, to / from, x, 1 - to / from, denoised);
}

void sd_combine(size_t count, float *out, double a, const float *x, double b, const float *y) {
    float fa = (float)a, fb = (float)b;
    for (size_t i = 0; i < count; i++)
        out[i] = fa * x[i] + fb * y[i];
}

static sd_status check_job(const sd_sampler *sampler, const sd_sampler_job *job, size_t count,
                           sd_error *err) {
    const sd_sampler_options *o = &job->options;
    if (!job->denoise || !job->sigmas || job->steps == 0 || count == 0)
        return sd_fail(err, SD_E_ARGUMENT, "sampler '%s': expected a denoiser, sigmas, steps and values",
                       sampler->name);
    for (uint32_t i = 0; i <= job->steps; i++) {
        float sigma = job->sigmas[i];
        if (!isfinite(sigma) || sigma < 0 || (sigma == 0 && i < job->steps) ||
            (i > 0 && sigma >= job->sigmas[i - 1]))
            return sd_fail(
                err, SD_E_ARGUMENT,
                "sigmas: expected positive, strictly decreasing numbers and perhaps a last 0, found %g as "
                "number %u",
                (double)sigma, i + 1);
    }
    if (!(o->eta >= 0 && o->s_churn >= 0 && o->s_tmin >= 0 && o->s_tmax >= 0 && o->s_noise >= 0))
        return sd_fail(
            err, SD_E_ARGUMENT,
            "sampler options: expected numbers of at least 0, found eta %g, s_churn %g, s_tmin %g, s_tmax "
            "%g, s_noise %g",
            (double)o->eta, (double)o->s_churn, (double)o->s_tmin, (double)o->s_tmax, (double)o->s_noise);
    if (sampler->order_max && o->order > sampler->order_max)
        return sd_fail(err, SD_E_ARGUMENT, "order: the sampler '%s' expects 1 to %u, found %u", sampler->name,
                       sampler->order_max, o->order);
    if (job->noise ? sd_noise_count(job->noise) != count : sd_sampler_needs_noise(sampler, o))
        return sd_fail(err, SD_E_ARGUMENT, "noise source: the sampler '%s' expects %zu values, found %zu",
                       sampler->name, count, job->noise ? sd_noise_count(job->noise) : 0);
    return SD_OK;
}

/* The path spans the positive levels of the list, as k-diffusion's does. */
static sd_status begin_path(sd_run *run, sd_error *err) {
    float low = run->sigmas[run->steps] > 0 ? run->sigmas[run->steps] : run->sigmas[run->steps - 1];
    if (!run->sampler->brownian || run->eta == 0 || low == run->sigmas[0])
        return SD_OK;
    return sd_noise_path_begin(run->job->noise, low, run->sigmas[0], err);
}

sd_status sd_sampler_run(const sd_sampler *sampler, const sd_sampler_job *job, float *x, size_t count,
                         sd_error *err) {
    sd_status status = check_job(sampler, job, count, err);
    if (status != SD_OK)
        return status;
    const sd_sampler_options *o = &job->options;
    sd_run run = {
        .sampler = sampler, .job = job, .sigmas = job->sigmas, .steps = job->steps, .x = x, .count = count};
    run.eta = o->eta_set ? o->eta : sampler->eta;
    run.s_noise = o->s_noise > 0 ? o->s_noise : 1;
    run.order = o->order ? o->order : sampler->order;
    status = begin_path(&run, err);
    if (status == SD_OK)
        status = sampler->run(&run, err);
    if (job->noise)
        sd_noise_settle(job->noise); /* it may still write to the run's memory */
    free(run.memory);
    return status;
}
