#include "sd/sample/discrete.h"

#include <math.h>

/* Single precision as the reference's `linspace` rounds it: sigma at the low end is sqrt(1 - alpha) with
 * alpha near 1, so that one unit in the last place of alpha moves it by 3e-5. */
static void linspace(float *out, float start, float end) {
    float step = (end - start) / (float)(SD_DISCRETE_LEVELS - 1);
    for (int i = 0; i < SD_DISCRETE_LEVELS; i++)
        out[i] = i < SD_DISCRETE_LEVELS / 2 ? (float)(start + (double)step * i)
                                            : (float)(end - (double)step * (SD_DISCRETE_LEVELS - 1 - i));
}

static void cumulative_product(float *out, const float *betas) {
    double product = 1;
    for (int i = 0; i < SD_DISCRETE_LEVELS; i++) {
        product *= 1.0f - betas[i];
        out[i] = (float)product;
    }
}

/* Moves and stretches sqrt(alpha_bar) so that its last value is 0 and its first one stays. */
static void rescale_to_zero_snr(float *betas, const float *alphas) {
    float first = sqrtf(alphas[0]), last = sqrtf(alphas[SD_DISCRETE_LEVELS - 1]), before = 1;
    for (int i = 0; i < SD_DISCRETE_LEVELS; i++) {
        float root = (sqrtf(alphas[i]) - last) * (first / (first - last));
        float alpha_bar = root * root;
        betas[i] = 1.0f - alpha_bar / before;
        before = alpha_bar;
    }
}

sd_status sd_discrete_init(sd_discrete *model, const sd_discrete_params *params, sd_error *err) {
    double start = params->start == 0 ? 0.00085 : params->start, end = params->end == 0 ? 0.012 : params->end;
    if (!(start > 0 && start <= end && end < 1))
        return sd_fail(err, SD_E_ARGUMENT, "betas: expected 0 < start <= end < 1, found start %g and end %g",
                       start, end);
    float betas[SD_DISCRETE_LEVELS];
    bool scaled = params->betas == SD_BETAS_SCALED_LINEAR;
    linspace(betas, (float)(scaled ? sqrt(start) : start), (float)(scaled ? sqrt(end) : end));
    for (int i = 0; scaled && i < SD_DISCRETE_LEVELS; i++)
        betas[i] *= betas[i];
    float *alphas = model->alphas_cumprod;
    cumulative_product(alphas, betas);
    if (params->zero_terminal_snr) {
        rescale_to_zero_snr(betas, alphas);
        cumulative_product(alphas, betas);
        alphas[SD_DISCRETE_LEVELS - 1] = 0x1p-24f;
    }
    for (int i = 0; i < SD_DISCRETE_LEVELS; i++) {
        model->sigmas[i] = sqrtf((1.0f - alphas[i]) / alphas[i]);
        model->log_sigmas[i] = log(model->sigmas[i]);
    }
    return SD_OK;
}

float sd_discrete_sigma(const sd_discrete *model, double timestep) {
    if (!(timestep > 0))
        return model->sigmas[0];
    if (timestep >= SD_DISCRETE_LEVELS - 1)
        return model->sigmas[SD_DISCRETE_LEVELS - 1];
    int low = (int)timestep;
    double part = timestep - low;
    if (part == 0)
        return model->sigmas[low];
    return (float)exp((1 - part) * model->log_sigmas[low] + part * model->log_sigmas[low + 1]);
}

float sd_discrete_timestep(const sd_discrete *model, double sigma) {
    if (!(sigma > model->sigmas[0]))
        return 0;
    if (sigma >= model->sigmas[SD_DISCRETE_LEVELS - 1])
        return SD_DISCRETE_LEVELS - 1;
    int low = 0, high = SD_DISCRETE_LEVELS - 1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (model->sigmas[middle] <= sigma)
            low = middle;
        else
            high = middle;
    }
    double from = model->log_sigmas[low], to = model->log_sigmas[high];
    return (float)(low + (log(sigma) - from) / (to - from));
}

sd_scalings sd_discrete_scalings(sd_prediction prediction, double sigma) {
    double variance = sigma * sigma + 1, c_in = 1 / sqrt(variance);
    switch (prediction) {
    case SD_PREDICT_V:
        return (sd_scalings){(float)(1 / variance), (float)(-sigma * c_in), (float)c_in};
    case SD_PREDICT_SAMPLE:
        return (sd_scalings){0, 1, (float)c_in};
    case SD_PREDICT_EPSILON:
        break;
    }
    return (sd_scalings){1, (float)-sigma, (float)c_in};
}
