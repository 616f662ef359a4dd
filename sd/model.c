#include "sd/model.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const struct sd_family families[] = {
    {"SD 1", 512, 1, true, false, false, 0.18215f, "epsilon"},
    {"SD 2", 768, 2, true, false, false, 0.18215f, "v"},
    {"SDXL", 1024, 2, false, true, false, 0.13025f, "epsilon"},
    {"SDXL refiner", 1024, 2, false, true, true, 0.13025f, "epsilon"},
};

enum { family_sd1, family_sd2, family_sdxl, family_refiner };

static const struct sd_family *family_of(const sd_model *m) {
    if (m->files->unet.add_dim)
        return &families[m->text[0].present ? family_sdxl : family_refiner];
    return &families[m->text[0].config.act == SD_ACT_GELU ? family_sd2 : family_sd1];
}

static sd_status configure_unet(sd_checkpoint *c, sd_error *err) {
    const struct sd_checkpoint_part *p = &c->part[SD_PART_UNET];
    return p->config ? sd_unet_config_parse(&c->unet, p->config, strlen(p->config), p->label, err)
                     : sd_unet_detect(&c->unet, &p->source, err);
}

static sd_status configure_vae(sd_checkpoint *c, sd_error *err) {
    const struct sd_checkpoint_part *p = &c->part[SD_PART_VAE];
    if (!p->file)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: the file holds no VAE (first_stage_model...)", c->path);
    return p->config ? sd_vae_config_parse(&c->vae, p->config, strlen(p->config), p->label, err)
                     : sd_vae_detect(&c->vae, &p->source, err);
}

static sd_status load_tokenizer(sd_checkpoint *c, int which, sd_tokenizer **out, sd_error *err) {
    const sd_bytes *vocabulary = &c->vocabulary[which], *merges = &c->merges[which];
    if (!vocabulary->data || !merges->data)
        return sd_tokenizer_create_builtin(out, err);
    sd_error cause = {0};
    sd_status status =
        sd_tokenizer_create(out, vocabulary->data, vocabulary->size, merges->data, merges->size, &cause);
    return status ? sd_fail(err, status, "%s/%s/%.900s", c->path, which ? "tokenizer_2" : "tokenizer",
                            cause.message)
                  : SD_OK;
}

static sd_status load_text(sd_model *m, int which, sd_error *err) {
    const struct sd_checkpoint_part *p = &m->files->part[which ? SD_PART_TEXT_2 : SD_PART_TEXT];
    struct sd_text_part *text = &m->text[which];
    if (!p->file)
        return SD_OK;
    sd_status status = p->config
                           ? sd_text_config_parse(&text->config, p->config, strlen(p->config), p->label, err)
                           : sd_text_detect(&text->config, &p->source, err);
    if (status || (status = load_tokenizer(m->files, which, &text->tokenizer, err)))
        return status;
    if (sd_tokenizer_entries(text->tokenizer) > text->config.vocabulary)
        return sd_fail(err, SD_E_FORMAT,
                       "%s: the tokenizer has %u entries, but the text encoder's table has %u rows", p->label,
                       sd_tokenizer_entries(text->tokenizer), text->config.vocabulary);
    /* OpenCLIP pads with token 0, CLIP-L with the end of text. */
    text->pad = text->config.act == SD_ACT_GELU ? 0 : sd_tokenizer_end(text->tokenizer);
    if ((status = sd_weights_create(&text->weights, err)))
        return status;
    sd_text_bind(&text->model, text->weights, &text->config);
    text->present = true;
    return sd_weights_load(text->weights, m->context->vk, &p->source, m->precision, err);
}

static sd_status load_unet(sd_model *m, bool plain, sd_error *err) {
    sd_unet_destroy(&m->unet);
    sd_weights_destroy(m->context->vk, &m->unet_weights);
    sd_status status = sd_weights_create(&m->unet_weights, err);
    if (!status)
        status = sd_unet_bind(&m->unet, &m->files->unet, plain, m->unet_weights, err);
    return status ? status
                  : sd_weights_load(m->unet_weights, m->context->vk, &m->files->part[SD_PART_UNET].source,
                                    m->precision, err);
}

