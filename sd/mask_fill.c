#include "sd/mask.h"

#include <math.h>
#include <stdlib.h>

/* Colour times weight, and weight, of a picture of half the size each. */
struct level {
    uint32_t width, height;
    float *values; /* [height][width][4] */
};

enum { levels_most = 16 };

static bool make_level(struct level *l, uint32_t width, uint32_t height) {
    *l = (struct level){width, height, calloc((size_t)width * height * 4, sizeof(float))};
    return l->values != NULL;
}

static float *at(const struct level *l, uint32_t x, uint32_t y) {
    return l->values +
           ((size_t)(y < l->height ? y : l->height - 1) * l->width + (x < l->width ? x : l->width - 1)) * 4;
}

/* Sums of four; the weight saturates, so that one known pixel speaks for its square. */
static void pull(const struct level *fine, struct level *coarse) {
    for (uint32_t y = 0; y < coarse->height; y++)
        for (uint32_t x = 0; x < coarse->width; x++) {
            float *to = at(coarse, x, y), sum[4] = {0};
            for (uint32_t i = 0; i < 4; i++)
                if (2 * x + i % 2 < fine->width && 2 * y + i / 2 < fine->height)
                    for (int c = 0; c < 4; c++)
                        sum[c] += at(fine, 2 * x + i % 2, 2 * y + i / 2)[c];
            float scale = sum[3] > 1 ? 1 / sum[3] : 1;
            for (int c = 0; c < 4; c++)
                to[c] = sum[c] * scale;
        }
}

/* A colour between the centres of the coarse pixels. */
static void between(const struct level *coarse, uint32_t x, uint32_t y, float out[3]) {
    float fx = fmaxf(((float)x + 0.5f) / 2 - 0.5f, 0), fy = fmaxf(((float)y + 0.5f) / 2 - 0.5f, 0);
    uint32_t ix = (uint32_t)fx, iy = (uint32_t)fy;
    fx -= (float)ix;
    fy -= (float)iy;
    for (int c = 0; c < 3; c++) {
        float top = at(coarse, ix, iy)[c] * (1 - fx) + at(coarse, ix + 1, iy)[c] * fx;
        float low = at(coarse, ix, iy + 1)[c] * (1 - fx) + at(coarse, ix + 1, iy + 1)[c] * fx;
        out[c] = top * (1 - fy) + low * fy;
    }
}

/* What is not known takes the coarser colour; all weights are 1 then. */
static void push(const struct level *coarse, struct level *fine) {
    for (uint32_t y = 0; y < fine->height; y++)
        for (uint32_t x = 0; x < fine->width; x++) {
            float *to = at(fine, x, y), colour[3] = {0};
            if (coarse)
                between(coarse, x, y, colour);
            for (int c = 0; c < 3; c++)
                to[c] += (1 - to[3]) * colour[c];
            to[3] = 1;
        }
}

sd_status sd_mask_fill(sd_picture *picture, const float *mask, sd_error *err) {
    struct level levels[levels_most] = {{0}};
    size_t count = (size_t)picture->width * picture->height;
    int last = 0;
    bool ready = make_level(&levels[0], picture->width, picture->height);
    for (size_t i = 0; ready && i < count; i++) {
        levels[0].values[i * 4 + 3] = mask[i] < 0.5f;
        for (uint32_t c = 0; c < 3 && mask[i] < 0.5f; c++)
            levels[0].values[i * 4 + c] = picture->pixels[i * picture->channels + c];
    }
    for (; ready && levels[last].width * levels[last].height > 1; last++) {
        const struct level *l = &levels[last];
        if ((ready = make_level(&levels[last + 1], (l->width + 1) / 2, (l->height + 1) / 2)))
            pull(l, &levels[last + 1]);
    }
    for (int l = last; ready && l >= 0; l--)
        push(l == last ? NULL : &levels[l + 1], &levels[l]);
    for (size_t i = 0; ready && i < count; i++)
        for (uint32_t c = 0; c < 3 && mask[i] >= 0.5f; c++)
            picture->pixels[i * picture->channels + c] = (uint8_t)lrintf(levels[0].values[i * 4 + c]);
    for (int l = 0; l < levels_most; l++)
        free(levels[l].values);
    return ready ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}
