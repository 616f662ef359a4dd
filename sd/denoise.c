#include "sd/latent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* SDXL's size conditioning (Podell et al. 2023, section 2.2): original size, crop, target size; the refiner
 * has an aesthetic score in place of the target. Unconditional halves get the score that the refiner was
 * trained to avoid. */
static uint32_t fill_time_ids(const sd_model *model, uint32_t height, uint32_t width, bool negative,
                              float out[6]) {
    const float h = (float)(height * 8), w = (float)(width * 8);
    const float ids[6] = {h, w, 0, 0, h, w};
    memcpy(out, ids, sizeof ids);
    if (!model->family->aesthetic)
        return 6;
    out[4] = negative ? 2.5f : 6.0f;
    return 5;
}

/* Rows of `values`, one a prompt, for every member of the batch: the last reads the prompt, and others the
 * negative one. */
static sd_status write_rows(struct sd_denoiser *d, const sd_tensor *t, const float *values, size_t row,
                            sd_error *err) {
    if (d->batch < 3)
        return sd_stage_write(&d->stage, t, values, err);
    float *rows = malloc(d->batch * row * sizeof *rows);
    if (!rows)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < d->batch; i++)
        memcpy(rows + i * row, values + (i + 1 == d->batch ? row : 0), row * sizeof *rows);
    sd_status status = sd_stage_write(&d->stage, t, rows, err);
    free(rows);
    return status;
}

/* The guidance scale as an embedding, which the network reads in place of a second evaluation (Luo et al.
 * 2023, "Latent Consistency Models"): sines, then cosines, of 1000 * (scale - 1). */
static sd_status write_guidance(struct sd_denoiser *d, sd_error *err) {
    uint32_t width = d->model->files->unet.time_cond, half = width / 2;
    float *values = calloc((size_t)d->batch * width, sizeof *values);
    if (!values)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < half; i++) {
        double frequency = exp(-log(10000.0) * i / (half > 1 ? half - 1 : 1));
        double angle = 1000 * ((double)d->params->cfg_scale - 1) * frequency;
        values[i] = (float)sin(angle);
        values[half + i] = (float)cos(angle);
    }
    for (uint32_t b = 1; b < d->batch; b++)
        memcpy(values + b * width, values, width * sizeof *values);
    sd_status status = sd_stage_write(&d->stage, d->in.guidance, values, err);
    free(values);
    return status;
}

static sd_status write_conditioning(struct sd_denoiser *d, const struct sd_conditioning *cond,
                                    sd_error *err) {
    float ids[18];
    uint32_t count = 0;
    sd_status status = write_rows(d, d->in.context, cond->context, (size_t)cond->tokens * cond->width, err);
    if (!status && d->in.guidance)
        status = write_guidance(d, err);
    if (status || !d->in.pooled)
        return status;
    for (uint32_t i = 0; i < d->batch; i++)
        count += fill_time_ids(d->model, d->height, d->width, i + 1 < d->batch, ids + count);
    if (count != sd_tensor_rows(d->in.time_ids))
        return sd_fail(err, SD_E_FORMAT, "%s: the UNet reads %u size values, expected %u",
                       d->model->files->path, sd_tensor_rows(d->in.time_ids), count);
    status = write_rows(d, d->in.pooled, cond->pooled, cond->pooled_width, err);
    return status ? status : sd_stage_write(&d->stage, d->in.time_ids, ids, err);
}

uint32_t sd_denoiser_batch(const sd_model *model, bool guided) {
    return !guided ? 1 : sd_model_input(model) == SD_UNET_INPUT_EDIT ? 3 : 2;
}

