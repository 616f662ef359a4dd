/* The stochastic form of DPM-Solver++(2S): both stages are ancestral steps on one Brownian path. */
#include "sd/sample/run.h"

static sd_status two_stages(sd_run *run, uint32_t i, float *const buffers[3], sd_error *err) {
    float *first = buffers[0], *second = buffers[1], *middle = buffers[2];
    double from = run->sigmas[i], to = run->sigmas[i + 1], mid = sqrt(from * to), down, up;
    sd_ancestral_step(from, mid, run->eta, &down, &up);
    sd_combine(run->count, middle, down / from, run->x, 1 - down / from, first);
    sd_status status = sd_run_add_noise(run, middle, up, from, mid, err);
    if (status != SD_OK)
        return status;
    sd_run_expect_noise(run, from, to);
    if ((status = sd_run_denoise(run, middle, mid, second, err)) != SD_OK)
        return status;
    sd_ancestral_step(from, to, run->eta, &down, &up);
    sd_euler_step(run, run->x, second, from, down);
    return sd_run_add_noise(run, run->x, up, from, to, err);
}

sd_status sd_sampler_dpmpp_sde(sd_run *run, sd_error *err) {
    float *buffers[3];
    sd_status status = sd_run_buffers(run, 3, buffers, err);
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        sd_run_expect_noise(run, run->sigmas[i], sqrt((double)run->sigmas[i] * run->sigmas[i + 1]));
        if ((status = sd_run_denoise(run, run->x, run->sigmas[i], buffers[0], err)) != SD_OK)
            return status;
        if (run->sigmas[i + 1] == 0)
            sd_euler_step(run, run->x, buffers[0], run->sigmas[i], 0);
        else if ((status = two_stages(run, i, buffers, err)) != SD_OK)
            return status;
        status = sd_run_step(run, i, buffers[0], err);
    }
    return status;
}
