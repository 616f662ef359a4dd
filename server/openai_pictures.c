/* The pictures of OpenAI's edits: their size, and masks the other way round. */
#include "server/openai_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sd_status decode(const cJSON *json, const char *native, const char *field, const struct config *config,
                        sd_picture *out, sd_error *err) {
    size_t size;
    uint8_t *data = base64_decode(json_text(json, native, ""), &size);
    if (!data)
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a picture as base64, found other characters", field);
    sd_status status = sd_picture_decode(out, field, data, size, (uint64_t)config->max_pixels * 1000, err);
    free(data);
    return status;
}

static bool has_transparency(const sd_picture *p) {
    size_t pixels = (size_t)p->width * p->height;
    for (size_t i = 0; p->channels == 4 && i < pixels; i++)
        if (p->pixels[4 * i + 3] < 255)
            return true;
    return false;
}

/* White where `p` is transparent, as a PNG in base64; NULL when memory runs out. */
static char *native_mask(const sd_picture *p) {
    size_t pixels = (size_t)p->width * p->height, size;
    sd_picture mask = {p->width, p->height, 3, malloc(3 * pixels)};
    uint8_t *png = NULL;
    if (!mask.pixels)
        return NULL;
    for (size_t i = 0; i < pixels; i++)
        memset(mask.pixels + 3 * i, 255 - p->pixels[4 * i + 3], 3);
    sd_status status = sd_picture_encode(&mask, NULL, &png, &size, NULL);
    char *text = status ? NULL : base64_encode(png, size);
    free(png);
    free(mask.pixels);
    return text;
}

/* What is transparent has no content to start from: it is made from noise alone unless asked otherwise. */
static sd_status set_mask(cJSON *json, const sd_picture *transparent, sd_error *err) {
    char *text = native_mask(transparent);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;
    free(text);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "mask");
    if (!item || !cJSON_AddItemToObject(json, "mask", item)) {
        cJSON_Delete(item);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    if (!json_get(json, "strength"))
        cJSON_AddNumberToObject(json, "strength", 1);
    return SD_OK;
}

static sd_status read_mask(cJSON *json, const struct config *config, const sd_picture *image, char *field,
                           sd_error *err) {
    sd_picture mask = {0};
    sd_status status = decode(json, "mask", "mask", config, &mask, err);
    if (!status && mask.channels != 4)
        status = sd_fail(
            err, SD_E_ARGUMENT,
            "mask: expected transparency where the picture is to change, found a picture without any");
    else if (!status && (mask.width != image->width || mask.height != image->height))
        status = sd_fail(err, SD_E_ARGUMENT, "mask: expected %u x %u pixels as the picture, found %u x %u",
                         image->width, image->height, mask.width, mask.height);
    if (status)
        snprintf(field, 64, "mask");
    else
        status = set_mask(json, &mask, err);
    sd_picture_free(&mask);
    return status;
}

/* The size that was asked for, or the picture's with what is beyond a multiple of 8 cut off. */
static void set_size(cJSON *json, const sd_picture *image) {
    if (!json_get(json, "width")) {
        cJSON_AddNumberToObject(json, "width", image->width / 8 * 8);
        cJSON_AddNumberToObject(json, "height", image->height / 8 * 8);
    }
    if (!json_get(json, "resize"))
        cJSON_AddStringToObject(json, "resize", "crop");
}

sd_status openai_pictures(struct openai_request *r, const struct config *config, char *field, sd_error *err) {
    sd_picture image = {0};
    cJSON *json = r->json;
    if (!json_get(json, "init_image"))
        return SD_OK;
    sd_status status = decode(json, "init_image", "image", config, &image, err);
    if (status)
        snprintf(field, 64, "image");
    else
        set_size(json, &image);
    if (!status && json_get(json, "mask"))
        status = read_mask(json, config, &image, field, err);
    else if (!status && r->call == OPENAI_EDITS && has_transparency(&image))
        status = set_mask(json, &image, err);
    sd_picture_free(&image);
    return status;
}
