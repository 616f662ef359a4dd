#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/base/str.h"
#include "sd/io/image.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A smooth picture, which JPEG keeps closely. */
static sd_image gradient(uint32_t width, uint32_t height, uint32_t channels) {
    sd_image image = {width, height, channels, malloc((size_t)width * height * channels)};
    assert_non_null(image.pixels);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < channels; c++)
                image.pixels[(y * width + x) * channels + c] = (uint8_t)(c == 1   ? 2 * y
                                                                         : c == 2 ? 255 - x
                                                                                  : x + y);
    return image;
}

static void png_keeps_every_pixel(void **state) {
    (void)state;
    for (uint32_t channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1) {
        sd_image in = gradient(37, 21, channels), out;
        sd_bytes bytes, again;
        sd_error err;
        assert_int_equal(sd_image_encode(&in, NULL, &bytes, &err), SD_OK);
        assert_int_equal(sd_image_encode(&in, NULL, &again, &err), SD_OK);
        assert_int_equal(bytes.size, again.size);
        assert_memory_equal(bytes.data, again.data, bytes.size);
        assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 0, &out, NULL, &err), SD_OK);
        assert_int_equal(out.width, 37);
        assert_int_equal(out.height, 21);
        assert_int_equal(out.channels, channels == 1 ? 3 : channels);
        for (size_t i = 0; i < 37 * 21; i++)
            for (uint32_t c = 0; c < out.channels; c++)
                assert_int_equal(out.pixels[i * out.channels + c],
                                 in.pixels[i * channels + (channels == 1 ? 0 : c)]);
        sd_image_clear(&in);
        sd_image_clear(&out);
        sd_bytes_clear(&bytes);
        sd_bytes_clear(&again);
    }
}

static void sixteen_bits_are_written_and_rounded(void **state) {
    (void)state;
    const uint16_t wide[6] = {0, 65535, 128, 129, 257 * 77, 257 * 77 + 128};
    const sd_image in = {2, 1, 3, NULL};
    const sd_image_params params = {.wide = wide};
    sd_image out;
    sd_bytes bytes;
    sd_error err;
    assert_int_equal(sd_image_encode(&in, &params, &bytes, &err), SD_OK);
    assert_int_equal(bytes.data[24], 16);
    assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 0, &out, NULL, &err), SD_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(out.pixels[i], (wide[i] * 255u + 32767) / 65535);
    sd_image_clear(&out);
    sd_bytes_clear(&bytes);
}

static void append(png_structp png, png_bytep data, size_t size) {
    sd_str_append_bytes(png_get_io_ptr(png), data, size);
}

static void no_flush(png_structp png) {
    (void)png;
}

