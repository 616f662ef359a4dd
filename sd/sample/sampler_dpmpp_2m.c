/* DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): the estimate is continued as a line in lambda through
 * this step's and the last one's. The first step and one that ends at 0 are of first order. */
#include <string.h>

#include "sd/sample/run.h"

sd_status sd_sampler_dpmpp_2m(sd_run *run, sd_error *err) {
    float *buffers[3];
    sd_status status = sd_run_buffers(run, 3, buffers, err);
    if (status != SD_OK)
        return status;
    float *denoised = buffers[0], *last = buffers[1], *target = buffers[2];
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        double from = run->sigmas[i], to = run->sigmas[i + 1];
        if ((status = sd_run_denoise(run, run->x, from, denoised, err)) != SD_OK)
            return status;
        double ahead = 0;
        if (i > 0 && to > 0)
            ahead =
                (sd_lambda(to) - sd_lambda(from)) / (2 * (sd_lambda(from) - sd_lambda(run->sigmas[i - 1])));
        sd_combine(run->count, target, 1 + ahead, denoised, -ahead, last);
        sd_euler_step(run, run->x, target, from, to);
        memcpy(last, denoised, run->count * sizeof(float));
        status = sd_run_step(run, i, denoised, err);
    }
    return status;
}