sd_status sd_model_need_unet(sd_model *m, uint32_t height, uint32_t width, sd_error *err) {
    bool plain = sd_unet_needs_plain(&m->files->unet, height, width);
    return m->unet && m->unet->plain == plain ? SD_OK : load_unet(m, plain, err);
}

static sd_status load_decoder(sd_model *m, sd_error *err) {
    sd_status status = sd_weights_create(&m->decoder_weights, err);
    if (status)
        return status;
    sd_vae_bind_decoder(&m->decoder, m->decoder_weights, &m->files->vae);
    return sd_weights_load(m->decoder_weights, m->context->vk, &m->files->part[SD_PART_VAE].source,
                           m->precision, err);
}

sd_status sd_model_need_encoder(sd_model *m, sd_error *err) {
    if (m->encoder_weights)
        return SD_OK;
    sd_status status = sd_weights_create(&m->encoder_weights, err);
    if (status)
        return status;
    sd_vae_bind_encoder(&m->encoder, m->encoder_weights, &m->files->vae);
    status = sd_weights_load(m->encoder_weights, m->context->vk, &m->files->part[SD_PART_VAE].source,
                             m->precision, err);
    if (status)
        sd_weights_destroy(m->context->vk, &m->encoder_weights);
    return status;
}

static const char *text_field(const cJSON *json, const char *field) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, field);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static double number_field(const cJSON *json, const char *field, double otherwise) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, field);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static sd_status set_prediction(sd_model *m, const char *name, const char *from, sd_error *err) {
    if (!strcmp(name, "epsilon"))
        m->prediction = SD_PREDICT_EPSILON;
    else if (!strcmp(name, "v") || !strcmp(name, "v_prediction"))
        m->prediction = SD_PREDICT_V;
    else if (!strcmp(name, "sample"))
        m->prediction = SD_PREDICT_SAMPLE;
    else
        return sd_fail(err, SD_E_ARGUMENT, "%s: prediction: expected epsilon, v or sample, found '%s'", from,
                       name);
    return SD_OK;
}

/* Noise model and habits from the folder's scheduler file, else the family's. */
static sd_status configure_noise(sd_model *m, const char *prediction, sd_error *err) {
    cJSON *json = m->files->scheduler ? cJSON_Parse(m->files->scheduler) : NULL;
    const char *type = text_field(json, "prediction_type"), *betas = text_field(json, "beta_schedule"),
               *spacing = text_field(json, "timestep_spacing");
    const sd_discrete_params params = {
        .betas = betas && !strcmp(betas, "linear") ? SD_BETAS_LINEAR : SD_BETAS_SCALED_LINEAR,
        .start = number_field(json, "beta_start", 0),
        .end = number_field(json, "beta_end", 0),
        .zero_terminal_snr = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "rescale_betas_zero_snr")),
    };
    sd_status status = SD_OK;
    if (m->files->scheduler && !json)
        status = sd_fail(err, SD_E_FORMAT, "%s/scheduler/scheduler_config.json: expected a JSON object",
                         m->files->path);
    if (!status && betas && strcmp(betas, "linear") && strcmp(betas, "scaled_linear"))
        status = sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s/scheduler/scheduler_config.json: beta_schedule: expected linear or scaled_linear, found '%s'",
            m->files->path, betas);
    if (!status)
        status = set_prediction(m,
                                prediction ? prediction
                                : type     ? type
                                           : m->family->prediction,
                                m->files->path, err);
    if (!status)
        status = sd_discrete_init(&m->noise, &params, err);
    if (spacing && !strcmp(spacing, "leading"))
        m->default_schedule = "leading";
    else if (spacing && !strcmp(spacing, "trailing"))
        m->default_schedule = "trailing";
    cJSON_Delete(json);
    return status;
}

static void choose_precision(sd_model *m, sd_precision wanted) {
    bool cpu = sd_vk_info(m->context->vk)->kind == SD_VK_CPU;
    bool half = wanted == SD_PRECISION_F16 || (wanted == SD_PRECISION_AUTO && !cpu);
    m->act = half ? SD_F16 : SD_F32;
    m->precision = half ? SD_WEIGHTS_F16 : SD_WEIGHTS_LOSSLESS;
}