/* A PNG of 8 x 8 pixels of any kind, all of whose samples are `row`. */
static void write_kind(sd_str *out, int type, int depth, int interlace, const uint8_t *row,
                       bool transparent) {
    const png_color palette[2] = {{10, 20, 30}, {40, 50, 60}};
    const png_byte alphas[2] = {255, 0};
    const png_color_16 key = {.gray = 1, .red = 1, .green = 2, .blue = 3};
    uint8_t *rows[8];
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    png_set_write_fn(png, out, append, no_flush);
    png_set_IHDR(png, info, 8, 8, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 2);
    if (transparent)
        png_set_tRNS(png, info, alphas, type == PNG_COLOR_TYPE_PALETTE ? 2 : 0, &key);
    for (int y = 0; y < 8; y++)
        rows[y] = (uint8_t *)(uintptr_t)row;
    png_write_info(png, info);
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

static void every_png_kind_becomes_rgb_or_rgba(void **state) {
    (void)state;
    static const struct {
        int type, depth;
        bool transparent;
        uint8_t samples[16]; /* repeated over the row's 64 bytes, by period */
        size_t period;
        uint32_t channels;
        uint8_t pixel[4]; /* of the second pixel */
    } kinds[] = {
        {PNG_COLOR_TYPE_GRAY, 1, false, {0x40}, 1, 3, {255, 255, 255}},
        {PNG_COLOR_TYPE_GRAY, 2, false, {0x20}, 1, 3, {170, 170, 170}},
        {PNG_COLOR_TYPE_GRAY, 4, true, {0x01}, 1, 4, {17, 17, 17, 0}},
        {PNG_COLOR_TYPE_GRAY, 8, false, {7}, 1, 3, {7, 7, 7}},
        {PNG_COLOR_TYPE_GRAY, 16, false, {0x80, 0x80}, 2, 3, {128, 128, 128}},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 8, false, {7, 9}, 2, 4, {7, 7, 7, 9}},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 16, false, {7, 7, 9, 9}, 4, 4, {7, 7, 7, 9}},
        {PNG_COLOR_TYPE_PALETTE, 1, false, {0x40}, 1, 3, {40, 50, 60}},
        {PNG_COLOR_TYPE_PALETTE, 8, true, {1}, 1, 4, {40, 50, 60, 0}},
        {PNG_COLOR_TYPE_RGB, 8, false, {1, 2, 3}, 3, 3, {1, 2, 3}},
        {PNG_COLOR_TYPE_RGB, 8, true, {1, 2, 3}, 3, 4, {1, 2, 3, 0}},
        {PNG_COLOR_TYPE_RGB, 16, false, {1, 1, 2, 2, 3, 3}, 6, 3, {1, 2, 3}},
        {PNG_COLOR_TYPE_RGB_ALPHA, 16, false, {1, 1, 2, 2, 3, 3, 4, 4}, 8, 4, {1, 2, 3, 4}},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int interlace = 0; interlace < 2; interlace++) {
            uint8_t row[64];
            sd_str bytes = {0};
            sd_image image;
            sd_error err;
            for (size_t k = 0; k < sizeof row; k++)
                row[k] = kinds[i].samples[k % kinds[i].period];
            write_kind(&bytes, kinds[i].type, kinds[i].depth, interlace, row, kinds[i].transparent);
            assert_int_equal(sd_image_decode("m", bytes.text, bytes.size, 0, &image, NULL, &err), SD_OK);
            assert_int_equal(image.channels, kinds[i].channels);
            assert_memory_equal(image.pixels + (8 * 7 + 1) * image.channels, kinds[i].pixel, image.channels);
            sd_image_clear(&image);
            sd_str_clear(&bytes);
        }
}

static const sd_image_text texts[] = {
    {SD_TEXT_PARAMETERS,
     "a mug\nNegative prompt: \xE6\x9D\xAF \xF0\x9F\x98\x80\nSteps: 20, Sampler: Euler, Seed: 1"},
    {"sdvk", "{\"version\":\"0.1.0\",\"x\":\"=\"}"},
    {SD_TEXT_XMP, sd_xmp_generated},
    {"Latin", "caf\xC3\xA9"},
    {"Mistakable", "\xC3\x83\xC2\xA9"}, /* as Latin-1 these bytes would be well-formed UTF-8 */
    {"Empty", ""},
};
enum { text_count = sizeof texts / sizeof *texts };

static bool contains(const sd_bytes *bytes, const char *what, size_t size) {
    for (size_t i = 0; i + size <= bytes->size; i++)
        if (memcmp(bytes->data + i, what, size) == 0)
            return true;
    return false;
}

static void texts_survive_both_formats(void **state) {
    (void)state;
    sd_image image = gradient(16, 16, 3);
    for (int format = 0; format < 2; format++) {
        const sd_image_params params = {
            .format = (sd_image_format)format, .texts = texts, .text_count = text_count};
        sd_image_texts read;
        sd_bytes bytes;
        sd_error err = {0};
        assert_int_equal(sd_image_encode(&image, &params, &bytes, &err), SD_OK);
        assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 0, NULL, &read, &err), SD_OK);
        assert_int_equal(read.count, text_count);
        for (size_t i = 0; i < text_count; i++) {
            assert_non_null(sd_image_texts_find(&read, texts[i].key));
            assert_string_equal(sd_image_texts_find(&read, texts[i].key), texts[i].text);
        }
        assert_null(sd_image_texts_find(&read, "none"));
        if (format == SD_IMAGE_PNG) {
            assert_true(contains(&bytes, "iTXtparameters\0", 15));
            assert_true(contains(&bytes, "tEXtsdvk\0{", 10));
            assert_true(contains(&bytes, "iTXtXML:com.adobe.xmp\0", 22));
            assert_true(contains(&bytes, "tEXtLatin\0caf\xE9", 14));
            assert_false(contains(&bytes, "tIME", 4));
        } else {
            assert_true(contains(&bytes, "Exif\0\0MM\0*", 10));
            assert_true(contains(&bytes, "UNICODE\0\0a\0 \0m", 14));
            assert_true(contains(&bytes, "http://ns.adobe.com/xap/1.0/\0<?xpacket", 38));
        }
        sd_image_texts_clear(&read);
        sd_bytes_clear(&bytes);
    }
    sd_image_clear(&image);
}

