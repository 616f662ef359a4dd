#include "sd/sample/noise.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sd/base/checked.h"
#include "sd/base/thread.h"
#include "sd/sample/brownian.h"

/* One question to the paths. */
struct question {
    float from, to, *out;
};

struct sd_noise {
    size_t images, values, channels;
    sd_rng *streams;     /* [images] */
    sd_brownian **paths; /* [images], NULL before sd_noise_path_begin */
    float *drawn;        /* [values], before the change of layout */
    pthread_t thread;
    bool running;  /* it works on `ahead` */
    bool answered; /* `ahead` was, in its `out` */
    struct question ahead;
};

sd_status sd_noise_create(sd_noise **out, const sd_noise_params *p, sd_error *err) {
    *out = NULL;
    uint64_t bytes;
    size_t channels = p->channels ? p->channels : 1;
    if (!p->seeds || p->images == 0 || p->values == 0 || p->values % channels)
        return sd_fail(err, SD_E_ARGUMENT,
                       "noise: expected seeds and a multiple of %zu values, found %zu x %zu", channels,
                       p->images, p->values);
    if (!sd_mul_u64(p->images, p->values, &bytes) || !sd_mul_u64(bytes, sizeof(float), &bytes) ||
        bytes > SIZE_MAX)
        return sd_fail(err, SD_E_ARGUMENT, "noise: %zu x %zu values do not fit in memory", p->images,
                       p->values);
    sd_noise *noise = calloc(1, sizeof *noise);
    if (!noise)
        goto error;
    noise->images = p->images, noise->values = p->values, noise->channels = channels;
    noise->streams = calloc(p->images, sizeof *noise->streams);
    noise->paths = calloc(p->images, sizeof(sd_brownian *));
    noise->drawn = malloc(p->values * sizeof(float));
    if (!noise->streams || !noise->paths || !noise->drawn)
        goto error;
    for (size_t i = 0; i < p->images; i++)
        sd_rng_init(&noise->streams[i], p->kind, p->seeds[i]);
    *out = noise;
    return SD_OK;

error:
    sd_noise_destroy(&noise);
    return sd_fail(err, SD_E_MEMORY, "noise of %zu values: out of memory", p->values);
}

void sd_noise_destroy(sd_noise **noise) {
    if (!noise || !*noise)
        return;
    sd_noise_settle(*noise);
    for (size_t i = 0; (*noise)->paths && i < (*noise)->images; i++)
        sd_brownian_destroy(&(*noise)->paths[i]);
    free((*noise)->paths);
    free((*noise)->streams);
    free((*noise)->drawn);
    free(*noise);
    *noise = NULL;
}

size_t sd_noise_count(const sd_noise *noise) {
    return noise->images * noise->values;
}

/* drawn [channels, pixels] to out [pixels, channels], times `scale`. */
static void deliver(const sd_noise *noise, float scale, float *out) {
    size_t channels = noise->channels, pixels = noise->values / channels;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++)
            out[i * channels + c] = noise->drawn[c * pixels + i] * scale;
}

void sd_noise_randn(sd_noise *noise, float *out) {
    sd_noise_settle(noise);
    for (size_t i = 0; i < noise->images; i++) {
        sd_rng_randn(&noise->streams[i], noise->drawn, noise->values);
        deliver(noise, 1, out + i * noise->values);
    }
}

sd_status sd_noise_path_begin(sd_noise *noise, float sigma_min, float sigma_max, sd_error *err) {
    sd_noise_settle(noise);
    noise->answered = false;
    for (size_t i = 0; i < noise->images; i++) {
        sd_brownian_destroy(&noise->paths[i]);
        sd_status status = sd_brownian_create(&noise->paths[i], noise->streams[i].seed, sigma_min, sigma_max,
                                              noise->values, err);
        if (status != SD_OK)
            return status;
    }
    return SD_OK;
}

static sd_status answer(sd_noise *noise, const struct question *q, sd_error *err) {
    float scale = -1 / sqrtf(q->from - q->to);
    for (size_t i = 0; i < noise->images; i++) {
        if (!noise->paths[i])
            return sd_fail(err, SD_E_INTERNAL, "noise: the path was not begun");
        sd_status status = sd_brownian_increment(noise->paths[i], q->to, q->from, noise->drawn, err);
        if (status != SD_OK)
            return status;
        deliver(noise, scale, q->out + i * noise->values);
    }
    return SD_OK;
}

/* A failure is found again, with its message, by the one who asks. */
static void *answer_ahead(void *user) {
    sd_noise *noise = user;
    noise->answered = answer(noise, &noise->ahead, NULL) == SD_OK;
    return NULL;
}

void sd_noise_path_ahead(sd_noise *noise, float from, float to, float *out) {
    sd_noise_settle(noise);
    noise->ahead = (struct question){from, to, out};
    noise->answered = false;
    noise->running = sd_thread_start(&noise->thread, answer_ahead, noise);
}

void sd_noise_settle(sd_noise *noise) {
    if (noise->running)
        pthread_join(noise->thread, NULL);
    noise->running = false;
}

sd_status sd_noise_path(sd_noise *noise, float from, float to, float *out, sd_error *err) {
    const struct question q = {from, to, out}, *ahead = &noise->ahead;
    sd_noise_settle(noise);
    bool answered = noise->answered && ahead->from == from && ahead->to == to && ahead->out == out;
    noise->answered = false;
    return answered ? SD_OK : answer(noise, &q, err);
}
