#include "sd/model.h"

#include "sd/preview.h"

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

uint32_t sd_model_pooled_width(const sd_model *m) {
    const struct sd_text_part *last = &m->text[m->text[1].present ? 1 : 0];
    if (!m->family->pooled)
        return 0;
    return last->config.projection ? last->config.projection : last->config.hidden;
}

static sd_status load_tokenizer(sd_checkpoint *c, int which, sd_tokenizer **out, sd_error *err) {
    const sd_bytes *vocabulary = &c->vocabulary[which], *merges = &c->merges[which];
    const char *folder = which ? "tokenizer_2" : "tokenizer";
    if (!vocabulary->data && !merges->data)
        return sd_tokenizer_create_builtin(out, err);
    if (!vocabulary->data || !merges->data)
        return sd_fail(err, SD_E_NOT_FOUND, "%s/%s: expected vocab.json and merges.txt, found only %s",
                       c->path, folder, merges->data ? "merges.txt" : "vocab.json");
    sd_error cause = {0};
    sd_status status =
        sd_tokenizer_create(out, vocabulary->data, vocabulary->size, merges->data, merges->size, &cause);
    if (status == SD_E_MEMORY)
        return sd_fail(err, status, "%s", cause.message);
    return status ? sd_fail(err, status, "%s/%s/%.900s", c->path, folder, cause.message) : SD_OK;
}

static sd_status bind_text(sd_model *m, int which, sd_error *err) {
    const struct sd_checkpoint_part *p = &m->files->part[which ? SD_PART_TEXT_2 : SD_PART_TEXT];
    struct sd_text_part *text = &m->text[which];
    if (!p->file)
        return SD_OK;
    sd_status status = sd_checkpoint_read_text(m->files, which, &text->config, err);
    if (status || (status = load_tokenizer(m->files, which, &text->tokenizer, err)))
        return status;
    if (sd_tokenizer_entries(text->tokenizer) > text->config.vocabulary)
        return sd_fail(
            err, SD_E_FORMAT, "%s: the %s has %u entries, but the text encoder's table has %u rows", p->label,
            m->files->vocabulary[which].data ? "tokenizer" : "usual tokenizer, for want of the model's own,",
            sd_tokenizer_entries(text->tokenizer), text->config.vocabulary);
    /* OpenCLIP pads with token 0, CLIP-L with the end of text. */
    text->pad = text->config.act == SD_ACT_GELU ? 0 : sd_tokenizer_end(text->tokenizer);
    if ((status = sd_weights_create(&text->weights, err)))
        return status;
    sd_text_bind(&text->model, text->weights, &text->config);
    text->present = true;
    return SD_OK;
}

static sd_status load_text(sd_model *m, sd_lora_part part, sd_error *err) {
    sd_weights *weights = sd_model_adapted_weights(m, part);
    struct sd_weight_source source = sd_model_source(m, part);
    return weights ? sd_weights_load(weights, m->context->vk, &source, m->precision, err) : SD_OK;
}

static sd_status bind_unet(sd_model *m, bool plain, sd_error *err) {
    sd_unet_destroy(&m->unet);
    sd_weights_destroy(m->context->vk, &m->unet_weights);
    sd_status status = sd_weights_create(&m->unet_weights, err);
    return status ? status : sd_unet_bind(&m->unet, &m->files->unet, plain, m->unet_weights, err);
}

static sd_status load_unet(sd_model *m, sd_error *err) {
    struct sd_weight_source source = sd_model_source(m, SD_LORA_UNET);
    return sd_weights_load(m->unet_weights, m->context->vk, &source, m->precision, err);
}

sd_status sd_model_need_unet(sd_model *m, uint32_t height, uint32_t width, sd_error *err) {
    bool plain = sd_unet_needs_plain(&m->files->unet, height, width);
    if (m->unet && m->unet->plain == plain)
        return SD_OK;
    sd_status status = bind_unet(m, plain, err);
    if (!status)
        status = load_unet(m, err);
    m->broken = m->broken || status;
    return status;
}

enum { training_steps = 1000 };

/* One field of scheduler_config.json; false after the first error. An absent field or null leaves *out. */
struct scheduler_reader {
    const cJSON *json;
    const char *path;
    sd_status status;
    sd_error *err;
};

static const cJSON *scheduler_item(const struct scheduler_reader *r, const char *field) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->json, field);
    return cJSON_IsNull(item) ? NULL : item;
}

static void scheduler_refuse(struct scheduler_reader *r, const char *field, const char *expected) {
    if (r->status)
        return;
    char *found = cJSON_PrintUnformatted(scheduler_item(r, field));
    r->status = sd_fail(r->err, SD_E_UNSUPPORTED, "%s: %s: expected %s, found %.60s", r->path, field,
                        expected, found ? found : "something else");
    free(found);
}

