#include "sd/latent.h"

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

static sd_status write_conditioning(struct sd_denoiser *d, const struct sd_conditioning *cond,
                                    sd_error *err) {
    float ids[12];
    uint32_t count = 0;
    sd_status status = sd_stage_write(&d->stage, d->in.context, cond->context, err);
    if (status || !d->in.pooled)
        return status;
    for (uint32_t i = 0; i < d->batch; i++)
        count += fill_time_ids(d->model, d->height, d->width, d->batch == 2 && i == 0, ids + count);
    if (count != sd_tensor_rows(d->in.time_ids))
        return sd_fail(err, SD_E_FORMAT, "%s: the UNet reads %u size values, expected %u",
                       d->model->files->path, sd_tensor_rows(d->in.time_ids), count);
    status = sd_stage_write(&d->stage, d->in.pooled, cond->pooled, err);
    return status ? status : sd_stage_write(&d->stage, d->in.time_ids, ids, err);
}

sd_status sd_denoiser_create(struct sd_denoiser *d, sd_model *model, const struct sd_conditioning *cond,
                             uint32_t height, uint32_t width, float cfg_scale, bool plan_only,
                             const struct sd_watch *watch, sd_error *err) {
    sd_vk *vk = model->context->vk;
    *d = (struct sd_denoiser){.model = model,
                              .batch = cond->prompts,
                              .height = height,
                              .width = width,
                              .channels = model->files->unet.out_channels,
                              .cfg_scale = cfg_scale};
    size_t count = (size_t)d->batch * height * width * d->channels;
    sd_status status = sd_stage_begin(&d->stage, sd_vk_info(vk), model->act, err);
    if (status)
        return status;
    sd_unet_declare(d->stage.graph, &model->files->unet, d->batch, height, width, cond->tokens,
                    cond->pooled_width, &d->in);
    d->out = sd_unet_forward(d->stage.graph, model->unet, &d->in, NULL);
    sd_graph_output(d->stage.graph, d->out, "noise");
    status = sd_stage_finish(&d->stage, plan_only ? NULL : vk, watch, err);
    if (status || plan_only)
        return status;
    d->scaled = malloc(count * sizeof *d->scaled);
    d->output = malloc(count * sizeof *d->output);
    if (!d->scaled || !d->output)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    status = write_conditioning(d, cond, err);
    return status ? status : sd_exec_run(d->stage.exec, SD_RATE_PROMPT, err);
}

void sd_denoiser_destroy(struct sd_denoiser *d) {
    sd_stage_end(&d->stage);
    free(d->scaled);
    free(d->output);
    *d = (struct sd_denoiser){0};
}

/* Both halves of the batch get the same scaled latent. */
static void fill_batch(struct sd_denoiser *d, const float *x, float scale) {
    size_t image = (size_t)d->height * d->width * d->channels;
    for (size_t i = 0; i < image; i++)
        d->scaled[i] = x[i] * scale;
    for (uint32_t i = 1; i < d->batch; i++)
        memcpy(d->scaled + i * image, d->scaled, image * sizeof *x);
}

/* Classifier-free guidance (Ho and Salimans 2022) of the network's output, then the denoised sample. */
static void combine(const struct sd_denoiser *d, const float *x, sd_scalings s, float *denoised) {
    size_t image = (size_t)d->height * d->width * d->channels;
    const float *plain = d->output, *guided = d->output + image;
    for (size_t i = 0; i < image; i++) {
        float value = d->batch == 2 ? plain[i] + d->cfg_scale * (guided[i] - plain[i]) : plain[i];
        denoised[i] = s.c_skip * x[i] + s.c_out * value;
    }
}

sd_status sd_denoise(struct sd_denoiser *d, const float *x, double sigma, float *denoised, sd_error *err) {
    sd_scalings s = sd_discrete_scalings(d->model->prediction, sigma);
    float t = sd_discrete_timestep(&d->model->noise, sigma);
    const float timesteps[2] = {t, t};
    sd_status status;
    fill_batch(d, x, s.c_in);
    if ((status = sd_stage_write(&d->stage, d->in.latent, d->scaled, err)) ||
        (status = sd_stage_write(&d->stage, d->in.timestep, timesteps, err)) ||
        (status = sd_exec_run(d->stage.exec, SD_RATE_STEP, err)) ||
        (status = sd_stage_read(&d->stage, d->out, d->output, "the UNet", err)))
        return status;
    combine(d, x, s, denoised);
    return SD_OK;
}
