/* Masks as A1111 reads them: one with transparency counts by that alone. */
#include "server/a1111.h"

#include <stdlib.h>

/* An alpha above this is to be made anew. */
enum { threshold = 128 };

static bool is_transparent(const sd_picture *p) {
    size_t pixels = (size_t)p->width * p->height;
    for (size_t i = 0; p->channels == 4 && i < pixels; i++)
        if (p->pixels[4 * i + 3] < 255)
            return true;
    return false;
}

/* Turns alpha into black and white. */
static void take_alpha(sd_picture *p) {
    size_t pixels = (size_t)p->width * p->height;
    for (size_t i = 0; i < pixels; i++) {
        uint8_t value = p->pixels[4 * i + 3] > threshold ? 255 : 0;
        for (size_t c = 0; c < 3; c++)
            p->pixels[3 * i + c] = value;
    }
    p->channels = 3;
}

/* Whether every pixel is this bright. */
static bool is_flat(const sd_picture *p, uint8_t value) {
    size_t pixels = (size_t)p->width * p->height;
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            if (p->pixels[p->channels * i + c] != value)
                return false;
    return true;
}

static char *encode(const sd_picture *p) {
    uint8_t *data;
    size_t size;
    if (sd_picture_encode(p, NULL, &data, &size, NULL))
        return NULL;
    char *text = base64_encode(data, size);
    free(data);
    return text;
}

bool a1111_mask(const cJSON *fields, const struct config *config, char **mask, bool *blank,
                struct a1111_refusal *r) {
    sd_picture p = {0};
    size_t size;
    sd_error err;
    *mask = NULL;
    uint8_t *data = a1111_picture_bytes(fields, "mask", &size, r);
    if (!data)
        return false;
    sd_status status = sd_picture_decode(&p, "mask", data, size, (uint64_t)config->max_pixels * 1000, &err);
    free(data);
    if (status)
        return a1111_refuse(r, "mask", "%s", err.message);
    bool transparent = is_transparent(&p);
    if (transparent)
        take_alpha(&p);
    *blank = is_flat(&p, json_number(fields, "inpainting_mask_invert", 0) != 0 ? 255 : 0);
    bool fits = !transparent || (*mask = encode(&p));
    sd_picture_free(&p);
    return fits || a1111_refuse(r, "mask", "mask: out of memory");
}
