/* Algorithm 2 of arXiv 2206.00364: Euler's step corrected with the slope at its end. */
#include "sd/sample/run.h"

sd_status sd_sampler_heun(sd_run *run, sd_error *err) {
    float *buffers[3];
    sd_status status = sd_run_buffers(run, 3, buffers, err);
    if (status != SD_OK)
        return status;
    float *first = buffers[0], *second = buffers[1], *end = buffers[2];
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        double from, to = run->sigmas[i + 1];
        if ((status = sd_run_churn(run, i, &from, err)) != SD_OK ||
            (status = sd_run_denoise(run, run->x, from, first, err)) != SD_OK)
            return status;
        if (to == 0) {
            sd_euler_step(run, run->x, first, from, 0);
        } else {
            sd_combine(run->count, end, to / from, run->x, 1 - to / from, first);
            if ((status = sd_run_denoise(run, end, to, second, err)) != SD_OK)
                return status;
            /* x + (to - from) / 2 * ((x - first) / from + (end - second) / to) */
            float half = (float)((to - from) / 2), a = (float)(1 / from), b = (float)(1 / to);
            for (size_t j = 0; j < run->count; j++)
                run->x[j] += half * (a * (run->x[j] - first[j]) + b * (end[j] - second[j]));
        }
        status = sd_run_step(run, i, first, err);
    }
    return status;
}
