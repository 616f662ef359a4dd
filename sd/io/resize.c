#include "sd/io/resize.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846, lobes = 3;

static double lanczos(double x) {
    x = fabs(x);
    if (x < 1e-9)
        return 1;
    return x < lobes ? lobes * sin(pi * x) * sin(pi * x / lobes) / (pi * pi * x * x) : 0;
}

/* For each output position, the inputs from `first` on that it is a weighted mean of. */
struct taps {
    uint32_t most;
    uint32_t *first, *count;
    float *weights; /* [positions][most] */
};

static void clear_taps(struct taps *t) {
    free(t->first);
    free(t->count);
    free(t->weights);
}

static void fill_taps(struct taps *t, uint32_t i, uint32_t from, double scale, double reach) {
    double centre = (i + 0.5) * scale, stretch = scale > 1 ? scale : 1, sum = 0;
    double low = floor(centre - reach + 0.5), high = floor(centre + reach + 0.5);
    uint32_t first = low < 0 ? 0 : (uint32_t)low, last = high > from ? from : (uint32_t)high;
    float *weights = t->weights + (size_t)i * t->most;
    t->first[i] = first;
    t->count[i] = last - first;
    for (uint32_t k = first; k < last; k++)
        sum += lanczos((k + 0.5 - centre) / stretch);
    for (uint32_t k = first; k < last; k++)
        weights[k - first] = (float)(lanczos((k + 0.5 - centre) / stretch) / sum);
}

static bool make_taps(struct taps *t, uint32_t from, uint32_t to) {
    double scale = (double)from / to, reach = lobes * (scale > 1 ? scale : 1);
    *t = (struct taps){.most = 2 * (uint32_t)ceil(reach) + 1};
    t->first = calloc(to, sizeof *t->first);
    t->count = calloc(to, sizeof *t->count);
    t->weights = calloc((size_t)to * t->most, sizeof *t->weights);
    for (uint32_t i = 0; t->first && t->count && t->weights && i < to; i++)
        fill_taps(t, i, from, scale, reach);
    return t->first && t->count && t->weights;
}

/* Rows of `row` floats: each output row is a mean of input rows. */
static void mix_rows(const struct taps *t, const float *in, size_t row, float *out, uint32_t rows) {
    for (uint32_t y = 0; y < rows; y++) {
        float *to = out + y * row;
        memset(to, 0, row * sizeof *to);
        for (uint32_t k = 0; k < t->count[y]; k++) {
            const float *from = in + (t->first[y] + k) * row;
            float weight = t->weights[(size_t)y * t->most + k];
            for (size_t x = 0; x < row; x++)
                to[x] += weight * from[x];
        }
    }
}

static void mix_columns(const struct taps *t, const float *in, uint32_t channels, float *out,
                        uint32_t to_width) {
    for (uint32_t x = 0; x < to_width; x++)
        for (uint32_t c = 0; c < channels; c++) {
            float sum = 0;
            for (uint32_t k = 0; k < t->count[x]; k++)
                sum += t->weights[(size_t)x * t->most + k] * in[(size_t)(t->first[x] + k) * channels + c];
            out[(size_t)x * channels + c] = sum;
        }
}

static sd_status resize(const float *in, uint32_t width, uint32_t height, uint32_t channels, float *out,
                        uint32_t to_width, uint32_t to_height, sd_error *err) {
    struct taps across = {0}, down = {0};
    size_t row = (size_t)to_width * channels;
    float *half = malloc(row * height * sizeof *half);
    bool ready = half && make_taps(&across, width, to_width) && make_taps(&down, height, to_height);
    for (uint32_t y = 0; ready && y < height; y++)
        mix_columns(&across, in + (size_t)y * width * channels, channels, half + y * row, to_width);
    if (ready)
        mix_rows(&down, half, row, out, to_height);
    clear_taps(&across);
    clear_taps(&down);
    free(half);
    return ready ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

static sd_status check(uint32_t width, uint32_t height, sd_error *err) {
    if (width && height && width <= SD_IMAGE_SIDE && height <= SD_IMAGE_SIDE)
        return SD_OK;
    return sd_fail(err, SD_E_ARGUMENT, "expected a picture of 1 to %d pixels a side, found %u x %u",
                   SD_IMAGE_SIDE, width, height);
}

sd_status sd_plane_resize(const float *in, uint32_t width, uint32_t height, float *out, uint32_t to_width,
                          uint32_t to_height, sd_error *err) {
    sd_status status = check(to_width, to_height, err);
    return status ? status : resize(in, width, height, 1, out, to_width, to_height, err);
}

sd_status sd_image_resize(const sd_image *in, uint32_t width, uint32_t height, sd_image *out, sd_error *err) {
    size_t values = (size_t)in->width * in->height * in->channels,
           wanted = (size_t)width * height * in->channels;
    sd_status status = check(width, height, err);
    *out = (sd_image){0};
    if (status)
        return status;
    float *from = malloc(values * sizeof *from), *to = malloc(wanted * sizeof *to);
    uint8_t *pixels = malloc(wanted);
    if (!from || !to || !pixels)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < values && !status; i++)
        from[i] = in->pixels[i];
    if (!status)
        status = resize(from, in->width, in->height, in->channels, to, width, height, err);
    for (size_t i = 0; i < wanted && !status; i++)
        pixels[i] = (uint8_t)(to[i] <= 0 ? 0 : to[i] >= 255 ? 255 : to[i] + 0.5f);
    free(from);
    free(to);
    if (status)
        free(pixels);
    else
        *out = (sd_image){width, height, in->channels, pixels};
    return status;
}