static void jpeg_is_close_and_deterministic(void **state) {
    (void)state;
    sd_image in = gradient(61, 45, 3), out;
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        const sd_image_params params = {.format = SD_IMAGE_JPEG, .quality = i ? 95 : 40};
        sd_bytes bytes, again;
        sd_error err;
        assert_int_equal(sd_image_encode(&in, &params, &bytes, &err), SD_OK);
        assert_int_equal(sd_image_encode(&in, &params, &again, &err), SD_OK);
        assert_int_equal(bytes.size, again.size);
        assert_memory_equal(bytes.data, again.data, bytes.size);
        assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 0, &out, NULL, &err), SD_OK);
        assert_int_equal(out.channels, 3);
        /* Quantisation steps of quality 95 are at most 12 for these low frequencies; errors stay below a
         * step. */
        for (size_t k = 0; i && k < 61 * 45 * 3; k++)
            assert_true(abs(out.pixels[k] - in.pixels[k]) < 12);
        sizes[i] = bytes.size;
        sd_image_clear(&out);
        sd_bytes_clear(&bytes);
        sd_bytes_clear(&again);
    }
    assert_true(sizes[0] < sizes[1]);
    sd_image_clear(&in);
}

/* Quarters of four brightnesses, and where each orientation puts them: top left and right, bottom left and
 * right. */
static void jpeg_is_turned_upright(void **state) {
    static const char wanted[8][5] = {"ABCD", "BADC", "DCBA", "CDAB", "ACBD", "CADB", "DBCA", "BDAC"};
    uint8_t pixels[32 * 16 * 3];
    const sd_image image = {32, 16, 3, pixels};
    (void)state;
    for (size_t i = 0; i < 32 * 16; i++)
        memset(pixels + i * 3, (int)(40 + 60 * (i % 32 / 16 + i / 32 / 8 * 2)), 3);
    for (unsigned o = 0; o < 10; o++) { /* 0 and 9 say nothing */
        uint8_t exif[] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8,
                          0,    1,    1, 18, 0,   3,   0,   0,   0, 1, 0,   0,   0, 0,  0, 0, 0, 0};
        sd_bytes plain = {0};
        sd_image back = {0};
        sd_error err;
        exif[29] = (uint8_t)o;
        assert_int_equal(sd_image_encode(&image, &(sd_image_params){.format = SD_IMAGE_JPEG, .quality = 100},
                                         &plain, &err),
                         SD_OK);
        uint8_t *file = malloc(plain.size + sizeof exif);
        memcpy(file, plain.data, 2);
        memcpy(file + 2, exif, sizeof exif);
        memcpy(file + 2 + sizeof exif, plain.data + 2, plain.size - 2);
        if (sd_image_decode("x", file, plain.size + sizeof exif, 0, &back, NULL, &err))
            fail_msg("%s", err.message);
        bool across = o >= 5 && o <= 8;
        assert_int_equal(back.width, across ? 16 : 32);
        assert_int_equal(back.height, across ? 32 : 16);
        for (uint32_t c = 0; c < 4; c++) {
            uint32_t x = c % 2 * (back.width - 1), y = c / 2 * (back.height - 1);
            int found = back.pixels[(y * back.width + x) * 3];
            assert_true(abs(found - (40 + 60 * (wanted[o >= 1 && o <= 8 ? o - 1 : 0][c] - 'A'))) < 6);
        }
        free(file);
        sd_bytes_clear(&plain);
        sd_image_clear(&back);
    }
}