static void choose_defaults(sd_model *m) {
    uint32_t size = m->files->unet.sample ? m->files->unet.sample * 8 : m->family->size;
    m->family = family_of(m);
    if (!m->files->unet.sample)
        size = m->family->size;
    m->width = m->height = size;
    m->clip_skip = m->family->clip_skip;
    /* diffusers' SD 2 folders leave out the last layer instead of skipping it. */
    if (m->family == &families[family_sd2] && m->text[0].config.layers != 24)
        m->clip_skip = 1;
    if (!m->files->part[SD_PART_VAE].config)
        m->files->vae.scaling_factor = m->family->scaling_factor;
}

/* The text encoders' width must be what the UNet's cross-attention reads. */
static sd_status check_widths(const sd_model *m, sd_error *err) {
    uint32_t width = 0;
    for (int i = 0; i < 2; i++)
        width += m->text[i].present ? m->text[i].config.hidden : 0;
    if (!width)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: the model holds no text encoder", m->files->path);
    if (width != m->files->unet.context)
        return sd_fail(err, SD_E_FORMAT, "%s: the UNet reads text of width %u, but the text encoder gives %u",
                       m->files->path, m->files->unet.context, width);
    if (m->files->unet.in_channels != m->files->vae.latent_channels)
        return sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s: a UNet with %u input channels (inpainting or pix2pix) is not supported yet; expected %u",
            m->files->path, m->files->unet.in_channels, m->files->vae.latent_channels);
    return SD_OK;
}

sd_status sd_model_open(sd_model **out, sd_context *context, const char *path,
                        const sd_model_options *options, sd_error *err) {
    static const sd_model_options defaults;
    options = options ? options : &defaults;
    *out = NULL;
    sd_model *m = calloc(1, sizeof *m);
    if (!m)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    m->context = context;
    m->family = &families[family_sd1];
    choose_precision(m, options->precision);
    sd_status status = sd_checkpoint_open(&m->files, path, err);
    if (!status && !(status = configure_unet(m->files, err)) && !(status = configure_vae(m->files, err)) &&
        !(status = load_text(m, 0, err)) && !(status = load_text(m, 1, err))) {
        choose_defaults(m);
        if (!(status = check_widths(m, err)) && !(status = configure_noise(m, options->prediction, err)) &&
            !(status = sd_model_need_unet(m, m->height / 8, m->width / 8, err)))
            status = load_decoder(m, err);
    }
    if (status)
        sd_model_close(&m);
    *out = m;
    return status;
}

void sd_model_close(sd_model **handle) {
    sd_model *m = *handle;
    if (!m)
        return;
    sd_vk *vk = m->context->vk;
    for (int i = 0; i < 2; i++) {
        sd_tokenizer_destroy(&m->text[i].tokenizer);
        sd_weights_destroy(vk, &m->text[i].weights);
    }
    sd_unet_destroy(&m->unet);
    sd_weights_destroy(vk, &m->unet_weights);
    sd_weights_destroy(vk, &m->decoder_weights);
    sd_weights_destroy(vk, &m->encoder_weights);
    sd_checkpoint_close(&m->files);
    free(m);
    *handle = NULL;
}

static void add_weights(sd_model_info *out, const sd_weights *w) {
    if (!w)
        return;
    out->parameters += sd_weights_parameters(w);
    out->weight_bytes += sd_weights_bytes(w);
}

void sd_model_get_info(const sd_model *m, sd_model_info *out) {
    static const char *const predictions[] = {
        [SD_PREDICT_EPSILON] = "epsilon", [SD_PREDICT_V] = "v", [SD_PREDICT_SAMPLE] = "sample"};
    *out = (sd_model_info){.family = m->family->name,
                           .prediction = predictions[m->prediction],
                           .precision = m->act == SD_F16 ? "f16" : "f32",
                           .name = m->files->name,
                           .width = m->width,
                           .height = m->height};
    add_weights(out, m->text[0].weights);
    add_weights(out, m->text[1].weights);
    add_weights(out, m->unet_weights);
    add_weights(out, m->decoder_weights);
    add_weights(out, m->encoder_weights);
}

sd_status sd_model_hash(sd_model *m, const char **hex, sd_error *err) {
    sd_status status = SD_OK;
    if (!m->hash[0])
        status = sd_file_sha256(m->files->part[SD_PART_UNET].label, 0, m->hash, err);
    *hex = status ? NULL : m->hash;
    return status;
}
