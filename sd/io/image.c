#include "sd/io/image.h"

#include "sd/base/checked.h"
#include "sd/io/image_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char sd_xmp_generated[] =
    "<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>"
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF "
    "xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
    "<rdf:Description rdf:about=\"\" xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\" "
    "Iptc4xmpExt:DigitalSourceType=\"http://cv.iptc.org/newscodes/digitalsourcetype/"
    "trainedAlgorithmicMedia\"/>"
    "</rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>";

void sd_image_clear(sd_image *image) {
    free(image->pixels);
    *image = (sd_image){0};
}

void sd_image_texts_clear(sd_image_texts *texts) {
    sd_arena_clear(&texts->arena);
    *texts = (sd_image_texts){0};
}

const char *sd_image_texts_find(const sd_image_texts *texts, const char *key) {
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i].key, key) == 0)
            return texts->items[i].text;
    return NULL;
}

bool sd_image_texts_add(sd_image_texts *texts, const char *key, const char *text, size_t size) {
    if (texts->count == texts->capacity) {
        size_t capacity = texts->capacity ? 2 * texts->capacity : 8;
        sd_image_text *grown = sd_arena_array(&texts->arena, capacity, sizeof *grown);
        if (!grown)
            return false;
        if (texts->count)
            memcpy(grown, texts->items, texts->count * sizeof *grown);
        texts->items = grown;
        texts->capacity = capacity;
    }
    char *name = sd_arena_strdup(&texts->arena, key), *copy = sd_arena_alloc(&texts->arena, size + 1);
    if (!name || !copy)
        return false;
    if (size)
        memcpy(copy, text, size);
    texts->items[texts->count++] = (sd_image_text){name, copy};
    return true;
}

void sd_latin1_to_utf8(sd_str *out, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char two[2] = {(char)(0xC0 | bytes[i] >> 6), (char)(0x80 | (bytes[i] & 0x3F))};
        if (bytes[i] < 0x80)
            sd_str_append_bytes(out, bytes + i, 1);
        else
            sd_str_append_bytes(out, two, 2);
    }
}

bool sd_utf8_to_latin1(sd_str *out, const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        unsigned char c = *p;
        if (c > 0xC3)
            return false;
        if (c >= 0xC2)
            c = (unsigned char)((c & 3) << 6 | (*++p & 0x3F));
        sd_str_append_bytes(out, &c, 1);
    }
    return true;
}

sd_status sd_image_alloc(const sd_decode_job *job, uint64_t width, uint64_t height, uint32_t channels,
                         sd_image *out) {
    uint64_t pixels, bytes, limit = job->max_pixels ? job->max_pixels : SD_IMAGE_PIXELS;
    if (width > SD_IMAGE_SIDE || height > SD_IMAGE_SIDE)
        return sd_fail(job->err, SD_E_UNSUPPORTED,
                       "%s: expected at most %d pixels a side, found %" PRIu64 " x %" PRIu64, job->label,
                       SD_IMAGE_SIDE, width, height);
    if (!sd_mul_u64(width, height, &pixels) || pixels > limit || !sd_mul_u64(pixels, channels, &bytes) ||
        bytes > SIZE_MAX)
        return sd_fail(job->err, SD_E_UNSUPPORTED,
                       "%s: expected at most %" PRIu64 " pixels, found %" PRIu64 " x %" PRIu64, job->label,
                       limit, width, height);
    if (!pixels)
        return sd_fail(job->err, SD_E_FORMAT, "%s: the picture has no pixels", job->label);
    uint8_t *memory = malloc((size_t)bytes);
    if (!memory)
        return sd_fail(job->err, SD_E_MEMORY, "%s: no memory for %" PRIu64 " x %" PRIu64 " pixels",
                       job->label, width, height);
    *out = (sd_image){(uint32_t)width, (uint32_t)height, channels, memory};
    return SD_OK;
}

typedef struct magic {
    size_t offset, size;
    const char *bytes, *name;
    sd_status (*decode)(const sd_decode_job *job);
} magic;

static const magic kinds[] = {
    {0, 8, "\x89PNG\r\n\x1A\n", "PNG", sd_png_decode},
    {0, 3, "\xFF\xD8\xFF", "JPEG", sd_jpeg_decode},
    {8, 4, "WEBP", "a WebP picture", NULL},
    {0, 4, "GIF8", "a GIF picture", NULL},
    {0, 2, "BM", "a BMP picture", NULL},
    {0, 4, "II*\0", "a TIFF picture", NULL},
    {0, 4, "MM\0*", "a TIFF picture", NULL},
    {4, 8, "ftypavif", "an AVIF picture", NULL},
    {4, 8, "ftypheic", "a HEIC picture", NULL},
    {0, 2, "\xFF\x0A", "a JPEG XL picture", NULL},
    {0, 5, "<?xml", "XML text", NULL},
    {0, 4, "<svg", "an SVG picture", NULL},
    {0, 4, "%PDF", "a PDF file", NULL},
    {0, 4, "GGUF", "a GGUF model", NULL},
    {0, 4, "PK\3\4", "a zip archive", NULL},
    {8, 2, "{\"", "a safetensors model", NULL},
};

static sd_status unknown(const sd_decode_job *job) {
    char hex[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < job->size; i++) {
        static const char digits[] = "0123456789ABCDEF";
        char one[4] = {' ', digits[job->data[i] >> 4], digits[job->data[i] & 15], 0};
        strcat(hex, one + (i == 0));
    }
    if (!job->size)
        return sd_fail(job->err, SD_E_FORMAT, "%s: the file is empty", job->label);
    return sd_fail(job->err, SD_E_FORMAT,
                   "%s: expected a PNG or JPEG picture, found a file that begins with %s", job->label, hex);
}