sd_status sd_denoiser_create(struct sd_denoiser *d, sd_model *model, const struct sd_conditioning *cond,
                             const sd_params *params, const float *extra, bool plan_only,
                             const struct sd_watch *watch, sd_error *err) {
    sd_vk *vk = model->context->vk;
    *d = (struct sd_denoiser){.model = model,
                              .batch = sd_denoiser_batch(model, cond->prompts == 2),
                              .height = params->height / 8,
                              .width = params->width / 8,
                              .channels = model->files->unet.out_channels,
                              .in_channels = model->files->unet.in_channels,
                              .params = params,
                              .extra = extra};
    size_t pixels = (size_t)d->batch * d->height * d->width;
    sd_status status = sd_stage_begin(&d->stage, sd_vk_info(vk), model->act, err);
    if (status)
        return status;
    sd_unet_declare(d->stage.graph, &model->files->unet, d->batch, d->height, d->width, cond->tokens,
                    cond->pooled_width, &d->in);
    d->out = sd_unet_forward(d->stage.graph, model->unet, &d->in, NULL);
    sd_graph_output(d->stage.graph, d->out, "noise");
    status = sd_stage_finish(&d->stage, plan_only ? NULL : vk, watch, err);
    if (status || plan_only)
        return status;
    d->input = malloc(pixels * d->in_channels * sizeof *d->input);
    d->output = malloc(pixels * d->channels * sizeof *d->output);
    if (!d->input || !d->output)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    status = write_conditioning(d, cond, err);
    return status ? status : sd_exec_run(d->stage.exec, SD_RATE_PROMPT, err);
}

void sd_denoiser_destroy(struct sd_denoiser *d) {
    sd_stage_end(&d->stage);
    free(d->input);
    free(d->output);
    *d = (struct sd_denoiser){0};
}

/* The scaled latent, and behind its channels the further ones, which are zero for the member without the
 * picture that is edited. */
static void fill_batch(struct sd_denoiser *d, const float *x, float scale) {
    size_t pixels = (size_t)d->height * d->width;
    uint32_t all = d->in_channels, own = d->channels, more = all - own;
    for (uint32_t b = 0; b < d->batch; b++)
        for (size_t i = 0; i < pixels; i++) {
            float *to = d->input + (b * pixels + i) * all;
            for (uint32_t c = 0; c < own; c++)
                to[c] = x[i * own + c] * scale;
            for (uint32_t c = 0; c < more; c++)
                to[own + c] = d->batch == 3 && !b ? 0 : d->extra[i * more + c];
        }
}

/* Classifier-free guidance (Ho and Salimans 2022; for a picture too Brooks et al. 2023, equation 3) of the
 * network's output, then the denoised sample. */
static void combine(const struct sd_denoiser *d, const float *x, sd_scalings s, float *denoised) {
    size_t image = (size_t)d->height * d->width * d->channels;
    const float *plain = d->output, *middle = d->output + (d->batch == 3 ? image : 0),
                *guided = d->output + (d->batch - 1) * image;
    for (size_t i = 0; i < image; i++) {
        float value = plain[i];
        if (d->batch == 3)
            value += d->params->image_cfg_scale * (middle[i] - plain[i]);
        if (d->batch > 1)
            value += d->params->cfg_scale * (guided[i] - middle[i]);
        denoised[i] = s.c_skip * x[i] + s.c_out * value;
    }
}

sd_status sd_denoise(struct sd_denoiser *d, const float *x, double sigma, float *denoised, sd_error *err) {
    sd_scalings s = sd_discrete_scalings(d->model->prediction, sigma);
    float t = sd_discrete_timestep(&d->model->noise, sigma);
    const float timesteps[3] = {t, t, t};
    sd_status status;
    fill_batch(d, x, s.c_in);
    if ((status = sd_stage_write(&d->stage, d->in.latent, d->input, err)) ||
        (status = sd_stage_write(&d->stage, d->in.timestep, timesteps, err)) ||
        (status = sd_exec_run(d->stage.exec, SD_RATE_STEP, err)) ||
        (status = sd_stage_read(&d->stage, d->out, d->output, "the UNet", err)))
        return status;
    combine(d, x, s, denoised);
    return SD_OK;
}
