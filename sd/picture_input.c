#include "sd/picture_input.h"

#include "sd/io/resize.h"
#include "sd/latent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pictures at the size of the run ---- */

/* A copy of a part of a picture. */
static sd_status cut(const sd_picture *in, const struct sd_box *box, sd_picture *out, sd_error *err) {
    size_t row = (size_t)box->width * in->channels;
    *out = (sd_picture){box->width, box->height, in->channels, malloc(row * box->height)};
    if (!out->pixels)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t y = 0; y < box->height; y++)
        memcpy(out->pixels + y * row, in->pixels + ((size_t)(box->y + y) * in->width + box->x) * in->channels,
               row);
    return SD_OK;
}

static sd_resize mode_of(const sd_params *p) {
    return !p->resize || !strcmp(p->resize, "stretch") ? SD_RESIZE_STRETCH
           : !strcmp(p->resize, "crop")                ? SD_RESIZE_CROP
                                                       : SD_RESIZE_FILL;
}

/* The whole picture, or a box of it, which has about the right shape. */
static sd_status at_size(const struct sd_picture_input *in, const sd_params *p, const sd_picture *picture,
                         sd_picture *out, sd_error *err) {
    sd_picture part;
    if (!in->box.width)
        return sd_picture_resize(out, picture, p->width, p->height, mode_of(p), err);
    sd_status status = cut(picture, &in->box, &part, err);
    if (status)
        return status;
    status = sd_picture_resize(out, &part, p->width, p->height, SD_RESIZE_STRETCH, err);
    sd_picture_free(&part);
    return status;
}

static bool inverted(const sd_params *p) {
    return p->mask_paint && !strcmp(p->mask_paint, "black");
}

static sd_status blurred_mask(const sd_picture *mask, const sd_params *p, float **out, sd_error *err) {
    *out = malloc((size_t)mask->width * mask->height * sizeof **out);
    if (!*out)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_mask_read(mask, inverted(p), *out);
    return sd_mask_blur(*out, mask->width, mask->height, p->mask_blur, err);
}

/* The part of the picture that the mask is about. */
static sd_status find_box(struct sd_picture_input *in, const sd_params *p, sd_error *err) {
    sd_status status = blurred_mask(p->mask, p, &in->whole, err);
    if (!status && !sd_mask_box(in->whole, p->mask->width, p->mask->height, p->mask_padding, p->width,
                                p->height, &in->box))
        status = sd_fail(err, SD_E_ARGUMENT, "mask: expected something to be made anew, found nothing");
    return status;
}

