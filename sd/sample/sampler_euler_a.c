/* Euler's method to a level below the next one, then fresh noise up to it. */
#include "sd/sample/run.h"

sd_status sd_sampler_euler_a(sd_run *run, sd_error *err) {
    float *denoised;
    sd_status status = sd_run_buffers(run, 1, &denoised, err);
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        double from = run->sigmas[i], to = run->sigmas[i + 1], down, up;
        if ((status = sd_run_denoise(run, run->x, from, denoised, err)) != SD_OK)
            return status;
        sd_ancestral_step(from, to, run->eta, &down, &up);
        sd_euler_step(run, run->x, denoised, from, down);
        if ((status = sd_run_add_noise(run, run->x, up, from, to, err)) == SD_OK)
            status = sd_run_step(run, i, denoised, err);
    }
    return status;
}
