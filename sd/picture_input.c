#include "sd/picture_input.h"

#include "sd/latent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Luminance (ITU-R BT.601), of which what is transparent has none. */
static float mask_value(const uint8_t *pixel, uint32_t channels) {
    float luminance = channels < 3
                          ? pixel[0]
                          : 0.299f * (float)pixel[0] + 0.587f * (float)pixel[1] + 0.114f * (float)pixel[2];
    return luminance / 255 * (channels == 4 ? (float)pixel[3] / 255 : 1);
}

/* One direction of a Gaussian blur; what lies outside is as the edge. */
static void blur_lines(const float *in, float *out, uint32_t lines, uint32_t length, size_t line_step,
                       size_t step, const float *kernel, int radius) {
    for (uint32_t l = 0; l < lines; l++)
        for (int i = 0; i < (int)length; i++) {
            float sum = 0;
            for (int k = -radius; k <= radius; k++) {
                int at = i + k < 0 ? 0 : i + k >= (int)length ? (int)length - 1 : i + k;
                sum += kernel[k + radius] * in[l * line_step + (size_t)at * step];
            }
            out[l * line_step + (size_t)i * step] = sum;
        }
}

/* Cut where A1111's blur is: 2.5 standard deviations. */
static sd_status blur(float *mask, uint32_t height, uint32_t width, float sigma, sd_error *err) {
    int radius = (int)(2.5f * sigma + 0.5f);
    float kernel[2 * 160 + 1], sum = 0;
    float *half = radius ? malloc((size_t)height * width * sizeof *half) : NULL;
    if (!radius)
        return SD_OK;
    if (!half)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (int k = -radius; k <= radius; k++)
        sum += kernel[k + radius] = expf(-0.5f * (float)(k * k) / (sigma * sigma));
    for (int k = 0; k <= 2 * radius; k++)
        kernel[k] /= sum;
    blur_lines(mask, half, height, width, width, 1, kernel, radius);
    blur_lines(half, mask, width, height, 1, width, kernel, radius);
    free(half);
    return SD_OK;
}

/* Most of a latent's pixels decide. */
static void shrink(const float *mask, uint32_t height, uint32_t width, float *out) {
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            float sum = 0;
            for (uint32_t i = 0; i < 64; i++)
                sum += mask[((size_t)y * 8 + i / 8) * width * 8 + x * 8 + i % 8];
            out[(size_t)y * width + x] = sum >= 32 ? 1 : 0;
        }
}

static sd_status read_mask(struct sd_picture_input *in, const sd_params *p, sd_error *err) {
    const sd_picture *mask = p->mask;
    size_t pixels = (size_t)p->width * p->height;
    in->overlay = malloc(pixels * sizeof *in->overlay);
    in->mask = malloc(pixels / 64 * sizeof *in->mask);
    if (!in->overlay || !in->mask)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < pixels; i++)
        in->overlay[i] = mask_value(mask->pixels + i * mask->channels, mask->channels);
    sd_status status = blur(in->overlay, p->height, p->width, p->mask_blur, err);
    if (!status)
        shrink(in->overlay, p->height / 8, p->width / 8, in->mask);
    return status;
}

static sd_status encode(sd_model *model, const sd_params *p, const struct sd_watch *watch, float *picture,
                        float **out, sd_error *err) {
    size_t values = (size_t)(p->height / 8) * (p->width / 8) * model->files->vae.latent_channels;
    *out = malloc(values * sizeof **out);
    return *out ? sd_encode(model, p, watch, picture, *out, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
}

/* The mask, then the latent of the picture without what is painted anew; without a mask that is everything
 * (Rombach et al. 2022, section 4.5). */
static sd_status masked_extra(struct sd_picture_input *in, sd_model *model, const sd_params *p,
                              const struct sd_watch *watch, float *picture, sd_error *err) {
    size_t pixels = (size_t)p->width * p->height, latents = pixels / 64;
    uint32_t channels = model->files->vae.latent_channels;
    float *latent = NULL;
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

sd_status sd_picture_input_prepare(struct sd_picture_input *in, sd_model *model, const sd_params *p,
                                   const struct sd_watch *watch, sd_error *err) {
    size_t values = (size_t)p->width * p->height * 3;
    enum sd_unet_input kind = sd_model_input(model);
    *in = (struct sd_picture_input){0};
    if (!p->init_image && kind != SD_UNET_INPUT_MASK)
        return SD_OK;
    float *picture = calloc(values, sizeof *picture);
    sd_status status = picture ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status && p->mask)
        status = read_mask(in, p, err);
    if (!status && p->init_image) {
        sd_picture_floats(p->init_image, picture);
        status = encode(model, p, watch, picture, &in->latent, err);
    }
    if (!status && kind == SD_UNET_INPUT_MASK)
        status = masked_extra(in, model, p, watch, picture, err);
    else if (!status && kind == SD_UNET_INPUT_EDIT)
        status = edited_extra(in, model, p, err);
    free(picture);
    return status;
}

void sd_picture_input_clear(struct sd_picture_input *in) {
    free(in->latent);
    free(in->mask);
    free(in->extra);
    free(in->overlay);
    *in = (struct sd_picture_input){0};
}

void sd_picture_input_restore(const struct sd_picture_input *in, const sd_params *p, uint8_t *pixels) {
    const sd_picture *init = p->init_image;
    size_t count = (size_t)init->width * init->height;
    /* Where the blurred mask is half, the new picture is whole: its latent was made anew there. */
    float slope = p->mask_blur > 0 ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        float share = fminf(in->overlay[i] * slope, 1);
        for (uint32_t c = 0; c < 3; c++) {
            float old = init->pixels[i * init->channels + c];
            pixels[i * 3 + c] = (uint8_t)lrintf(old + share * ((float)pixels[i * 3 + c] - old));
        }
    }
}
