/* DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927) with its middle at the geometric mean of the levels, in the
 * setting of algorithm 2 of arXiv 2206.00364. */
#include "sd/sample/run.h"

sd_status sd_sampler_dpm2(sd_run *run, sd_error *err) {
    float *buffers[3];
    sd_status status = sd_run_buffers(run, 3, buffers, err);
    if (status != SD_OK)
        return status;
    float *first = buffers[0], *second = buffers[1], *middle = buffers[2];
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        double from, to = run->sigmas[i + 1];
        if ((status = sd_run_churn(run, i, &from, err)) != SD_OK ||
            (status = sd_run_denoise(run, run->x, from, first, err)) != SD_OK)
            return status;
        if (to == 0) {
            sd_euler_step(run, run->x, first, from, 0);
        } else {
            double mid = sqrt(from * to);
            sd_combine(run->count, middle, mid / from, run->x, 1 - mid / from, first);
            if ((status = sd_run_denoise(run, middle, mid, second, err)) != SD_OK)
                return status;
            float slope = (float)((to - from) / mid);
            for (size_t j = 0; j < run->count; j++)
                run->x[j] += slope * (middle[j] - second[j]);
        }
        status = sd_run_step(run, i, first, err);
    }
    return status;
}
