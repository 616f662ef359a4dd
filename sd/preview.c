#include "sd/preview.h"

#include <stdlib.h>

enum { side_vae = 16, side_tiny = 64 };

/* Means of squares of `factor` pixels; what is left over at the right and bottom is cut off. */
static void average(const float *in, uint32_t width, uint32_t channels, uint32_t factor, float *out,
                    uint32_t h, uint32_t w) {
    float weight = 1.0f / (float)(factor * factor);
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++)
            for (uint32_t c = 0; c < channels; c++) {
                float sum = 0;
                for (uint32_t i = 0; i < factor * factor; i++)
                    sum +=
                        in[((size_t)(y * factor + i / factor) * width + x * factor + i % factor) * channels +
                           c];
                out[((size_t)y * w + x) * channels + c] = sum * weight;
            }
}

sd_status sd_preview(sd_model *model, const sd_params *p, const struct sd_watch *watch, const float *latent,
                     sd_picture *out, sd_error *err) {
    uint32_t side = model->autoencoder.tiny_decoder ? side_tiny : side_vae;
    uint32_t height = p->height / 8, width = p->width / 8, larger = height > width ? height : width;
    uint32_t factor = (larger + side - 1) / side, channels = model->files->vae.latent_channels;
    /* A side that is far shorter than the other one keeps one pixel. */
    uint32_t least = height < width ? height : width;
    factor = factor > least ? least : factor;
    uint32_t h = height / factor, w = width / factor;
    sd_params small = *p;
    small.height = h * 8;
    small.width = w * 8;
    float *averaged = malloc((size_t)h * w * channels * sizeof *averaged);
    *out = (sd_picture){w * 8, h * 8, 3, malloc((size_t)h * w * 64 * 3)};
    sd_status status =
        averaged && out->pixels ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory for a preview");
    if (!status) {
        average(latent, width, channels, factor, averaged, h, w);
        status = sd_decode(model, &small, watch, averaged, out->pixels, err);
    }
    free(averaged);
    if (status)
        sd_picture_free(out);
    return status;
}
