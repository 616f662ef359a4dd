#include "sd/io/image_internal.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* A wrong text chunk may be left out, but 1,000 of them must not each unpack to megabytes. */
enum { most_chunks = 64 };

/* Everything that must survive a longjmp lives here, in the frame that calls setjmp's function. */
typedef struct png_job {
    const sd_decode_job *in;
    size_t at; /* bytes of `in` that libpng took */
    sd_str *out;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    sd_image image;
    sd_status status;
    bool out_of_memory; /* an allocation failed, even one that libpng took lightly */
    char reason[128];
} png_job;

static void on_error(png_structp png, png_const_charp message) {
    png_job *p = png_get_error_ptr(png);
    size_t n = strlen(message);
    if (n >= sizeof p->reason)
        n = sizeof p->reason - 1;
    memcpy(p->reason, message, n);
    p->reason[n] = 0;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size) {
    png_job *p = png_get_mem_ptr(png);
    void *memory = malloc(size);
    p->out_of_memory = p->out_of_memory || !memory;
    return memory;
}

static void release(png_structp png, png_voidp memory) {
    (void)png;
    free(memory);
}

static void take(png_structp png, png_bytep data, size_t size) {
    png_job *p = png_get_io_ptr(png);
    if (size > p->in->size - p->at)
        png_error(png, "the file is cut short");
    memcpy(data, p->in->data + p->at, size);
    p->at += size;
}

static void put(png_structp png, png_bytep data, size_t size) {
    png_job *p = png_get_io_ptr(png);
    sd_str_append_bytes(p->out, data, size);
}

static void flush(png_structp png) {
    (void)png;
}

/* Has libpng deliver RGB or RGBA with 8 bits, whatever the file holds. */
static void set_transforms(png_job *p) {
    png_byte type = png_get_color_type(p->png, p->info);
    png_set_expand(p->png);
    png_set_scale_16(p->png);
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(p->png);
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
}

static void make_rows(png_job *p, uint8_t *pixels, size_t stride, uint32_t height) {
    p->rows = malloc(height * sizeof(*p->rows));
    if (!p->rows) {
        p->out_of_memory = true;
        png_error(p->png, "no memory for its rows");
    }
    for (uint32_t y = 0; y < height; y++)
        p->rows[y] = pixels + y * stride;
}

static void read_pixels(png_job *p) {
    uint32_t width = png_get_image_width(p->png, p->info), height = png_get_image_height(p->png, p->info);
    uint32_t channels = png_get_channels(p->png, p->info);
    size_t stride = png_get_rowbytes(p->png, p->info);
    p->status = sd_image_alloc(p->in, width, height, channels, &p->image);
    if (p->status)
        png_longjmp(p->png, 1);
    if (stride != (size_t)width * channels)
        png_error(p->png, "unexpected row size");
    make_rows(p, p->image.pixels, stride, height);
    png_read_image(p->png, p->rows);
}

/* tEXt is Latin-1 by the specification, but some programs write UTF-8 into it: what is well-formed UTF-8 is
 * taken as such. The encoder below never writes a tEXt that this could mistake. */
static bool add_text(sd_image_texts *texts, const png_text *t) {
    bool international = t->compression >= PNG_ITXT_COMPRESSION_NONE;
    size_t size = international ? t->itxt_length : t->text_length;
    sd_str converted = {.limit = 2 * (size_t)SD_IMAGE_TEXT + 2}, key = {0};
    const char *text = t->text ? t->text : "";
    bool ok = true;
    if (size > SD_IMAGE_TEXT || memchr(text, 0, size))
        return true;
    bool utf8 = sd_utf8_valid(text, size);
    if (!utf8 && international)
        return true;
    if (!utf8)
        sd_latin1_to_utf8(&converted, (const uint8_t *)text, size);
    sd_latin1_to_utf8(&key, (const uint8_t *)t->key, strlen(t->key));
    ok = !converted.failed && !key.failed &&
         sd_image_texts_add(texts, key.text ? key.text : "", utf8 ? text : converted.text,
                            utf8 ? size : converted.size);
    sd_str_clear(&converted);
    sd_str_clear(&key);
    return ok;
}

static void read_texts(png_job *p) {
    png_textp list = NULL;
    int count = 0;
    png_get_text(p->png, p->info, &list, &count);
    for (int i = 0; i < count && p->in->texts; i++)
        if (!add_text(p->in->texts, &list[i])) {
            p->out_of_memory = true;
            return;
        }
}

/* libpng allocates what a chunk says it holds before it reads it, so every length is held against the file
 * first. */
static bool chunks_complete(const sd_decode_job *job) {
    for (size_t at = 8; job->size - at >= 12;) {
        const uint8_t *c = job->data + at;
        size_t length = (size_t)c[0] << 24 | (size_t)c[1] << 16 | (size_t)c[2] << 8 | c[3];
        if (length > job->size - at - 12)
            return false;
        if (memcmp(c + 4, "IEND", 4) == 0)
            return true;
        at += 12 + length;
    }
    return false;
}

