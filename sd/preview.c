#include "sd/preview.h"

#include "sd/base/rng.h"
#include "sd/latent_map.h"
#include "sd/preview_taesd.h"

#include <stdlib.h>
#include <string.h>

enum {
    latent_pixels = 8, /* pixels of a picture in one of the latent, a side */
    side_decoder = 64, /* latents that a TAESD decodes */
    side_map = 128,    /* pixels of a picture by the map: all of SDXL's latent */
    fit_side = 32,     /* latents that the map is fitted to */
    fit_patch = 4,     /* in squares of one value of this many a side */
    fit_pixels = fit_side * fit_side
};

struct sd_previews {
    bool looked; /* for a TAESD in the model folder */
    struct sd_preview_taesd taesd;
    struct sd_latent_map map;
};

void sd_previews_close(struct sd_previews **previews, sd_vk *vk) {
    struct sd_previews *s = *previews;
    if (!s)
        return;
    sd_preview_taesd_close(&s->taesd, vk);
    sd_latent_map_clear(&s->map);
    free(s);
    *previews = NULL;
}

uint64_t sd_previews_bytes(const struct sd_previews *s) {
    return s && s->taesd.files ? sd_weights_bytes(s->taesd.autoencoder.decoder_weights) : 0;
}

static sd_status no_memory(sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "out of memory for a preview");
}

/* ---- sizes ---- */

/* How a latent is made small: h x w means of squares of `factor` a side. */
struct small {
    uint32_t factor, h, w;
};

static struct small small_of(const sd_params *p, uint32_t side) {
    uint32_t height = p->height / latent_pixels, width = p->width / latent_pixels;
    uint32_t larger = height > width ? height : width, least = height < width ? height : width;
    uint32_t factor = (larger + side - 1) / side;
    /* A side that is far shorter than the other one keeps one pixel. */
    factor = factor > least ? least : factor;
    return (struct small){factor, height / factor, width / factor};
}

/* Means of squares of s->factor pixels; what is left over at the right and bottom is cut off. */
static void average(const float *in, uint32_t width, uint32_t channels, const struct small *s, float *out) {
    uint32_t factor = s->factor;
    float weight = 1.0f / (float)(factor * factor);
    for (uint32_t y = 0; y < s->h; y++)
        for (uint32_t x = 0; x < s->w; x++)
            for (uint32_t c = 0; c < channels; c++) {
                float sum = 0;
                for (uint32_t i = 0; i < factor * factor; i++)
                    sum +=
                        in[((size_t)(y * factor + i / factor) * width + x * factor + i % factor) * channels +
                           c];
                *out++ = sum * weight;
            }
}

/* ---- by a decoder ---- */

static sd_status by_decoder(sd_model *model, const struct sd_autoencoder *decoder, const sd_params *p,
                            const struct sd_watch *watch, const float *latent, sd_picture *out,
                            sd_error *err) {
    const struct small s = small_of(p, side_decoder);
    uint32_t channels = model->files->vae.latent_channels;
    sd_params at_size = *p;
    at_size.height = s.h * latent_pixels;
    at_size.width = s.w * latent_pixels;
    float *averaged = malloc((size_t)s.h * s.w * channels * sizeof *averaged);
    *out = (sd_picture){at_size.width, at_size.height, 3, malloc((size_t)at_size.height * at_size.width * 3)};
    sd_status status = averaged && out->pixels ? SD_OK : no_memory(err);
    if (!status) {
        average(latent, p->width / latent_pixels, channels, &s, averaged);
        status = sd_decode_by(model, decoder, &at_size, watch, averaged, out->pixels, err);
    }
    free(averaged);
    if (status)
        sd_picture_free(out);
    return status;
}

/* ---- by the map ---- */

/* Squares of one normal value each: edges, and inside of them the decoder's colour of the value. */
static void draw(float *latent, uint32_t channels) {
    sd_rng rng;
    sd_rng_init(&rng, SD_RNG_GPU, 0);
    for (uint32_t y = 0; y < fit_side; y++)
        for (uint32_t x = 0; x < fit_side; x++) {
            float *at = latent + (y * fit_side + x) * channels;
            if (x % fit_patch)
                memcpy(at, at - channels, channels * sizeof *at);
            else if (y % fit_patch)
                memcpy(at, at - fit_side * channels, channels * sizeof *at);
            else
                sd_rng_randn(&rng, at, channels);
        }
}

