/* Pictures between memory, files and the pipeline. */
#include "sd/sd.h"

#include "sd/io/image.h"
#include "sd/io/infotext.h"
#include "sd/io/resize.h"

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

/* Copies `in` to width x height with its middle in the middle; edges go on outside. */
static sd_status centre(const sd_image *in, uint32_t width, uint32_t height, sd_image *out, sd_error *err) {
    size_t channels = in->channels;
    *out = (sd_image){width, height, in->channels, malloc((size_t)width * height * channels)};
    if (!out->pixels)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    int64_t left = ((int64_t)width - in->width) / 2, top = ((int64_t)height - in->height) / 2;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            int64_t fx = x - left, fy = y - top;
            fx = fx < 0 ? 0 : fx >= in->width ? in->width - 1 : fx;
            fy = fy < 0 ? 0 : fy >= in->height ? in->height - 1 : fy;
            memcpy(out->pixels + ((size_t)y * width + x) * channels,
                   in->pixels + ((size_t)fy * in->width + (size_t)fx) * channels, channels);
        }
    return SD_OK;
}

/* The size of the scaled picture: as it must be, or in its own shape round it or within it. */
static void scaled_size(const sd_picture *in, sd_resize mode, uint32_t *width, uint32_t *height) {
    double across = (double)*width / in->width, down = (double)*height / in->height;
    double scale = (mode == SD_RESIZE_CROP) == (across > down) ? across : down;
    if (mode == SD_RESIZE_STRETCH)
        return;
    double w = in->width * scale + 0.5, h = in->height * scale + 0.5;
    *width = w < 1 ? 1 : (uint32_t)w;
    *height = h < 1 ? 1 : (uint32_t)h;
}

sd_status sd_picture_resize(sd_picture *out, const sd_picture *in, uint32_t width, uint32_t height,
                            sd_resize mode, sd_error *err) {
    const sd_image from = {in->width, in->height, in->channels, in->pixels};
    sd_image scaled = {0}, image = {0};
    uint32_t w = width, h = height;
    *out = (sd_picture){0};
    scaled_size(in, mode, &w, &h);
    sd_status status = w == in->width && h == in->height ? centre(&from, w, h, &scaled, err)
                                                         : sd_image_resize(&from, w, h, &scaled, err);
    if (!status)
        status = centre(&scaled, width, height, &image, err);
    sd_image_clear(&scaled);
    *out = picture_of(image);
    return status;
}

void sd_picture_free(sd_picture *picture) {
    free(picture->pixels);
    *picture = (sd_picture){0};
}