static bool decode(png_job *p) {
    if (setjmp(png_jmpbuf(p->png)))
        return false;
    png_set_read_fn(p->png, p, take);
    png_set_user_limits(p->png, SD_IMAGE_SIDE, SD_IMAGE_SIDE);
    png_set_chunk_malloc_max(p->png, SD_IMAGE_TEXT + 1024);
    png_set_chunk_cache_max(p->png, most_chunks);
    png_read_info(p->png, p->info);
    set_transforms(p);
    if (p->in->image)
        read_pixels(p);
    png_read_end(p->png, p->info);
    read_texts(p);
    return true;
}

sd_status sd_png_decode(const sd_decode_job *job) {
    png_job p = {.in = job};
    p.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning, &p, allocate, release);
    p.info = p.png ? png_create_info_struct(p.png) : NULL;
    sd_status status = SD_OK;
    bool complete = chunks_complete(job), ok = p.info && complete && decode(&p);
    if (!complete)
        status = sd_fail(job->err, SD_E_FORMAT, "%s: broken PNG: the file is cut short", job->label);
    else if (!p.info || p.out_of_memory)
        status = sd_fail(job->err, SD_E_MEMORY, "%s: no memory to read a PNG", job->label);
    else if (!ok)
        status =
            p.status ? p.status : sd_fail(job->err, SD_E_FORMAT, "%s: broken PNG: %s", job->label, p.reason);
    png_destroy_read_struct(&p.png, &p.info, NULL);
    free(p.rows);
    if (status)
        sd_image_clear(&p.image);
    else if (job->image)
        *job->image = p.image;
    return status;
}

/* One text as tEXt where Latin-1 can hold it and its bytes cannot be read as UTF-8 instead, as iTXt
 * otherwise. */
static void write_text(png_job *p, const sd_image_text *t, sd_str *latin1) {
    png_text chunk = {.key = (char *)(uintptr_t)t->key, .text = (char *)(uintptr_t)t->text};
    bool ascii = true;
    for (const char *c = t->text; *c; c++)
        ascii = ascii && !((unsigned char)*c & 0x80);
    sd_str_clear(latin1);
    bool plain = strcmp(t->key, SD_TEXT_XMP) != 0 && sd_utf8_to_latin1(latin1, t->text) && !latin1->failed &&
                 (ascii || !sd_utf8_valid(latin1->text, latin1->size));
    if (plain) {
        chunk.compression = PNG_TEXT_COMPRESSION_NONE;
        chunk.text = latin1->text ? latin1->text : (char *)(uintptr_t) "";
        chunk.text_length = latin1->size;
    } else {
        chunk.compression = PNG_ITXT_COMPRESSION_NONE;
        chunk.itxt_length = strlen(t->text);
        chunk.lang = (char *)(uintptr_t) "";
        chunk.lang_key = (char *)(uintptr_t) "";
    }
    png_set_text(p->png, p->info, &chunk, 1);
}

static bool encode(png_job *p, const sd_image *image, const sd_image_params *params, sd_str *latin1) {
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
    if (setjmp(png_jmpbuf(p->png)))
        return false;
    png_set_write_fn(p->png, p, put, flush);
    png_set_user_limits(p->png, SD_IMAGE_SIDE, SD_IMAGE_SIDE);
    png_set_compression_level(p->png, params->compression ? params->compression : 6);
    png_set_IHDR(p->png, p->info, image->width, image->height, params->wide ? 16 : 8, types[image->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    for (size_t i = 0; i < params->text_count; i++)
        write_text(p, &params->texts[i], latin1);
    png_write_info(p->png, p->info);
    const union {
        uint16_t word;
        uint8_t byte;
    } one = {1};
    if (params->wide && one.byte)
        png_set_swap(p->png);
    size_t stride = (size_t)image->width * image->channels * (params->wide ? 2 : 1);
    const void *pixels = params->wide ? (const void *)params->wide : image->pixels;
    make_rows(p, (uint8_t *)(uintptr_t)pixels, stride, image->height);
    png_write_image(p->png, p->rows);
    png_write_end(p->png, p->info);
    return true;
}

sd_status sd_png_encode(const sd_image *image, const sd_image_params *params, sd_str *out, sd_error *err) {
    png_job p = {.out = out};
    sd_str latin1 = {.limit = (size_t)1 << 28};
    p.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning, &p, allocate, release);
    p.info = p.png ? png_create_info_struct(p.png) : NULL;
    sd_status status = SD_OK;
    bool ok = p.info && encode(&p, image, params, &latin1);
    if (!p.info || p.out_of_memory || latin1.failed || out->failed)
        status = sd_fail(err, SD_E_MEMORY, "no memory to write a PNG");
    else if (!ok)
        status = sd_fail(err, SD_E_INTERNAL, "libpng refused to write the picture: %s", p.reason);
    png_destroy_write_struct(&p.png, &p.info);
    free(p.rows);
    sd_str_clear(&latin1);
    return status;
}
