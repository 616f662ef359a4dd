#include "sd/mask.h"

#include <math.h>
#include <stdlib.h>

void sd_mask_read(const sd_picture *mask, bool inverted, float *out) {
    size_t count = (size_t)mask->width * mask->height;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = mask->pixels + i * mask->channels;
        /* ITU-R BT.601 */
        float value = (0.299f * (float)p[0] + 0.587f * (float)p[1] + 0.114f * (float)p[2]) / 255;
        value *= mask->channels == 4 ? (float)p[3] / 255 : 1;
        out[i] = inverted ? 1 - value : value;
    }
}

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

sd_status sd_mask_blur(float *mask, uint32_t width, uint32_t height, float sigma, sd_error *err) {
    int radius = (int)(2.5f * sigma + 0.5f);
    float kernel[2 * 160 + 1], sum = 0;
    if (!radius)
        return SD_OK;
    float *half = malloc((size_t)height * width * sizeof *half);
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

void sd_mask_shrink(const float *mask, uint32_t width, uint32_t height, float *out) {
    for (uint32_t y = 0; y < height / 8; y++)
        for (uint32_t x = 0; x < width / 8; x++) {
            float sum = 0;
            for (uint32_t i = 0; i < 64; i++)
                sum += mask[((size_t)y * 8 + i / 8) * width + x * 8 + i % 8];
            out[(size_t)y * (width / 8) + x] = sum >= 32 ? 1 : 0;
        }
}

/* Makes a side at least `wanted` long, to both sides, within 0..most. */
static void grow(uint32_t *begin, uint32_t *length, uint32_t wanted, uint32_t most) {
    uint32_t all = wanted < most ? wanted : most;
    if (all <= *length)
        return;
    uint32_t before = (all - *length) / 2;
    *begin = *begin > before ? *begin - before : 0;
    *begin = *begin + all > most ? most - all : *begin;
    *length = all;
}

bool sd_mask_box(const float *mask, uint32_t of_width, uint32_t of_height, uint32_t padding, uint32_t width,
                 uint32_t height, struct sd_box *out) {
    uint32_t left = of_width, top = of_height, right = 0, bottom = 0;
    for (uint32_t y = 0; y < of_height; y++)
        for (uint32_t x = 0; x < of_width; x++)
            if (mask[(size_t)y * of_width + x] > 0) {
                left = x < left ? x : left;
                right = x + 1 > right ? x + 1 : right;
                top = y < top ? y : top;
                bottom = y + 1;
            }
    if (!bottom)
        return false;
    left = left > padding ? left - padding : 0;
    top = top > padding ? top - padding : 0;
    right = right + padding < of_width ? right + padding : of_width;
    bottom = bottom + padding < of_height ? bottom + padding : of_height;
    *out = (struct sd_box){left, top, right - left, bottom - top};
    double shape = (double)width / height, found = (double)out->width / out->height;
    if (found < shape)
        grow(&out->x, &out->width, (uint32_t)lround(out->height * shape), of_width);
    else
        grow(&out->y, &out->height, (uint32_t)lround(out->width / shape), of_height);
    return true;
}
