/* The stochastic form of DPM-Solver++(2M), SDE-DPM-Solver++ of arXiv 2211.01095 with eta as its noise scale;
 * the second-order term by the midpoint or by Heun's rule. */
#include <string.h>

#include "sd/sample/run.h"

static sd_status step(sd_run *run, uint32_t i, bool heun, const float *denoised, const float *last,
                      sd_error *err) {
    double from = run->sigmas[i], to = run->sigmas[i + 1];
    double h = sd_lambda(to) - sd_lambda(from), noisy = run->eta * h, whole = h + noisy;
    double gain = -expm1(-whole), bend = 0;
    if (i > 0) {
        double r = (sd_lambda(from) - sd_lambda(run->sigmas[i - 1])) / h;
        bend = (heun ? gain / -whole + 1 : gain / 2) / r;
    }
    sd_combine(run->count, run->x, to / from * exp(-noisy), run->x, gain + bend, denoised);
    if (bend != 0)
        sd_combine(run->count, run->x, 1, run->x, -bend, last);
    return sd_run_add_noise(run, run->x, to * sqrt(-expm1(-2 * noisy)), from, to, err);
}

static sd_status sample(sd_run *run, bool heun, sd_error *err) {
    float *buffers[2];
    sd_status status = sd_run_buffers(run, 2, buffers, err);
    if (status != SD_OK)
        return status;
    float *denoised = buffers[0], *last = buffers[1];
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        sd_run_expect_noise(run, run->sigmas[i], run->sigmas[i + 1]);
        if ((status = sd_run_denoise(run, run->x, run->sigmas[i], denoised, err)) != SD_OK)
            return status;
        if (run->sigmas[i + 1] == 0)
            memcpy(run->x, denoised, run->count * sizeof(float));
        else if ((status = step(run, i, heun, denoised, last, err)) != SD_OK)
            return status;
        memcpy(last, denoised, run->count * sizeof(float));
        status = sd_run_step(run, i, denoised, err);
    }
    return status;
}

sd_status sd_sampler_dpmpp_2m_sde(sd_run *run, sd_error *err) {
    return sample(run, false, err);
}

sd_status sd_sampler_dpmpp_2m_sde_heun(sd_run *run, sd_error *err) {
    return sample(run, true, err);
}
