#include "sd/latent.h"

#include <stdlib.h>

struct decoder {
    struct sd_stage stage;
    sd_tensor *in, *out;
};

static void record(sd_model *model, uint32_t height, uint32_t width, struct decoder *d) {
    const struct sd_vae_config *config = &model->files->vae;
    d->in = sd_graph_input(d->stage.graph, "latent", SD_RATE_STEP, SD_F32, 1, height, width,
                           config->latent_channels);
    d->out = sd_vae_decode(d->stage.graph, config, &model->decoder, d->in);
    sd_graph_output(d->stage.graph, d->out, "picture");
}

sd_status sd_decode_plan(sd_model *model, uint32_t height, uint32_t width, struct sd_stage *stage,
                         sd_error *err) {
    struct decoder d;
    sd_status status = sd_stage_begin(&d.stage, sd_vk_info(model->context->vk), model->act, err);
    if (!status) {
        record(model, height, width, &d);
        status = sd_stage_finish(&d.stage, NULL, NULL, err);
    }
    *stage = d.stage;
    return status;
}

/* Rounds to nearest as PyTorch's round(255 * x) does on the values that occur. */
static uint8_t to_byte(float value) {
    float scaled = (value * 0.5f + 0.5f) * 255.0f;
    return scaled <= 0 ? 0 : scaled >= 255 ? 255 : (uint8_t)(scaled + 0.5f);
}

static sd_status run(sd_model *model, const float *latent, uint32_t height, uint32_t width, sd_dtype act,
                     const struct sd_watch *watch, uint8_t *pixels, sd_error *err) {
    const struct sd_vae_config *config = &model->files->vae;
    uint32_t channels = config->latent_channels;
    size_t area = (size_t)height * width, factor = (size_t)1 << (config->levels - 1);
    size_t values = area * factor * factor * config->image_channels;
    struct decoder d = {0};
    float *in = malloc(area * channels * sizeof *in), *out = malloc(values * sizeof *out);
    sd_status status = in && out ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        status = sd_stage_begin(&d.stage, sd_vk_info(model->context->vk), act, err);
    if (!status) {
        record(model, height, width, &d);
        status = sd_stage_finish(&d.stage, model->context->vk, watch, err);
    }
    if (!status) {
        for (size_t i = 0; i < area * channels; i++)
            in[i] = latent[i] / config->scaling_factor + config->shift_factor;
        if (!(status = sd_stage_write(&d.stage, d.in, in, err)) &&
            !(status = sd_exec_run(d.stage.exec, SD_RATE_STEP, err)) &&
            !(status = sd_stage_read(&d.stage, d.out, out, "the VAE decoder", err)))
            for (size_t i = 0; i < values; i++)
                pixels[i] = to_byte(out[i]);
    }
    sd_stage_end(&d.stage);
    free(in);
    free(out);
    return status;
}

sd_status sd_decode(sd_model *model, const float *latent, uint32_t height, uint32_t width,
                    const struct sd_watch *watch, uint8_t *pixels, sd_error *err) {
    sd_status status = run(model, latent, height, width, model->act, watch, pixels, err);
    if (status == SD_E_NUMERIC && model->act == SD_F16) {
        sd_log(&model->context->log, SD_LOG_WARNING, "the VAE overflowed in f16; decoding again in f32");
        status = run(model, latent, height, width, SD_F32, watch, pixels, err);
    }
    return status;
}

static sd_status encode(sd_model *model, const float *picture, uint32_t height, uint32_t width,
                        const struct sd_watch *watch, float *moments, sd_error *err) {
    struct sd_stage stage;
    /* f32 always: the encoder runs once a picture, and its largest activations are at full resolution. */
    sd_status status = sd_stage_begin(&stage, sd_vk_info(model->context->vk), SD_F32, err);
    if (status)
        return status;
    sd_tensor *in = sd_graph_input(stage.graph, "picture", SD_RATE_STEP, SD_F32, 1, height, width, 3);
    sd_tensor *out = sd_vae_encode(stage.graph, &model->files->vae, &model->encoder, in);
    sd_graph_output(stage.graph, out, "moments");
    if (!(status = sd_stage_finish(&stage, model->context->vk, watch, err)) &&
        !(status = sd_stage_write(&stage, in, picture, err)) &&
        !(status = sd_exec_run(stage.exec, SD_RATE_STEP, err)))
        status = sd_stage_read(&stage, out, moments, "the VAE encoder", err);
    sd_stage_end(&stage);
    return status;
}

sd_status sd_encode(sd_model *model, const sd_picture *picture, const struct sd_watch *watch, float *latent,
                    sd_error *err) {
    const struct sd_vae_config *config = &model->files->vae;
    uint32_t factor = 1u << (config->levels - 1), channels = config->latent_channels;
    size_t pixels = (size_t)picture->width * picture->height, area = pixels / factor / factor;
    float *in = malloc(pixels * 3 * sizeof *in), *moments = malloc(area * channels * 2 * sizeof *moments);
    sd_status status =
        in && moments ? sd_model_need_encoder(model, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status) {
        for (size_t p = 0; p < pixels; p++)
            for (uint32_t c = 0; c < 3; c++)
                in[p * 3 + c] = (float)picture->pixels[p * picture->channels + c] / 127.5f - 1.0f;
        status = encode(model, in, picture->height, picture->width, watch, moments, err);
    }
    for (size_t i = 0; i < area * channels && !status; i++) {
        float mean = moments[i / channels * channels * 2 + i % channels];
        latent[i] = (mean - config->shift_factor) * config->scaling_factor;
    }
    free(in);
    free(moments);
    return status;
}
