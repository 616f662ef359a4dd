#include "sd/autoencoder.h"

#include <string.h>

enum { half_decoder, half_encoder };

/* What the pipeline counts on: eight pixels a latent, three colours. */
static sd_status check_vae(const sd_checkpoint *c, sd_error *err) {
    if (c->vae.levels == 4 && c->vae.image_channels == 3)
        return SD_OK;
    return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected a VAE of 4 levels and 3 colours, found %u and %u",
                   c->part[SD_PART_VAE].config ? c->part[SD_PART_VAE].config_path
                                               : c->part[SD_PART_VAE].label,
                   c->vae.levels, c->vae.image_channels);
}

sd_status sd_autoencoder_configure(sd_checkpoint *c, sd_error *err) {
    const struct sd_checkpoint_part *p = &c->part[SD_PART_VAE];
    if (!p->file)
        return c->part[SD_PART_TAESD].file
                   ? SD_OK
                   : sd_fail(err, SD_E_NOT_FOUND,
                             "%s: the model holds no VAE (first_stage_model...), and none is given beside it",
                             c->path);
    sd_status status = p->config
                           ? sd_vae_config_parse(&c->vae, p->config, strlen(p->config), p->config_path, err)
                           : sd_vae_detect(&c->vae, &p->source, err);
    return status ? status : check_vae(c, err);
}

static sd_status load(sd_weights *w, sd_vk *vk, const struct sd_checkpoint_part *part,
                      sd_weight_precision precision, const sd_cancel *cancel, sd_error *err) {
    struct sd_weight_source source = part->source;
    sd_cancel_source(&source, cancel);
    return sd_weights_load(w, vk, &source, precision, err);
}

sd_status sd_autoencoder_open(struct sd_autoencoder *a, sd_vk *vk, const sd_checkpoint *c,
                              sd_weight_precision precision, const sd_cancel *cancel, sd_error *err) {
    const struct sd_checkpoint_part *tiny = &c->part[SD_PART_TAESD];
    *a = (struct sd_autoencoder){.tiny_decoder = tiny->file != NULL};
    sd_status status = a->tiny_decoder ? sd_taesd_detect(&a->tiny_config, &tiny->source, err) : SD_OK;
    if (status || (status = sd_weights_create(&a->decoder_weights, err)))
        return status;
    a->tiny_encoder = a->tiny_config.encoder;
    if (a->tiny_decoder)
        sd_taesd_bind_decoder(&a->tiny[half_decoder], a->decoder_weights, &a->tiny_config);
    else
        sd_vae_bind_decoder(&a->decoder, a->decoder_weights, &c->vae);
    return load(a->decoder_weights, vk, a->tiny_decoder ? tiny : &c->part[SD_PART_VAE], precision, cancel,
                err);
}

sd_status sd_autoencoder_need_encoder(struct sd_autoencoder *a, sd_vk *vk, const sd_checkpoint *c,
                                      sd_weight_precision precision, const sd_cancel *cancel, sd_error *err) {
    const struct sd_checkpoint_part *part = &c->part[a->tiny_encoder ? SD_PART_TAESD : SD_PART_VAE];
    if (a->encoder_weights)
        return SD_OK;
    if (!part->file)
        return sd_fail(err, SD_E_NOT_FOUND,
                       "%s: expected an encoder for the init picture, found only a decoder, and no VAE",
                       c->part[SD_PART_TAESD].label);
    sd_status status = sd_weights_create(&a->encoder_weights, err);
    if (status)
        return status;
    if (a->tiny_encoder)
        sd_taesd_bind_encoder(&a->tiny[half_encoder], a->encoder_weights, &a->tiny_config);
    else
        sd_vae_bind_encoder(&a->encoder, a->encoder_weights, &c->vae);
    status = load(a->encoder_weights, vk, part, precision, cancel, err);
    if (status)
        sd_weights_destroy(vk, &a->encoder_weights);
    return status;
}

void sd_autoencoder_close(struct sd_autoencoder *a, sd_vk *vk) {
    sd_weights_destroy(vk, &a->decoder_weights);
    sd_weights_destroy(vk, &a->encoder_weights);
}

sd_tensor *sd_autoencoder_decode(sd_graph *g, const struct sd_autoencoder *a,
                                 const struct sd_vae_config *config, sd_tensor *z) {
    return a->tiny_decoder ? sd_taesd_decode(g, &a->tiny[half_decoder], z)
                           : sd_vae_decode(g, config, &a->decoder, z);
}

sd_tensor *sd_autoencoder_encode(sd_graph *g, const struct sd_autoencoder *a,
                                 const struct sd_vae_config *config, sd_tensor *picture) {
    return a->tiny_encoder ? sd_taesd_encode(g, &a->tiny[half_encoder], picture)
                           : sd_vae_encode(g, config, &a->encoder, picture);
}

struct sd_latent_scale sd_autoencoder_scale(bool tiny, const struct sd_vae_config *config) {
    return tiny ? (struct sd_latent_scale){0, 1}
                : (struct sd_latent_scale){config->shift_factor, config->scaling_factor};
}
