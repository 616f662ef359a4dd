/* The third-order multistep member of SDE-DPM-Solver++ (arXiv 2211.01095): the estimate is continued as a
 * parabola in lambda through the last three. */
#include <string.h>

#include "sd/sample/run.h"

static sd_status step(sd_run *run, uint32_t i, float *const past[3], sd_error *err) {
    double from = run->sigmas[i], to = run->sigmas[i + 1];
    double h = sd_lambda(to) - sd_lambda(from), whole = h * (1 + run->eta);
    double weight[3] = {-expm1(-whole), 0, 0};
    double phi_2 = expm1(-whole) / whole + 1, phi_3 = phi_2 / whole - 0.5;
    double h1 = i > 0 ? sd_lambda(from) - sd_lambda(run->sigmas[i - 1]) : 0;
    if (i == 1) {
        weight[0] += phi_2 * h / h1;
        weight[1] -= phi_2 * h / h1;
    } else if (i > 1) {
        double r0 = h1 / h, r1 = (sd_lambda(run->sigmas[i - 1]) - sd_lambda(run->sigmas[i - 2])) / h;
        /* First and second divided differences, as weights of the differences of neighbouring estimates. */
        double near = phi_2 * (1 + r0 / (r0 + r1)) - phi_3 / (r0 + r1);
        double far = -phi_2 * r0 / (r0 + r1) + phi_3 / (r0 + r1);
        weight[0] += near / r0;
        weight[1] += far / r1 - near / r0;
        weight[2] -= far / r1;
    }
    sd_combine(run->count, run->x, exp(-whole), run->x, weight[0], past[0]);
    for (int k = 1; k < 3; k++)
        if (weight[k] != 0)
            sd_combine(run->count, run->x, 1, run->x, weight[k], past[k]);
    return sd_run_add_noise(run, run->x, to * sqrt(-expm1(-2 * h * run->eta)), from, to, err);
}

sd_status sd_sampler_dpmpp_3m_sde(sd_run *run, sd_error *err) {
    float *past[3];
    sd_status status = sd_run_buffers(run, 3, past, err);
    for (uint32_t i = 0; status == SD_OK && i < run->steps; i++) {
        float *oldest = past[2];
        past[2] = past[1], past[1] = past[0], past[0] = oldest;
        sd_run_expect_noise(run, run->sigmas[i], run->sigmas[i + 1]);
        if ((status = sd_run_denoise(run, run->x, run->sigmas[i], past[0], err)) != SD_OK)
            return status;
        if (run->sigmas[i + 1] == 0)
            memcpy(run->x, past[0], run->count * sizeof(float));
        else if ((status = step(run, i, past, err)) != SD_OK)
            return status;
        status = sd_run_step(run, i, past[0], err);
    }
    return status;
}
