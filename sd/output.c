#include "sd/library.h"
#include "sd/request.h"
#include "sd/used.h"

#include "sd/io/infotext.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A1111's words. */
static const char *masked_content(const char *fill) {
    return !strcmp(fill, "noise") ? "latent noise" : !strcmp(fill, "nothing") ? "latent nothing" : fill;
}

static char *make_infotext(const sd_model *model, const struct sd_request *r,
                           const struct sd_embeddings *embeddings, const sd_output *o, const char *hash) {
    char short_hash[SD_SHORT_HASH], clip_skip[16], strength[32];
    char vae_hash[SD_SHORT_HASH], image_cfg[32], mask_blur[32];
    sd_infotext_field extra[14];
    size_t count = 0;
    sd_str text = {0}, loras = {0}, inversions = {0};
    sd_short_hash(hash, short_hash);
    const struct sd_checkpoint_part *vae = &model->files->part[SD_PART_VAE];
    if (vae->replaced) {
        sd_short_hash(model->part_hash[SD_PART_VAE], vae_hash);
        extra[count++] = (sd_infotext_field){"VAE hash", vae_hash};
        extra[count++] = (sd_infotext_field){"VAE", sd_library_stem(vae->label)};
    }
    if (model->autoencoder.tiny_decoder)
        extra[count++] = (sd_infotext_field){"VAE Decoder", "TAESD"};
    if (r->params.clip_skip != model->family->clip_skip) {
        snprintf(clip_skip, sizeof clip_skip, "%u", r->params.clip_skip);
        extra[count++] = (sd_infotext_field){"Clip skip", clip_skip};
    }
    if (r->params.init_image) {
        snprintf(strength, sizeof strength, "%g", (double)r->params.strength);
        extra[count++] = (sd_infotext_field){"Denoising strength", strength};
    }
    if (r->params.init_image && sd_model_input(model) == SD_UNET_INPUT_EDIT) {
        snprintf(image_cfg, sizeof image_cfg, "%g", (double)r->params.image_cfg_scale);
        extra[count++] = (sd_infotext_field){"Image CFG scale", image_cfg};
    }
    if (r->params.mask) {
        snprintf(mask_blur, sizeof mask_blur, "%g", (double)r->params.mask_blur);
        extra[count++] = (sd_infotext_field){"Mask blur", mask_blur};
        if (r->params.mask_area && !strcmp(r->params.mask_area, "masked"))
            extra[count++] = (sd_infotext_field){"Inpaint area", "Only masked"};
        if (r->params.mask_fill && strcmp(r->params.mask_fill, "original"))
            extra[count++] = (sd_infotext_field){"Masked content", masked_content(r->params.mask_fill)};
    }
    if (r->rng == SD_RNG_CPU)
        extra[count++] = (sd_infotext_field){"RNG", "CPU"};
    sd_used_lora_hashes(model, &loras);
    if (loras.size)
        extra[count++] = (sd_infotext_field){"Lora hashes", loras.text};
    sd_used_embedding_hashes(embeddings, &inversions);
    if (inversions.size)
        extra[count++] = (sd_infotext_field){"TI hashes", inversions.text};
    sd_infotext_write(&text, &(sd_infotext_params){.prompt = r->params.prompt,
                                                   .negative = r->params.negative_prompt,
                                                   .steps = r->params.steps,
                                                   .sampler = r->sampler->label,
                                                   .schedule = r->schedule->label,
                                                   .cfg_scale = (double)r->params.cfg_scale,
                                                   .seed = (uint64_t)o->seed,
                                                   .width = r->params.width,
                                                   .height = r->params.height,
                                                   .model_hash = short_hash,
                                                   .model = model->files->name,
                                                   .extra = extra,
                                                   .extra_count = count,
                                                   .version = "sdvk " SD_VERSION});
    if (text.failed || loras.failed || inversions.failed)
        sd_str_clear(&text);
    sd_str_clear(&loras);
    sd_str_clear(&inversions);
    return text.text;
}