static sd_status fit(sd_model *model, const sd_params *p, const struct sd_watch *watch,
                     struct sd_latent_map *map, sd_error *err) {
    enum { side = fit_side * latent_pixels };
    const struct small blocks = {latent_pixels, fit_side, fit_side};
    uint32_t channels = model->files->vae.latent_channels;
    sd_params at_size = *p;
    at_size.height = at_size.width = side;
    float *latent = malloc((size_t)fit_pixels * channels * sizeof *latent),
          *picture = malloc((size_t)side * side * 3 * sizeof *picture),
          *means = malloc((size_t)fit_pixels * 3 * sizeof *means);
    uint8_t *pixels = malloc((size_t)side * side * 3);
    sd_status status = latent && picture && means && pixels ? SD_OK : no_memory(err);
    if (!status) {
        draw(latent, channels);
        status = sd_decode_by(model, &model->autoencoder, &at_size, watch, latent, pixels, err);
    }
    if (!status) {
        for (size_t i = 0; i < (size_t)side * side * 3; i++)
            picture[i] = pixels[i];
        average(picture, side, 3, &blocks, means);
        status = sd_latent_map_fit(map, latent, means, fit_side, fit_side, channels, err);
    }
    free(latent);
    free(picture);
    free(means);
    free(pixels);
    return status;
}

static sd_status by_map(const struct sd_latent_map *map, const sd_params *p, const float *latent,
                        sd_picture *out, sd_error *err) {
    uint32_t height = p->height / latent_pixels, width = p->width / latent_pixels;
    const struct small s = small_of(p, side_map);
    size_t values = (size_t)s.h * s.w * 3;
    float *colours = malloc((size_t)height * width * 3 * sizeof *colours),
          *averaged = malloc(values * sizeof *averaged);
    *out = (sd_picture){s.w, s.h, 3, malloc(values)};
    sd_status status = colours && averaged && out->pixels ? SD_OK : no_memory(err);
    if (!status) {
        sd_latent_map_apply(map, latent, height, width, colours);
        average(colours, width, 3, &s, averaged);
        for (size_t i = 0; i < values; i++)
            out->pixels[i] = (uint8_t)(averaged[i] + 0.5f);
    }
    free(colours);
    free(averaged);
    if (status)
        sd_picture_free(out);
    return status;
}

/* ---- which of them ---- */

static bool ends_the_run(sd_status status) {
    return status == SD_E_CANCELLED || status == SD_E_DEVICE_LOST;
}

/* By the TAESD of the model folder, which is looked for once; no picture where there is none, or when it
 * fails, after which it is not tried again. */
static sd_status by_taesd(sd_model *model, const sd_params *p, const struct sd_watch *watch,
                          const float *latent, sd_picture *out, sd_error *err) {
    struct sd_previews *s = model->previews;
    sd_error cause = {0};
    sd_status status = SD_OK;
    if (!s->looked) {
        status = sd_preview_taesd_open(&s->taesd, model, &cause);
        s->looked = !ends_the_run(status);
    }
    if (!status && s->taesd.files)
        status = by_decoder(model, &s->taesd.autoencoder, p, watch, latent, out, &cause);
    if (ends_the_run(status))
        return sd_fail(err, status, "%s", cause.message);
    if (status) {
        sd_log(&model->context->log, SD_LOG_WARNING, "previews go without a TAESD: %s", cause.message);
        sd_preview_taesd_close(&s->taesd, model->context->vk);
    }
    return SD_OK;
}

sd_status sd_preview(sd_model *model, const sd_params *p, const struct sd_watch *watch, const float *latent,
                     sd_picture *out, sd_error *err) {
    *out = (sd_picture){0};
    if (model->autoencoder.tiny_decoder)
        return by_decoder(model, &model->autoencoder, p, watch, latent, out, err);
    if (!model->previews && !(model->previews = calloc(1, sizeof *model->previews)))
        return no_memory(err);
    struct sd_latent_map *map = &model->previews->map;
    sd_status status = by_taesd(model, p, watch, latent, out, err);
    if (status || out->pixels)
        return status;
    if (!map->weights)
        status = fit(model, p, watch, map, err);
    return status ? status : by_map(map, p, latent, out, err);
}
