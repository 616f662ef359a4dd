/* Pictures between memory, files and the pipeline. */
#include "sd/sd.h"

#include "sd/io/image.h"
#include "sd/io/infotext.h"

#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* The picture's texts as parameters of an encoder. */
static sd_image_params params_of(const sd_output *output, sd_image_text texts[3]) {
    texts[0] = (sd_image_text){SD_TEXT_PARAMETERS, output->infotext};
    texts[1] = (sd_image_text){"sdvk", output->json};
    texts[2] = (sd_image_text){SD_TEXT_XMP, sd_xmp_generated};
    return (sd_image_params){.texts = texts, .text_count = 3};
}

sd_status sd_output_save(const sd_output *output, const char *path, sd_error *err) {
    const sd_picture *p = &output->picture;
    const sd_image image = {p->width, p->height, p->channels, p->pixels};
    sd_image_text texts[3];
    sd_image_params params = params_of(output, texts);
    if (ends_with(path, ".jpg") || ends_with(path, ".jpeg"))
        params.format = SD_IMAGE_JPEG;
    else if (!ends_with(path, ".png"))
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a name that ends in .png, .jpg or .jpeg", path);
    return sd_image_write(path, &image, &params, err);
}

static sd_status encode(const sd_picture *p, sd_image_params *params, const sd_encoding *encoding,
                        uint8_t **data, size_t *size, sd_error *err) {
    static const sd_encoding png;
    const sd_image image = {p->width, p->height, p->channels, p->pixels};
    sd_bytes bytes = {0};
    encoding = encoding ? encoding : &png;
    *data = NULL;
    *size = 0;
    if (encoding->quality > 100)
        return sd_fail(err, SD_E_ARGUMENT, "quality: expected 1 to 100, found %u", encoding->quality);
    params->format = encoding->jpeg ? SD_IMAGE_JPEG : SD_IMAGE_PNG;
    params->quality = (int)encoding->quality;
    sd_status status = sd_image_encode(&image, params, &bytes, err);
    *data = bytes.data;
    *size = bytes.size;
    return status;
}

sd_status sd_output_encode(const sd_output *output, const sd_encoding *encoding, uint8_t **data, size_t *size,
                           sd_error *err) {
    sd_image_text texts[3];
    sd_image_params params = params_of(output, texts);
    return encode(&output->picture, &params, encoding, data, size, err);
}

sd_status sd_picture_encode(const sd_picture *picture, const sd_encoding *encoding, uint8_t **data,
                            size_t *size, sd_error *err) {
    sd_image_params params = {0};
    return encode(picture, &params, encoding, data, size, err);
}

static sd_picture picture_of(sd_image image) {
    return (sd_picture){image.width, image.height, image.channels, image.pixels};
}

sd_status sd_picture_load(sd_picture *out, const char *path, sd_error *err) {
    sd_image image = {0};
    sd_status status = sd_image_read(path, 0, &image, NULL, err);
    *out = picture_of(image);
    return status;
}

sd_status sd_picture_decode(sd_picture *out, const char *label, const void *data, size_t size,
                            uint64_t max_pixels, sd_error *err) {
    sd_image image = {0};
    sd_status status = sd_image_decode(label, data, size, max_pixels, &image, NULL, err);
    *out = picture_of(image);
    return status;
}

void sd_picture_free(sd_picture *picture) {
    free(picture->pixels);
    *picture = (sd_picture){0};
}
