/* What the picture formats share. */
#ifndef SD_IO_IMAGE_INTERNAL_H
#define SD_IO_IMAGE_INTERNAL_H

#include <stdbool.h>

#include "sd/base/str.h"
#include "sd/io/image.h"

/* What every decoder is given. `image` or `texts` may be NULL. */
typedef struct sd_decode_job {
    const char *label;
    const uint8_t *data;
    size_t size;
    uint64_t max_pixels;
    sd_image *image;
    sd_image_texts *texts;
    sd_error *err;
} sd_decode_job;

sd_status sd_png_decode(const sd_decode_job *job);
sd_status sd_jpeg_decode(const sd_decode_job *job);
sd_status sd_png_encode(const sd_image *image, const sd_image_params *params, sd_str *out, sd_error *err);
sd_status sd_jpeg_encode(const sd_image *image, const sd_image_params *params, sd_str *out, sd_error *err);

/* Checks the size against the limits and allocates the pixels. */
sd_status sd_image_alloc(const sd_decode_job *job, uint64_t width, uint64_t height, uint32_t channels,
                         sd_image *out);

/* Appends a copy; `text` must be well-formed UTF-8 without NUL. False when memory runs out. */
bool sd_image_texts_add(sd_image_texts *texts, const char *key, const char *text, size_t size);

/* Latin-1 to UTF-8. */
void sd_latin1_to_utf8(sd_str *out, const uint8_t *bytes, size_t size);

/* True and the bytes appended when every character is at most U+00FF. */
bool sd_utf8_to_latin1(sd_str *out, const char *text);

/* The Exif block of a JPEG (after "Exif\0\0"): a UserComment in big-endian UTF-16, as piexif writes it. */
void sd_exif_build(sd_str *out, const char *comment);

/* The UserComment of such a block as UTF-8; false when it has none that can be read. */
bool sd_exif_comment(const uint8_t *data, size_t size, sd_str *out);
/* How the picture lies in the file, 1 to 8 (TIFF 6.0, Orientation); 1, upright, where it does not say. */
uint32_t sd_exif_orientation(const uint8_t *data, size_t size);

#endif