static sd_status read_pictures(struct sd_picture_input *in, const sd_params *p, sd_error *err) {
    size_t pixels = (size_t)p->width * p->height;
    sd_picture mask = {0};
    sd_status status = SD_OK;
    if (p->mask && p->mask_area && !strcmp(p->mask_area, "masked"))
        status = find_box(in, p, err);
    if (!status)
        status = at_size(in, p, p->init_image, &in->init, err);
    if (status || !p->mask)
        return status;
    if (!(status = at_size(in, p, p->mask, &mask, err)))
        status = blurred_mask(&mask, p, &in->overlay, err);
    sd_picture_free(&mask);
    if (!status && !(in->mask = malloc(pixels / 64 * sizeof *in->mask)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        sd_mask_shrink(in->overlay, p->width, p->height, in->mask);
    return status;
}

/* ---- what the networks read ---- */

static sd_status encode(sd_model *model, const sd_params *p, const struct sd_watch *watch, float *picture,
                        float **out, sd_error *err) {
    size_t values = (size_t)(p->height / 8) * (p->width / 8) * model->files->vae.latent_channels;
    *out = malloc(values * sizeof **out);
    return *out ? sd_encode(model, p, watch, picture, *out, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
}

/* The init picture; what will be made anew starts from its surroundings with mask_fill "fill". */
static sd_status init_latent(struct sd_picture_input *in, sd_model *model, const sd_params *p,
                             const struct sd_watch *watch, float *picture, sd_error *err) {
    sd_picture start = in->init;
    bool fill = in->overlay && p->mask_fill && !strcmp(p->mask_fill, "fill");
    const struct sd_box all = {0, 0, start.width, start.height};
    sd_status status = fill ? cut(&in->init, &all, &start, err) : SD_OK;
    if (!status && fill)
        status = sd_mask_fill(&start, in->overlay, err);
    if (!status) {
        sd_picture_floats(&start, picture);
        status = encode(model, p, watch, picture, &in->latent, err);
    }
    if (fill)
        sd_picture_free(&start);
    return status;
}

/* The mask, then the latent of the picture without what is painted anew; without a mask that is everything
 * (Rombach et al. 2022, section 4.5). */
static sd_status masked_extra(struct sd_picture_input *in, sd_model *model, const sd_params *p,
                              const struct sd_watch *watch, float *picture, sd_error *err) {
    size_t pixels = (size_t)p->width * p->height, latents = pixels / 64;
    uint32_t channels = model->files->vae.latent_channels;
    float *latent = NULL;
    if (in->mask)
        sd_picture_floats(&in->init, picture);
    for (size_t i = 0; i < pixels; i++)
        if (!in->mask || in->overlay[i] >= 0.5f)
            memset(picture + i * 3, 0, 3 * sizeof *picture);
    sd_status status = encode(model, p, watch, picture, &latent, err);
    if (!status && !(in->extra = malloc(latents * (channels + 1) * sizeof *in->extra)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < latents && !status; i++) {
        in->extra[i * (channels + 1)] = in->mask ? in->mask[i] : 1;
        memcpy(in->extra + i * (channels + 1) + 1, latent + i * channels, channels * sizeof *latent);
    }
    free(latent);
    return status;
}

/* The picture that is edited, as the autoencoder gives it (Brooks et al. 2023, section 3.2). */
static sd_status edited_extra(struct sd_picture_input *in, const sd_model *model, const sd_params *p,
                              sd_error *err) {
    const struct sd_latent_scale s =
        sd_autoencoder_scale(model->autoencoder.tiny_encoder, &model->files->vae);
    /* A TAESD gives scaled latents, whatever its own scale. */
    float factor = model->autoencoder.tiny_encoder ? model->files->vae.scaling_factor : s.scale;
    size_t values = (size_t)(p->height / 8) * (p->width / 8) * model->files->vae.latent_channels;
    in->extra = malloc(values * sizeof *in->extra);
    if (!in->extra)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < values; i++)
        in->extra[i] = in->latent[i] / factor + s.shift;
    return SD_OK;
}

/* "nothing": from zeros; "noise" is drawn picture by picture (sd/generate.c). */
static void empty_latent(struct sd_picture_input *in, const sd_model *model, const sd_params *p) {
    uint32_t channels = model->files->vae.latent_channels;
    size_t values = (size_t)(p->height / 8) * (p->width / 8) * channels;
    for (size_t i = 0; i < values; i++)
        if (in->mask[i / channels] > 0)
            in->latent[i] = 0;
}

sd_status sd_picture_input_prepare(struct sd_picture_input *in, sd_model *model, const sd_params *p,
                                   const struct sd_watch *watch, sd_error *err) {
    size_t values = (size_t)p->width * p->height * 3;
    enum sd_unet_input kind = sd_model_input(model);
    *in = (struct sd_picture_input){0};
    if (!p->init_image && kind != SD_UNET_INPUT_MASK)
        return SD_OK;
    float *picture = calloc(values, sizeof *picture);
    sd_status status = picture ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status && p->init_image && !(status = read_pictures(in, p, err)))
        status = init_latent(in, model, p, watch, picture, err);
    if (!status && kind == SD_UNET_INPUT_MASK)
        status = masked_extra(in, model, p, watch, picture, err);
    else if (!status && kind == SD_UNET_INPUT_EDIT)
        status = edited_extra(in, model, p, err);
    if (!status && in->mask && p->mask_fill && !strcmp(p->mask_fill, "nothing"))
        empty_latent(in, model, p);
    free(picture);
    return status;
}

void sd_picture_input_clear(struct sd_picture_input *in) {
    sd_picture_free(&in->init);
    free(in->latent);
    free(in->mask);
    free(in->extra);
    free(in->overlay);
    free(in->whole);
    *in = (struct sd_picture_input){0};
}

/* ---- back into the picture ---- */

/* Where the blurred mask is half, the new picture is whole: its latent was made anew there. */
static uint8_t mixed(uint8_t old, uint8_t made, float mask, const sd_params *p) {
    float share = fminf(p->mask_blur > 0 ? mask * 2 : mask, 1);
    return (uint8_t)lrintf((float)old + share * ((float)made - (float)old));
}

static sd_status restore_box(const struct sd_picture_input *in, const sd_params *p, sd_picture *picture,
                             sd_error *err) {
    const struct sd_box *box = &in->box;
    const sd_picture *init = p->init_image;
    size_t count = (size_t)init->width * init->height;
    sd_picture made, all = {init->width, init->height, 3, malloc(count * 3)};
    sd_status status = sd_picture_resize(&made, picture, box->width, box->height, SD_RESIZE_STRETCH, err);
    if (!status && !all.pixels)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < count && !status; i++) {
        uint32_t x = (uint32_t)(i % init->width) - box->x, y = (uint32_t)(i / init->width) - box->y;
        bool inside = x < box->width && y < box->height;
        for (uint32_t c = 0; c < 3; c++) {
            uint8_t old = init->pixels[i * init->channels + c];
            all.pixels[i * 3 + c] =
                inside ? mixed(old, made.pixels[((size_t)y * box->width + x) * 3 + c], in->whole[i], p) : old;
        }
    }
    sd_picture_free(&made);
    sd_picture_free(status ? &all : picture);
    if (!status)
        *picture = all;
    return status;
}

sd_status sd_picture_input_restore(const struct sd_picture_input *in, const sd_params *p, sd_picture *picture,
                                   sd_error *err) {
    size_t count = (size_t)picture->width * picture->height;
    if (in->box.width)
        return restore_box(in, p, picture, err);
    for (size_t i = 0; i < count; i++)
        for (uint32_t c = 0; c < 3; c++)
            picture->pixels[i * 3 + c] = mixed(in->init.pixels[i * in->init.channels + c],
                                               picture->pixels[i * 3 + c], in->overlay[i], p);
    return SD_OK;
}
