/* Euler's method with optional churn: algorithm 2 of arXiv 2206.00364 without its second-order correction. */
#include "sd/sample/run.h"

sd_status sd_sampler_euler(sd_run *run, sd_error *err) {
    float *denoised;
    sd_status status = sd_run_buffers(run, 1, &denoised, err);
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        double sigma;
        if ((status = sd_run_churn(run, i, &sigma, err)) != SD_OK ||
            (status = sd_run_denoise(run, run->x, sigma, denoised, err)) != SD_OK)
            return status;
        sd_euler_step(run, run->x, denoised, sigma, run->sigmas[i + 1]);
        status = sd_run_step(run, i, denoised, err);
    }
    return status;
}
