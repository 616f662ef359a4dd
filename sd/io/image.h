/* Pictures in files: PNG and JPEG, with the texts that image generators keep in them. */
#ifndef SD_IO_IMAGE_H
#define SD_IO_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "sd/base/arena.h"
#include "sd/base/status.h"
#include "sd/io/file.h"

enum {
    SD_IMAGE_SIDE = 16384,      /* the largest width or height, in pixels */
    SD_IMAGE_PIXELS = 64 << 20, /* the most pixels that are read unless the caller says otherwise */
    SD_IMAGE_TEXT = 4 << 20,    /* the most bytes of one text that are read */
};

/* 8-bit pixels, [height][width][channels], sRGB. 1 channel is grey, 3 RGB, 4 RGB and straight alpha. {0} is
 * no image. The pixels are on the heap and owned by whoever holds the struct. */
typedef struct sd_image {
    uint32_t width, height, channels;
    uint8_t *pixels;
} sd_image;

void sd_image_clear(sd_image *image);

/* Keys that mean something to other programs. */
#define SD_TEXT_PARAMETERS "parameters" /* A1111's text; JPEG keeps it in the Exif UserComment */
#define SD_TEXT_XMP "XML:com.adobe.xmp" /* an XMP packet */

/* The XMP packet that says that the picture was made by a trained model (IPTC digitalSourceType
 * trainedAlgorithmicMedia). */
extern const char sd_xmp_generated[];

typedef struct sd_image_text {
    const char *key;  /* PNG keyword: 1 to 79 printable ASCII characters, no space at the ends or twice */
    const char *text; /* UTF-8 */
} sd_image_text;

/* The texts of a picture in file order; {0} is none. Free with sd_image_texts_clear. */
typedef struct sd_image_texts {
    sd_arena arena;
    sd_image_text *items; /* [count], in the arena */
    size_t count, capacity;
} sd_image_texts;

void sd_image_texts_clear(sd_image_texts *texts);
const char *sd_image_texts_find(const sd_image_texts *texts, const char *key); /* NULL when absent */

/* Reads a PNG or JPEG, known by its first bytes and not by its name. Every kind of pixel becomes 8-bit RGB,
 * or RGBA where the file has transparency. `max_pixels` 0 means SD_IMAGE_PIXELS. `image` or `texts` may be
 * NULL; a text that is malformed or over SD_IMAGE_TEXT is left out. A picture that is cut short is an error.
 */
sd_status sd_image_read(const char *path, uint64_t max_pixels, sd_image *image, sd_image_texts *texts,
                        sd_error *err);

/* The same from memory; `label` begins the messages. */
sd_status sd_image_decode(const char *label, const void *data, size_t size, uint64_t max_pixels,
                          sd_image *image, sd_image_texts *texts, sd_error *err);

typedef enum sd_image_format { SD_IMAGE_PNG, SD_IMAGE_JPEG } sd_image_format;

typedef struct sd_image_params {
    sd_image_format format;
    int quality;          /* JPEG, 1 to 100; 0 means 90. From 90 on the colours are kept at full resolution */
    int compression;      /* PNG, zlib level 1 to 9; 0 means 6 */
    const uint16_t *wide; /* PNG: 16-bit samples in the image's shape, written instead of its 8-bit pixels */
    const sd_image_text *texts; /* [text_count]; keys must be unique */
    size_t text_count;
} sd_image_params;

/* Encodes into memory. The same input gives the same bytes with the same versions of libpng, zlib and
 * libjpeg-turbo: no time, host or program name is written. `params` may be NULL. JPEG drops alpha. It keeps
 * other texts than the two above as comments, "key=text", whose key must be of letters, digits, '.', '_' and
 * '-', and refuses a text that does not fit into one segment of 64 KiB. */
sd_status sd_image_encode(const sd_image *image, const sd_image_params *params, sd_bytes *out, sd_error *err);

/* Encodes and writes atomically. */
sd_status sd_image_write(const char *path, const sd_image *image, const sd_image_params *params,
                         sd_error *err);

#endif
