/* DPM-Solver-2 to a level below the next one, then fresh noise up to it. */
#include "sd/sample/run.h"

sd_status sd_sampler_dpm2_a(sd_run *run, sd_error *err) {
    float *buffers[3];
    sd_status status = sd_run_buffers(run, 3, buffers, err);
    if (status != SD_OK)
        return status;
    float *first = buffers[0], *second = buffers[1], *middle = buffers[2];
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        double from = run->sigmas[i], to = run->sigmas[i + 1], down, up;
        if ((status = sd_run_denoise(run, run->x, from, first, err)) != SD_OK)
            return status;
        sd_ancestral_step(from, to, run->eta, &down, &up);
        if (down == 0) {
            sd_euler_step(run, run->x, first, from, 0);
        } else {
            double mid = sqrt(from * down);
            sd_combine(run->count, middle, mid / from, run->x, 1 - mid / from, first);
            if ((status = sd_run_denoise(run, middle, mid, second, err)) != SD_OK)
                return status;
            float slope = (float)((down - from) / mid);
            for (size_t j = 0; j < run->count; j++)
                run->x[j] += slope * (middle[j] - second[j]);
        }
        if ((status = sd_run_add_noise(run, run->x, up, from, to, err)) == SD_OK)
            status = sd_run_step(run, i, first, err);
    }
    return status;
}
