#include "sd/latent.h"

#include "sd/vk/buffer.h"

#include <stdlib.h>
#include <string.h>

/* One half of the autoencoder, recorded for one picture. */
struct half {
    sd_graph *graph;
    sd_tensor *in, *out;
    const char *name; /* for messages */
};

static sd_status record_decoder(sd_model *model, const struct sd_autoencoder *decoder, const sd_params *p,
                                sd_dtype act, struct half *h, sd_error *err) {
    const struct sd_vae_config *config = &model->files->vae;
    uint32_t factor = 1u << (config->levels - 1);
    *h = (struct half){.name = decoder->tiny_decoder ? "the TAESD decoder" : "the VAE decoder"};
    sd_status status = sd_graph_create(&h->graph, sd_vk_info(model->context->vk), act, err);
    if (status)
        return status;
    h->in = sd_graph_input(h->graph, "latent", SD_RATE_STEP, SD_F32, 1, p->height / factor, p->width / factor,
                           config->latent_channels);
    h->out = sd_graph_output(h->graph, sd_autoencoder_decode(h->graph, decoder, config, h->in), "picture");
    return sd_graph_status(h->graph, err);
}

/* f32 always: the encoder runs once a picture, and its largest activations are at full resolution. */
static sd_status record_encoder(sd_model *model, const sd_params *p, struct half *h, sd_error *err) {
    *h = (struct half){.name = "the VAE encoder"};
    sd_status status = sd_graph_create(&h->graph, sd_vk_info(model->context->vk), SD_F32, err);
    if (status)
        return status;
    h->in = sd_graph_input(h->graph, "picture", SD_RATE_STEP, SD_F32, 1, p->height, p->width, 3);
    h->out = sd_graph_output(
        h->graph, sd_autoencoder_encode(h->graph, &model->autoencoder, &model->files->vae, h->in), "latent");
    return sd_graph_status(h->graph, err);
}

/* What the device has left and gives in one piece, or less where the request says so. */
static struct sd_strips_limits limits_of(const sd_model *model, const sd_params *p) {
    const struct sd_vk_info *info = sd_vk_info(model->context->vk);
    uint64_t left = sd_vk_memory_left(model->context->vk), wanted = (uint64_t)p->vae_memory << 20;
    uint64_t all = wanted && wanted < left ? wanted : left;
    bool pieces = info->max_allocation && info->max_allocation < all;
    return (struct sd_strips_limits){.device = pieces ? info->max_allocation : all,
                                     .all = info->unified_memory ? all : UINT64_MAX};
}

/* Buffers of the host for the two ends, and who follows the run. */
struct job {
    struct sd_strips_io io[2];
    struct sd_exec_options options;
};

static sd_status run_within(sd_model *model, const struct half *h, const struct sd_strips_limits *limits,
                            const struct job *job, struct sd_strips_stats *stats, sd_error *err) {
    sd_strips *strips;
    sd_status status = sd_strips_create(&strips, h->graph, limits, err);
    if (status)
        return status;
    *stats = *sd_strips_stats(strips);
    if (stats->strips > 1)
        sd_log(&model->context->log, SD_LOG_INFO, "%s works in up to %u strips within %.1f MiB", h->name,
               stats->strips, (double)stats->device_bytes / (1 << 20));
    status = sd_strips_run(strips, model->context->vk, job->io, 2, &job->options, err);
    sd_strips_destroy(&strips);
    return status;
}

/* Drivers may have less than they said: then with half as much, for as long as that changes anything. */
static sd_status run(sd_model *model, const sd_params *p, const struct sd_watch *watch, const struct half *h,
                     void *in, float *out, sd_error *err) {
    const struct job job = {{{h->in, in}, {h->out, out}}, sd_watch_options(watch)};
    struct sd_strips_limits limits = limits_of(model, p);
    struct sd_strips_stats stats = {0};
    uint64_t tried = UINT64_MAX;
    sd_status status = run_within(model, h, &limits, &job, &stats, err);
    while (status == SD_E_DEVICE_MEMORY && stats.device_bytes < tried) {
        tried = stats.device_bytes;
        limits.device = tried / 2;
        status = run_within(model, h, &limits, &job, &stats, err);
    }
    return status ? status : sd_check_finite(out, h->out->bytes / sizeof *out, h->name, err);
}

sd_status sd_decode_plan(sd_model *model, const sd_params *p, struct sd_strips_stats *out, sd_error *err) {
    const struct sd_strips_limits limits = limits_of(model, p);
    sd_strips *strips = NULL;
    struct half h;
    sd_status status = record_decoder(model, &model->autoencoder, p, model->act, &h, err);
    if (!status && !(status = sd_strips_create(&strips, h.graph, &limits, err)))
        *out = *sd_strips_stats(strips);
    sd_strips_destroy(&strips);
    sd_graph_destroy(&h.graph);
    return status;
}