sd_status sd_image_decode(const char *label, const void *data, size_t size, uint64_t max_pixels,
                          sd_image *image, sd_image_texts *texts, sd_error *err) {
    const sd_decode_job job = {label, data, size, max_pixels, image, texts, err};
    if (image)
        *image = (sd_image){0};
    if (texts)
        *texts = (sd_image_texts){0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const magic *m = &kinds[i];
        if (size < m->offset + m->size || memcmp(job.data + m->offset, m->bytes, m->size) != 0)
            continue;
        if (!m->decode)
            return sd_fail(err, SD_E_FORMAT, "%s: expected a PNG or JPEG picture, found %s", label, m->name);
        sd_status status = m->decode(&job);
        if (status && image)
            sd_image_clear(image);
        if (status && texts)
            sd_image_texts_clear(texts);
        return status;
    }
    return unknown(&job);
}

sd_status sd_image_read(const char *path, uint64_t max_pixels, sd_image *image, sd_image_texts *texts,
                        sd_error *err) {
    sd_mapping map;
    if (image)
        *image = (sd_image){0};
    if (texts)
        *texts = (sd_image_texts){0};
    sd_status status = sd_file_map(path, (uint64_t)1 << 30, &map, err);
    if (status)
        return status;
    status = sd_image_decode(path, map.data, map.size, max_pixels, image, texts, err);
    sd_file_unmap(&map);
    return status;
}

static bool keyword_valid(const char *key) {
    size_t n = key ? strlen(key) : 0;
    if (!n || n > 79 || key[0] == ' ' || key[n - 1] == ' ')
        return false;
    for (size_t i = 0; i < n; i++)
        if (key[i] < 0x20 || key[i] > 0x7E || (key[i] == ' ' && key[i + 1] == ' '))
            return false;
    return true;
}

static sd_status check(const sd_image *image, const sd_image_params *p, sd_error *err) {
    if (!image->pixels && !p->wide)
        return sd_fail(err, SD_E_ARGUMENT, "the image has no pixels");
    if (!image->width || !image->height || image->width > SD_IMAGE_SIDE || image->height > SD_IMAGE_SIDE)
        return sd_fail(err, SD_E_ARGUMENT, "expected an image of 1 to %d pixels a side, found %u x %u",
                       SD_IMAGE_SIDE, (unsigned)image->width, (unsigned)image->height);
    if (image->channels != 1 && image->channels != 3 && image->channels != 4)
        return sd_fail(err, SD_E_ARGUMENT, "expected an image of 1, 3 or 4 channels, found %u",
                       (unsigned)image->channels);
    if (p->quality < 0 || p->quality > 100)
        return sd_fail(err, SD_E_ARGUMENT, "expected a JPEG quality of 1 to 100, found %d", p->quality);
    if (p->compression < 0 || p->compression > 9)
        return sd_fail(err, SD_E_ARGUMENT, "expected a PNG compression of 1 to 9, found %d", p->compression);
    if (p->format != SD_IMAGE_PNG && p->format != SD_IMAGE_JPEG)
        return sd_fail(err, SD_E_ARGUMENT, "unknown picture format %d", (int)p->format);
    if (p->wide && p->format != SD_IMAGE_PNG)
        return sd_fail(err, SD_E_ARGUMENT, "only PNG holds 16 bits a channel");
    for (size_t i = 0; i < p->text_count; i++) {
        const sd_image_text *t = &p->texts[i];
        if (!keyword_valid(t->key))
            return sd_fail(err, SD_E_ARGUMENT, "a text's key must be 1 to 79 printable ASCII characters");
        if (!t->text || !sd_utf8_valid(t->text, strlen(t->text)))
            return sd_fail(err, SD_E_ARGUMENT, "the text '%s' is not well-formed UTF-8", t->key);
        for (size_t k = 0; k < i; k++)
            if (strcmp(p->texts[k].key, t->key) == 0)
                return sd_fail(err, SD_E_ARGUMENT, "the text '%s' is given twice", t->key);
    }
    return SD_OK;
}

sd_status sd_image_encode(const sd_image *image, const sd_image_params *params, sd_bytes *out,
                          sd_error *err) {
    const sd_image_params defaults = {0};
    /* 64-bit sizes: 16,384 squared at 8 bytes a pixel is 2 GiB before compression. */
    sd_str bytes = {.limit = (size_t)1 << (sizeof(size_t) > 4 ? 33 : 30)};
    *out = (sd_bytes){0};
    if (!params)
        params = &defaults;
    sd_status status = check(image, params, err);
    if (status)
        return status;
    status = params->format == SD_IMAGE_PNG ? sd_png_encode(image, params, &bytes, err)
                                            : sd_jpeg_encode(image, params, &bytes, err);
    if (!status && bytes.failed)
        status = sd_fail(err, SD_E_MEMORY, "no memory to encode a picture of %u x %u pixels",
                         (unsigned)image->width, (unsigned)image->height);
    if (status) {
        sd_str_clear(&bytes);
        return status;
    }
    *out = (sd_bytes){(uint8_t *)bytes.text, bytes.size};
    return SD_OK;
}

sd_status sd_image_write(const char *path, const sd_image *image, const sd_image_params *params,
                         sd_error *err) {
    sd_bytes bytes;
    sd_error inner = {0};
    sd_status status = sd_image_encode(image, params, &bytes, &inner);
    if (status)
        return sd_fail(err, status, "%s: cannot be written: %s", path, inner.message);
    status = sd_file_write(path, bytes.data, bytes.size, err);
    sd_bytes_clear(&bytes);
    return status;
}
