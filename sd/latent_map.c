#include "sd/latent_map.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { neighbours = 9 };

static uint32_t beside(uint32_t at, uint32_t shift, uint32_t side) {
    return shift == 0 && at ? at - 1 : shift == 2 && at + 1 < side ? at + 1 : at;
}

/* What the map reads of one pixel, [9 * channels + 1]; the edges are continued. */
static void gather(const float *latent, uint32_t h, uint32_t w, uint32_t channels, uint32_t y, uint32_t x,
                   float *out) {
    for (uint32_t i = 0; i < neighbours; i++, out += channels) {
        uint32_t row = beside(y, i / 3, h), column = beside(x, i % 3, w);
        memcpy(out, latent + ((size_t)row * w + column) * channels, channels * sizeof *out);
    }
    *out = 1;
}

/* The normal equations: a [n][n], of which the lower triangle is filled, and b [n][3]. */
static void add_pixel(const float *in, const float *colour, size_t n, double *a, double *b) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++)
            a[i * n + j] += (double)in[i] * (double)in[j];
        for (size_t c = 0; c < 3; c++)
            b[i * 3 + c] += (double)in[i] * (double)colour[c];
    }
}

/* a becomes its Cholesky factor. */
static void factorise(double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
}

/* b becomes the solution. */
static void solve(const double *a, size_t n, double *b) {
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) {
            for (size_t k = 0; k < i; k++)
                b[i * 3 + c] -= a[i * n + k] * b[k * 3 + c];
            b[i * 3 + c] /= a[i * n + i];
        }
    for (size_t i = n; i-- > 0;)
        for (size_t c = 0; c < 3; c++) {
            for (size_t k = i + 1; k < n; k++)
                b[i * 3 + c] -= a[k * n + i] * b[k * 3 + c];
            b[i * 3 + c] /= a[i * n + i];
        }
}

sd_status sd_latent_map_fit(struct sd_latent_map *out, const float *latent, const float *colours, uint32_t h,
                            uint32_t w, uint32_t channels, sd_error *err) {
    size_t n = (size_t)neighbours * channels + 1, pixels = (size_t)h * w;
    /* So small that it changes no colour by a level; with it every matrix has a factor. */
    const double ridge = 1e-5 * (double)pixels;
    double *a = calloc(n * n, sizeof *a), *b = calloc(n * 3, sizeof *b);
    float *in = malloc(n * sizeof *in), *weights = malloc(n * 3 * sizeof *weights);
    bool ready = a && b && in && weights;
    *out = (struct sd_latent_map){0};
    if (ready) {
        for (size_t i = 0; i < n; i++)
            a[i * n + i] = ridge;
        for (size_t i = 0; i < pixels; i++) {
            gather(latent, h, w, channels, (uint32_t)(i / w), (uint32_t)(i % w), in);
            add_pixel(in, colours + i * 3, n, a, b);
        }
        factorise(a, n);
        solve(a, n, b);
        for (size_t i = 0; i < n * 3; i++)
            weights[i] = (float)b[i];
        *out = (struct sd_latent_map){channels, weights};
    } else
        free(weights);
    free(a);
    free(b);
    free(in);
    return ready ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

void sd_latent_map_clear(struct sd_latent_map *map) {
    free(map->weights);
    *map = (struct sd_latent_map){0};
}

/* Adds what one neighbour, or the constant, gives to the three colours. */
static void add(const float *in, uint32_t count, const float *weights, float colour[3]) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t c = 0; c < 3; c++)
            colour[c] += in[i] * weights[i * 3 + c];
}

void sd_latent_map_apply(const struct sd_latent_map *map, const float *latent, uint32_t h, uint32_t w,
                         float *colours) {
    uint32_t channels = map->channels;
    const float *constant = map->weights + (size_t)neighbours * channels * 3;
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++, colours += 3) {
            memcpy(colours, constant, 3 * sizeof *colours);
            for (uint32_t i = 0; i < neighbours; i++)
                add(latent + ((size_t)beside(y, i / 3, h) * w + beside(x, i % 3, w)) * channels, channels,
                    map->weights + (size_t)i * channels * 3, colours);
            for (uint32_t c = 0; c < 3; c++)
                colours[c] = fminf(fmaxf(colours[c], 0), 255);
        }
}
