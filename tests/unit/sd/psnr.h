/* Latents and pictures compared with goldens in dB. */
#ifndef SD_TESTS_PSNR_H
#define SD_TESTS_PSNR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sd/io/image.h"
#include "sd/io/safetensors.h"
#include "sd/sd.h"

/* Peak signal-to-noise ratio in dB of values whose range is `peak`. */
static inline double psnr(const float *got, const float *want, size_t count, double peak) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    return sum > 0 ? 10 * log10(peak * peak * (double)count / sum) : 999;
}

static inline double psnr_bytes(const uint8_t *got, const uint8_t *want, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)count / sum) : 999;
}

/* A golden [1,c,h,w] tensor as [h][w][c]. */
static inline float *channels_last(const sd_safetensors *file, const char *name, size_t *count) {
    const sd_file_tensor *t = sd_safetensors_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, SD_FILE_F32);
    assert_int_equal(t->rank, 4);
    size_t c = t->shape[1], area = t->shape[2] * t->shape[3];
    float *out = malloc(c * area * sizeof *out), value;
    for (size_t k = 0; k < c; k++)
        for (size_t p = 0; p < area; p++) {
            memcpy(&value, t->data + (k * area + p) * 4, 4);
            out[p * c + k] = value;
        }
    *count = c * area;
    return out;
}

/* Against the golden's largest value. */
static inline void check_latent(const sd_safetensors *golden, const char *tensor, const float *got,
                                size_t values, double least) {
    size_t count;
    double high = 0;
    float *want = channels_last(golden, tensor, &count);
    assert_int_equal(values, count);
    for (size_t i = 0; i < count; i++)
        high = fmax(high, fabs((double)want[i]));
    double found = psnr(got, want, count, high);
    print_message("%s: %.1f dB\n", tensor, found);
    if (!(found >= least))
        fail_msg("%s: %.1f dB, expected at least %.1f", tensor, found, least);
    free(want);
}

static inline void check_picture(const char *name, const sd_picture *got, const sd_image *want,
                                 double least) {
    assert_int_equal(got->width, want->width);
    assert_int_equal(got->height, want->height);
    double found = psnr_bytes(got->pixels, want->pixels, (size_t)got->width * got->height * 3);
    print_message("%s: %.1f dB\n", name, found);
    if (!(found >= least))
        fail_msg("%s: %.1f dB, expected at least %.1f", name, found, least);
}

#endif