static bool add_picture(cJSON *json, const char *name, const sd_picture *picture) {
    char hash[SD_SHA256_HEX];
    size_t bytes = (size_t)picture->width * picture->height * picture->channels;
    return !sd_sha256(picture->pixels, bytes, hash, NULL) && cJSON_AddStringToObject(json, name, hash);
}

static char *make_record(const sd_model *model, const struct sd_request *r,
                         const struct sd_embeddings *embeddings, const sd_output *o, const char *hash) {
    const struct sd_vk_info *info = sd_vk_info(model->context->vk);
    const sd_params *p = &r->params;
    char seed[32]; /* cJSON's own numbers keep 15 digits */
    snprintf(seed, sizeof seed, "%" PRId64, o->seed);
    cJSON *json = cJSON_CreateObject(), *about = cJSON_AddObjectToObject(json, "model"),
          *device = cJSON_AddObjectToObject(json, "device");
    bool ok = cJSON_AddStringToObject(json, "version", SD_VERSION) &&
              cJSON_AddStringToObject(json, "prompt", p->prompt) &&
              cJSON_AddStringToObject(json, "negative_prompt", p->negative_prompt) &&
              cJSON_AddNumberToObject(json, "width", p->width) &&
              cJSON_AddNumberToObject(json, "height", p->height) &&
              cJSON_AddNumberToObject(json, "steps", p->steps) &&
              cJSON_AddNumberToObject(json, "cfg_scale", (double)p->cfg_scale) &&
              cJSON_AddStringToObject(json, "sampler", r->sampler->name) &&
              cJSON_AddStringToObject(json, "schedule", r->schedule->name) &&
              cJSON_AddRawToObject(json, "seed", seed) && cJSON_AddStringToObject(json, "rng", p->rng) &&
              cJSON_AddNumberToObject(json, "clip_skip", p->clip_skip) &&
              cJSON_AddNumberToObject(json, "eta", (double)p->eta) &&
              cJSON_AddStringToObject(about, "name", model->files->name) &&
              cJSON_AddStringToObject(about, "family", model->family->name) &&
              cJSON_AddStringToObject(about, "sha256", hash) &&
              cJSON_AddStringToObject(device, "name", info->name) &&
              cJSON_AddStringToObject(device, "driver", info->driver) &&
              cJSON_AddStringToObject(json, "precision", model->act == SD_F16 ? "f16" : "f32");
    if (ok && p->init_image)
        ok = add_picture(json, "init_image_sha256", p->init_image) &&
             cJSON_AddNumberToObject(json, "strength", (double)p->strength);
    if (ok && p->mask)
        ok = add_picture(json, "mask_sha256", p->mask) &&
             cJSON_AddNumberToObject(json, "mask_blur", (double)p->mask_blur) &&
             cJSON_AddStringToObject(json, "mask_paint", p->mask_paint ? p->mask_paint : "white") &&
             cJSON_AddStringToObject(json, "mask_fill", p->mask_fill ? p->mask_fill : "original") &&
             cJSON_AddStringToObject(json, "mask_area", p->mask_area ? p->mask_area : "whole") &&
             cJSON_AddNumberToObject(json, "mask_padding", p->mask_padding);
    if (ok && p->init_image && p->resize)
        ok = cJSON_AddStringToObject(json, "resize", p->resize);
    if (ok && sd_model_input(model) == SD_UNET_INPUT_EDIT)
        ok = cJSON_AddNumberToObject(json, "image_cfg_scale", (double)p->image_cfg_scale);
    ok = ok && sd_used_record(model, embeddings, json);
    char *text = ok ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    return text;
}

sd_status sd_output_describe(sd_output *output, sd_model *model, const struct sd_request *r,
                             struct sd_embeddings *embeddings, sd_error *err) {
    const char *hash;
    sd_status status = sd_model_hash(model, &hash, err);
    if (!status)
        status = sd_used_hash(model, embeddings, err);
    if (status)
        return status;
    output->infotext = make_infotext(model, r, embeddings, output, hash);
    output->json = make_record(model, r, embeddings, output, hash);
    return output->infotext && output->json ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}