static void jpeg_takes_grey_and_drops_alpha(void **state) {
    (void)state;
    for (uint32_t channels = 1; channels <= 4; channels += 3) {
        sd_image in = gradient(8, 8, channels), out;
        const sd_image_params params = {.format = SD_IMAGE_JPEG};
        sd_bytes bytes;
        sd_error err;
        memset(in.pixels, 90, 64 * channels);
        assert_int_equal(sd_image_encode(&in, &params, &bytes, &err), SD_OK);
        assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 0, &out, NULL, &err), SD_OK);
        for (size_t i = 0; i < 64 * 3; i++)
            assert_int_equal(out.pixels[i], 90);
        sd_image_clear(&in);
        sd_image_clear(&out);
        sd_bytes_clear(&bytes);
    }
}

/* Every prefix of a picture is refused, and a picture with any byte changed is read or refused, but never
 * more. */
static void damaged_pictures_are_refused(void **state) {
    (void)state;
    sd_image in = gradient(24, 24, 3);
    for (int format = 0; format < 2; format++) {
        const sd_image_params params = {.format = (sd_image_format)format, .texts = texts, .text_count = 2};
        sd_bytes bytes;
        sd_error err;
        assert_int_equal(sd_image_encode(&in, &params, &bytes, &err), SD_OK);
        for (size_t size = 0; size < bytes.size - (format == SD_IMAGE_JPEG ? 2 : 0); size++) {
            sd_image image;
            sd_image_texts read;
            uint8_t *exact = malloc(size ? size : 1);
            memcpy(exact, bytes.data, size);
            assert_int_equal(sd_image_decode("m", exact, size, 0, &image, &read, &err), SD_E_FORMAT);
            assert_null(image.pixels);
            assert_int_equal(read.count, 0);
            assert_memory_equal(err.message, "m: ", 3);
            free(exact);
        }
        for (size_t i = 0; i < bytes.size; i++) {
            sd_image image;
            sd_image_texts read;
            bytes.data[i] ^= 0x55;
            sd_status status = sd_image_decode("m", bytes.data, bytes.size, 1 << 16, &image, &read, &err);
            assert_true(status == SD_OK || status == SD_E_FORMAT || status == SD_E_UNSUPPORTED);
            bytes.data[i] ^= 0x55;
            sd_image_clear(&image);
            sd_image_texts_clear(&read);
        }
        sd_bytes_clear(&bytes);
    }
    sd_image_clear(&in);
}

static void other_files_are_named(void **state) {
    (void)state;
    static const struct {
        size_t size;
        const char *bytes, *message;
    } rows[] = {
        {0, "", "m: the file is empty"},
        {3, "abc", "m: expected a PNG or JPEG picture, found a file that begins with 61 62 63"},
        {12, "RIFF\0\0\0\0WEBP", "m: expected a PNG or JPEG picture, found a WebP picture"},
        {6, "GIF89a", "m: expected a PNG or JPEG picture, found a GIF picture"},
        {4, "II*\0", "m: expected a PNG or JPEG picture, found a TIFF picture"},
        {10, "\2\0\0\0\0\0\0\0{\"", "m: expected a PNG or JPEG picture, found a safetensors model"},
        {8, "\x89PNG\r\n\x1A\n", "m: broken PNG: the file is cut short"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_image image;
        sd_error err;
        assert_int_equal(sd_image_decode("m", rows[i].bytes, rows[i].size, 0, &image, NULL, &err),
                         SD_E_FORMAT);
        assert_string_equal(err.message, rows[i].message);
    }
    sd_error err;
    sd_image image;
    assert_int_equal(sd_image_read("/nowhere/x.png", 0, &image, NULL, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message, "/nowhere/x.png: no such file");
}

/* Found by fuzzing: libpng allocates the 1.5 GB that a text chunk claims in a file of 57 bytes. The checksum
 * of the first chunk is wrong here, and libpng would say so: the lengths are checked before it sees the file.
 */
static void claimed_chunk_sizes_are_checked_first(void **state) {
    (void)state;
    static const char bytes[] = "\x89PNG\r\n\x1A\n\0\0\0\15IHDR\0\0\0\1\0\0\0\1\10\0\0\0\0\1\2\3\4"
                                "\x5D\0\0\13iTXtsdvk\0\0\0\0\0x\0\0\0\0";
    sd_image image;
    sd_error err;
    assert_int_equal(sd_image_decode("m", bytes, sizeof bytes - 1, 0, &image, NULL, &err), SD_E_FORMAT);
    assert_string_equal(err.message, "m: broken PNG: the file is cut short");
}

static void sizes_are_limited(void **state) {
    (void)state;
    sd_image in = gradient(100, 10, 1), out;
    for (int format = 0; format < 2; format++) {
        const sd_image_params params = {.format = (sd_image_format)format};
        sd_bytes bytes;
        sd_error err;
        assert_int_equal(sd_image_encode(&in, &params, &bytes, &err), SD_OK);
        assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 1000, &out, NULL, &err), SD_OK);
        sd_image_clear(&out);
        assert_int_equal(sd_image_decode("m", bytes.data, bytes.size, 999, &out, NULL, &err),
                         SD_E_UNSUPPORTED);
        assert_string_equal(err.message, "m: expected at most 999 pixels, found 100 x 10");
        sd_bytes_clear(&bytes);
    }
    sd_image_clear(&in);
}