/* Rounds to nearest as PyTorch's round(255 * x) does on the values that occur. */
static uint8_t to_byte(float value) {
    float scaled = (value * 0.5f + 0.5f) * 255.0f;
    return scaled <= 0 ? 0 : scaled >= 255 ? 255 : (uint8_t)(scaled + 0.5f);
}

static sd_status decode(sd_model *model, const struct sd_autoencoder *decoder, const sd_params *p,
                        const struct sd_watch *watch, sd_dtype act, float *latent, uint8_t *pixels,
                        sd_error *err) {
    size_t values = (size_t)p->width * p->height * model->files->vae.image_channels;
    struct half h;
    sd_status status = record_decoder(model, decoder, p, act, &h, err);
    float *out = malloc(values * sizeof *out);
    if (!status && !out)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        status = run(model, p, watch, &h, latent, out, err);
    for (size_t i = 0; i < values && !status; i++)
        pixels[i] = to_byte(out[i]);
    sd_graph_destroy(&h.graph);
    free(out);
    return status;
}

sd_status sd_decode_by(sd_model *model, const struct sd_autoencoder *decoder, const sd_params *p,
                       const struct sd_watch *watch, const float *latent, uint8_t *pixels, sd_error *err) {
    const struct sd_vae_config *config = &model->files->vae;
    uint32_t factor = 1u << (config->levels - 1);
    size_t values = (size_t)(p->width / factor) * (p->height / factor) * config->latent_channels;
    float *in = malloc(values * sizeof *in);
    if (!in)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    struct sd_latent_scale s = sd_autoencoder_scale(decoder->tiny_decoder, config);
    for (size_t i = 0; i < values; i++)
        in[i] = latent[i] / s.scale + s.shift;
    sd_status status = decode(model, decoder, p, watch, model->act, in, pixels, err);
    if (status == SD_E_NUMERIC && model->act == SD_F16) {
        sd_log(&model->context->log, SD_LOG_WARNING, "%s overflowed in f16; decoding again in f32",
               decoder->tiny_decoder ? "the TAESD" : "the VAE");
        status = decode(model, decoder, p, watch, SD_F32, in, pixels, err);
    }
    free(in);
    return status;
}

sd_status sd_decode(sd_model *model, const sd_params *p, const struct sd_watch *watch, const float *latent,
                    uint8_t *pixels, sd_error *err) {
    return sd_decode_by(model, &model->autoencoder, p, watch, latent, pixels, err);
}

/* Reads the first `channels` of each pixel's values: the mean of a VAE's moments, or all of a TAESD's. */
static sd_status encode(sd_model *model, const sd_params *p, const struct sd_watch *watch, float *picture,
                        uint32_t channels, float *latent, sd_error *err) {
    struct half h = {0};
    float *out = NULL;
    sd_status status = record_encoder(model, p, &h, err);
    if (!status && !(out = malloc(h.out->bytes)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        status = run(model, p, watch, &h, picture, out, err);
    size_t pixels = status ? 0 : sd_tensor_rows(h.out);
    for (size_t i = 0; i < pixels; i++)
        memcpy(latent + i * channels, out + i * h.out->c, channels * sizeof *latent);
    sd_graph_destroy(&h.graph);
    free(out);
    return status;
}

sd_status sd_encode(sd_model *model, const sd_params *p, const struct sd_watch *watch, float *picture,
                    float *latent, sd_error *err) {
    struct sd_autoencoder *a = &model->autoencoder;
    const struct sd_vae_config *config = &model->files->vae;
    uint32_t factor = 1u << (config->levels - 1), channels = config->latent_channels;
    size_t values = (size_t)(p->width / factor) * (p->height / factor) * channels;
    sd_status status = sd_autoencoder_need_encoder(a, model->context->vk, model->files, model->precision,
                                                   model->cancel, err);
    if (!status)
        status = encode(model, p, watch, picture, channels, latent, err);
    struct sd_latent_scale s = sd_autoencoder_scale(a->tiny_encoder, config);
    for (size_t i = 0; i < values && !status; i++)
        latent[i] = (latent[i] - s.shift) * s.scale;
    return status;
}

void sd_picture_floats(const sd_picture *picture, float *out) {
    size_t pixels = (size_t)picture->width * picture->height;
    for (size_t i = 0; i < pixels; i++)
        for (uint32_t c = 0; c < 3; c++)
            out[i * 3 + c] = (float)picture->pixels[i * picture->channels + c] / 127.5f - 1.0f;
}