static void scheduler_number(struct scheduler_reader *r, const char *field, double *out) {
    const cJSON *item = scheduler_item(r, field);
    if (item && !cJSON_IsNumber(item))
        scheduler_refuse(r, field, "a number");
    else if (item)
        *out = item->valuedouble;
}

/* Index of the field's text in `names`, which ends in NULL; `otherwise` when the field is absent. */
static int scheduler_choice(struct scheduler_reader *r, const char *field, const char *const *names,
                            const char *expected, int otherwise) {
    const cJSON *item = scheduler_item(r, field);
    for (int i = 0; item && names[i]; i++)
        if (cJSON_IsString(item) && !strcmp(item->valuestring, names[i]))
            return i;
    if (item)
        scheduler_refuse(r, field, expected);
    return otherwise;
}

static sd_prediction prediction_named(const char *name) {
    return !strcmp(name, "v")        ? SD_PREDICT_V
           : !strcmp(name, "sample") ? SD_PREDICT_SAMPLE
                                     : SD_PREDICT_EPSILON;
}

/* Noise model and habits from the folder's scheduler file, else the family's. */
static sd_status configure_noise(sd_model *m, const char *prediction, sd_error *err) {
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample", NULL};
    static const sd_prediction meant[] = {SD_PREDICT_EPSILON, SD_PREDICT_V, SD_PREDICT_SAMPLE};
    static const char *const betas[] = {"linear", "scaled_linear", NULL};
    static const char *const spacings[] = {"leading", "trailing", "linspace", NULL};
    cJSON *json = m->files->scheduler ? cJSON_Parse(m->files->scheduler) : NULL;
    struct scheduler_reader r = {json, m->files->scheduler_path, SD_OK, err};
    sd_discrete_params params = {0};
    double steps = training_steps;
    if (prediction && strcmp(prediction, "epsilon") && strcmp(prediction, "v") &&
        strcmp(prediction, "sample"))
        r.status =
            sd_fail(err, SD_E_ARGUMENT, "prediction: expected epsilon, v or sample, found '%s'", prediction);
    else if (m->files->scheduler && !cJSON_IsObject(json))
        r.status = sd_fail(err, SD_E_FORMAT, "%s: expected a JSON object", m->files->scheduler_path);
    m->prediction = prediction_named(prediction ? prediction : m->family->prediction);
    int type = scheduler_choice(&r, "prediction_type", predictions, "epsilon, v_prediction or sample", -1);
    if (!prediction && type >= 0)
        m->prediction = meant[type];
    params.betas = scheduler_choice(&r, "beta_schedule", betas, "linear or scaled_linear", 1)
                       ? SD_BETAS_SCALED_LINEAR
                       : SD_BETAS_LINEAR;
    int spacing = scheduler_choice(&r, "timestep_spacing", spacings, "leading, trailing or linspace", 2);
    m->default_schedule = spacing < 2 ? spacings[spacing] : NULL;
    scheduler_number(&r, "beta_start", &params.start);
    scheduler_number(&r, "beta_end", &params.end);
    scheduler_number(&r, "num_train_timesteps", &steps);
    if (steps != training_steps)
        scheduler_refuse(&r, "num_train_timesteps", "1000");
    if (scheduler_item(&r, "trained_betas"))
        scheduler_refuse(&r, "trained_betas", "null");
    params.zero_terminal_snr = cJSON_IsTrue(scheduler_item(&r, "rescale_betas_zero_snr"));
    sd_error cause = {0};
    if (!r.status && (r.status = sd_discrete_init(&m->noise, &params, &cause)))
        sd_fail(err, r.status, "%s: %.900s", m->files->scheduler_path, cause.message);
    cJSON_Delete(json);
    return r.status;
}

static void choose_precision(sd_model *m, sd_precision wanted) {
    bool cpu = sd_vk_info(m->context->vk)->kind == SD_VK_CPU;
    bool half = wanted == SD_PRECISION_F16 || (wanted == SD_PRECISION_AUTO && !cpu);
    m->act = half ? SD_F16 : SD_F32;
    m->precision = half                         ? SD_WEIGHTS_F16
                   : wanted == SD_PRECISION_F32 ? SD_WEIGHTS_LOSSLESS
                                                : SD_WEIGHTS_AS_FILE;
}

static void choose_defaults(sd_model *m) {
    m->family = family_of(m);
    uint32_t size = m->files->unet.sample ? m->files->unet.sample * 8 : m->family->size;
    m->width = m->height = size;
    m->clip_skip = m->family->clip_skip;
    /* diffusers' SD 2 folders leave out the last layer instead of skipping it. */
    if (m->family == &families[family_sd2] && m->text[0].config.layers != 24)
        m->clip_skip = 1;
    if (!m->files->part[SD_PART_VAE].config)
        m->files->vae.scaling_factor = m->family->scaling_factor;
}