static void wrong_arguments_are_explained(void **state) {
    (void)state;
    uint8_t pixels[16] = {0};
    static char huge[70000];
    memset(huge, 'x', sizeof huge - 1);
    const sd_image good = {2, 2, 3, pixels};
    const sd_image_text control = {"a\n", ""}, spaces = {"a  b", ""}, utf8 = {"k", "\xFF"},
                        spaced = {"a b", ""};
    const sd_image_text twice[] = {{"k", ""}, {"k", ""}}, longer = {"k", huge},
                        comment = {SD_TEXT_PARAMETERS, huge};
    const struct {
        sd_image image;
        sd_image_params params;
        const char *message;
    } rows[] = {
        {{2, 2, 3, NULL}, {0}, "the image has no pixels"},
        {{0, 2, 3, pixels}, {0}, "expected an image of 1 to 16384 pixels a side, found 0 x 2"},
        {{2, 16385, 3, pixels}, {0}, "expected an image of 1 to 16384 pixels a side, found 2 x 16385"},
        {{2, 2, 2, pixels}, {0}, "expected an image of 1, 3 or 4 channels, found 2"},
        {good, {.quality = 101}, "expected a JPEG quality of 1 to 100, found 101"},
        {good, {.compression = 10}, "expected a PNG compression of 1 to 9, found 10"},
        {good, {.format = SD_IMAGE_JPEG, .wide = (const uint16_t *)huge}, "only PNG holds 16 bits a channel"},
        {good,
         {.texts = &control, .text_count = 1},
         "a text's key must be 1 to 79 printable ASCII characters"},
        {good,
         {.texts = &spaces, .text_count = 1},
         "a text's key must be 1 to 79 printable ASCII characters"},
        {good, {.texts = &utf8, .text_count = 1}, "the text 'k' is not well-formed UTF-8"},
        {good, {.texts = twice, .text_count = 2}, "the text 'k' is given twice"},
        {good,
         {.format = SD_IMAGE_JPEG, .texts = &spaced, .text_count = 1},
         "expected letters, digits, '.', '_' and '-' in the key 'a b' of a JPEG's text"},
        {good,
         {.format = SD_IMAGE_JPEG, .texts = &longer, .text_count = 1},
         "the text 'k' does not fit into a JPEG segment of 64 KiB"},
        {good,
         {.format = SD_IMAGE_JPEG, .texts = &comment, .text_count = 1},
         "the text 'parameters' does not fit into a JPEG segment of 64 KiB"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_bytes bytes;
        sd_error err;
        char expected[256];
        assert_int_equal(sd_image_encode(&rows[i].image, &rows[i].params, &bytes, &err), SD_E_ARGUMENT);
        assert_string_equal(err.message, rows[i].message);
        assert_null(bytes.data);
        snprintf(expected, sizeof expected, "/no.png: cannot be written: %s", rows[i].message);
        assert_int_equal(sd_image_write("/no.png", &rows[i].image, &rows[i].params, &err), SD_E_ARGUMENT);
        assert_string_equal(err.message, expected);
        assert_int_equal(access("/no.png", F_OK), -1);
    }
}

/* A JPEG with this Exif block, made from one without. */
static void with_exif(sd_str *out, const sd_bytes *plain, const char *block, size_t size) {
    const char head[] = {
        (char)0xFF, (char)0xE1, (char)((size + 8) >> 8), (char)(size + 8), 'E', 'x', 'i', 'f', 0, 0};
    sd_str_append_bytes(out, plain->data, 2);
    sd_str_append_bytes(out, head, sizeof head);
    sd_str_append_bytes(out, block, size);
    sd_str_append_bytes(out, plain->data + 2, plain->size - 2);
}

static void foreign_exif_is_read(void **state) {
    (void)state;
#define MM "MM\0*\0\0\0\10\0\1\x87\x69\0\4\0\0\0\1\0\0\0\32\0\0\0\0"
#define II "II*\0\10\0\0\0\1\0\x69\x87\4\0\1\0\0\0\32\0\0\0\0\0\0\0"
#define MM_COMMENT(n) "\0\1\x92\x86\0\7\0\0\0" n "\0\0\0\54\0\0\0\0"
#define II_COMMENT(n) "\1\0\x86\x92\7\0" n "\0\0\0\54\0\0\0\0\0\0\0"
#define ROW(block, text)                                                                                     \
    { sizeof block - 1, block, text }
    static const struct {
        size_t size;
        const char *block, *text;
    } rows[] = {
        ROW(MM MM_COMMENT("\14") "UNICODE\0\0h\0i", "hi"),
        ROW(II II_COMMENT("\14") "UNICODE\0\0h\0i", "hi"), /* piexif under little-endian tags */
        ROW(II II_COMMENT("\14") "UNICODE\0h\0i\0", "hi"), /* exiftool */
        ROW(II II_COMMENT("\16") "UNICODE\0\xFE\xFF\x4E\0\x4E\1", "\xE4\xB8\x80\xE4\xB8\x81"),
        ROW(MM MM_COMMENT("\12") "ASCII\0\0\0hi", "hi"),
        ROW(MM MM_COMMENT("\13") "\0\0\0\0\0\0\0\0h\xE9\0", "h\xC3\xA9"),
        ROW(MM MM_COMMENT("\14") "UNICODE\0\xD8\0\0i", NULL),  /* half a pair */
        ROW(MM MM_COMMENT("\15") "UNICODE\0\0h\0i", NULL),     /* past the end */
        ROW(MM MM_COMMENT("\7") "UNICODE\0\0h\0i", NULL),      /* shorter than its head */
        ROW(MM MM_COMMENT("\14") "JIS\0\0\0\0\0\0h\0i", NULL), /* no table for it */
        ROW(MM, NULL),
        ROW("MM\0*\0\0\0\0", NULL),
        ROW("MM\0*\xFF\xFF\xFF\xFF", NULL),
        ROW("MM\0*\0\0\0\10\xFF\xFF", NULL),
        ROW("XX\0*\0\0\0\10", NULL),
        ROW("MM", NULL),
    };
    sd_image image = gradient(8, 8, 3);
    const sd_image_params params = {.format = SD_IMAGE_JPEG};
    sd_bytes plain;
    sd_error err;
    assert_int_equal(sd_image_encode(&image, &params, &plain, &err), SD_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_str bytes = {0};
        sd_image_texts read;
        with_exif(&bytes, &plain, rows[i].block, rows[i].size);
        assert_int_equal(sd_image_decode("m", bytes.text, bytes.size, 0, NULL, &read, &err), SD_OK);
        const char *text = sd_image_texts_find(&read, SD_TEXT_PARAMETERS);
        if (rows[i].text) {
            assert_non_null(text);
            assert_string_equal(text, rows[i].text);
        } else
            assert_null(text);
        sd_image_texts_clear(&read);
        sd_str_clear(&bytes);
    }
    sd_image_clear(&image);
    sd_bytes_clear(&plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_keeps_every_pixel),
        cmocka_unit_test(sixteen_bits_are_written_and_rounded),
        cmocka_unit_test(every_png_kind_becomes_rgb_or_rgba),
        cmocka_unit_test(texts_survive_both_formats),
        cmocka_unit_test(jpeg_is_close_and_deterministic),
        cmocka_unit_test(jpeg_is_turned_upright),
        cmocka_unit_test(jpeg_takes_grey_and_drops_alpha),
        cmocka_unit_test(damaged_pictures_are_refused),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(claimed_chunk_sizes_are_checked_first),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(wrong_arguments_are_explained),
        cmocka_unit_test(foreign_exif_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