enum sd_unet_input sd_model_input(const sd_model *m) {
    uint32_t more = m->files->unet.in_channels - m->files->vae.latent_channels;
    return !more                                       ? SD_UNET_INPUT_PLAIN
           : more == m->files->vae.latent_channels + 1 ? SD_UNET_INPUT_MASK
                                                       : SD_UNET_INPUT_EDIT;
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
    uint32_t reads = m->files->unet.in_channels, latent = m->files->vae.latent_channels;
    if (reads > latent && reads != 2 * latent && reads != 2 * latent + 1)
        return sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s: expected a UNet with %u input channels, %u for pix2pix or %u for inpainting, found "
            "%u%s",
            m->files->path, latent, 2 * latent, 2 * latent + 1, reads,
            reads == latent + 1 ? ", as for depth maps, which this version cannot do" : "");
    if (reads < latent || m->files->unet.out_channels != latent)
        return sd_fail(err, SD_E_FORMAT,
                       "%s: the UNet reads %u channels and gives %u, but the VAE's latents have %u",
                       m->files->path, reads, m->files->unet.out_channels, latent);
    return SD_OK;
}

sd_status sd_model_describe(sd_model **out, sd_context *context, const char *path,
                            const sd_model_options *options, sd_error *err) {
    *out = NULL;
    if (options->lora_mode != SD_LORA_MERGE && options->lora_mode != SD_LORA_RUNTIME)
        return sd_fail(err, SD_E_ARGUMENT, "lora_mode: expected SD_LORA_MERGE or SD_LORA_RUNTIME, found %d",
                       (int)options->lora_mode);
    sd_model *m = calloc(1, sizeof *m);
    if (!m)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    m->context = context;
    m->family = &families[family_sd1];
    m->lora_mode = options->lora_mode;
    choose_precision(m, options->precision);
    sd_status status = sd_model_open_files(m, path, options, err);
    if (!status && !(status = sd_checkpoint_read_unet(m->files, err)) &&
        !(status = sd_autoencoder_configure(m->files, err)) && !(status = bind_text(m, 0, err)) &&
        !(status = bind_text(m, 1, err))) {
        choose_defaults(m);
        bool plain = sd_unet_needs_plain(&m->files->unet, m->height / 8, m->width / 8);
        if (!(status = check_widths(m, err)) && !(status = configure_noise(m, options->prediction, err)) &&
            !(status = bind_unet(m, plain, err)))
            status = sd_model_adapt(m, options, err);
    }
    if (status)
        sd_model_close(&m);
    *out = m;
    return status;
}

sd_status sd_model_open(sd_model **out, sd_context *context, const char *path,
                        const sd_model_options *options, sd_error *err) {
    static const sd_model_options defaults;
    options = options ? options : &defaults;
    sd_status status = sd_model_describe(out, context, path, options, err);
    if (status)
        return status;
    sd_model *m = *out;
    m->cancel = options->cancel;
    if (!(status = load_text(m, SD_LORA_TEXT, err)) && !(status = load_text(m, SD_LORA_TEXT_2, err)) &&
        !(status = load_unet(m, err)))
        status = sd_autoencoder_open(&m->autoencoder, context->vk, m->files, m->precision, m->cancel, err);
    m->cancel = NULL;
    if (status)
        sd_model_close(out);
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
    sd_autoencoder_close(&m->autoencoder, vk);
    sd_previews_close(&m->previews, vk);
    sd_adapter_set_close(&m->adapters);
    sd_lora_uses_clear(&m->loras);
    sd_lora_uses_clear(&m->prompt_loras);
    sd_lora_targets_destroy(&m->targets);
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
                           .lora_mode = m->lora_mode,
                           .name = m->files->name,
                           .width = m->width,
                           .height = m->height};
    add_weights(out, m->text[0].weights);
    add_weights(out, m->text[1].weights);
    add_weights(out, m->unet_weights);
    add_weights(out, m->autoencoder.decoder_weights);
    add_weights(out, m->autoencoder.encoder_weights);
    out->weight_bytes += sd_previews_bytes(m->previews);
}

sd_status sd_model_hash(sd_model *m, const char **hex, sd_error *err) {
    sd_status status = SD_OK;
    if (!m->hash[0])
        status = sd_hash_cache_get(m->context->hashes, m->files->part[SD_PART_UNET].label, SD_HASH_FILE,
                                   m->hash, err);
    *hex = status ? NULL : m->hash;
    return status;
}
