#include "sd/io/image_internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum {
    longest_segment = 65533,
    most_scans = 100, /* a progressive file needs about 10; thousands are a way to burn time */
    chunk = 1 << 16
};

static const char exif_head[] = "Exif\0", xmp_head[] = "http://ns.adobe.com/xap/1.0/"; /* each with its NUL */

/* Everything that must survive a longjmp lives here, in the frame that calls setjmp's function. */
typedef struct jpeg_job {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_destination_mgr destination;
    jmp_buf jump;
    const sd_decode_job *in;
    sd_str *out;
    uint8_t *buffer; /* [chunk] when writing, one row when a row has to be converted */
    sd_image image;
    sd_status status;
    uint32_t orientation; /* 0: not known */
    bool out_of_memory;
    char reason[JMSG_LENGTH_MAX];
} jpeg_job;

static void on_error(j_common_ptr info) {
    jpeg_job *p = info->client_data;
    info->err->format_message(info, p->reason);
    p->out_of_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(p->jump, 1);
}

/* libjpeg fills up a picture that is cut short or damaged with grey; that must not pass for the picture. */
static void on_message(j_common_ptr info, int level) {
    if (level < 0 && (info->err->msg_code == JWRN_JPEG_EOF || info->err->msg_code == JWRN_HIT_MARKER))
        on_error(info);
}

static void on_progress(j_common_ptr info) {
    jpeg_job *p = info->client_data;
    if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > most_scans) {
        strcpy(p->reason, "it has over 100 scans");
        longjmp(p->jump, 1);
    }
}

static void set_errors(jpeg_job *p, struct jpeg_common_struct *info) {
    info->err = jpeg_std_error(&p->errors);
    p->errors.error_exit = on_error;
    p->errors.emit_message = on_message;
    info->client_data = p;
}

/* Adobe's CMYK is stored inverted, so that c times k over 255 is the light that is left. */
static void cmyk_row_to_rgb(const uint8_t *in, uint8_t *out, uint32_t width, bool inverted) {
    for (uint32_t x = 0; x < width; x++)
        for (int c = 0; c < 3; c++) {
            unsigned ink = in[4 * x + (unsigned)c], black = in[4 * x + 3];
            if (!inverted)
                ink = 255 - ink, black = 255 - black;
            out[3 * x + (unsigned)c] = (uint8_t)((ink * black + 127) / 255);
        }
}

static void read_pixels(jpeg_job *p, j_decompress_ptr info) {
    bool cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    p->status = sd_image_alloc(p->in, info->image_width, info->image_height, 3, &p->image);
    if (p->status)
        longjmp(p->jump, 1);
    info->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    info->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(info);
    if (cmyk && !(p->buffer = malloc((size_t)info->output_width * 4)))
        ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
    while (info->output_scanline < info->output_height) {
        uint8_t *row = p->image.pixels + (size_t)info->output_scanline * p->image.width * 3;
        JSAMPROW target = cmyk ? p->buffer : row;
        jpeg_read_scanlines(info, &target, 1);
        if (cmyk)
            cmyk_row_to_rgb(p->buffer, row, p->image.width, info->saw_Adobe_marker);
    }
    jpeg_finish_decompress(info);
}

static bool key_character(uint8_t c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '-' || c == '.';
}

/* A comment that this encoder wrote for a key begins with "key="; any other is kept as "Comment". */
static bool add_comment(sd_image_texts *texts, const uint8_t *data, size_t size) {
    sd_str text = {.limit = 2 * longest_segment + 2};
    char key[80] = "Comment";
    size_t n = 0;
    while (size && data[size - 1] == 0)
        size--;
    if (!size || memchr(data, 0, size))
        return true;
    while (n < size && n < 79 && key_character(data[n]))
        n++;
    if (n && n < size && data[n] == '=') {
        memcpy(key, data, n);
        key[n] = 0;
        data += n + 1;
        size -= n + 1;
    }
    if (sd_utf8_valid((const char *)data, size))
        sd_str_append_bytes(&text, data, size);
    else
        sd_latin1_to_utf8(&text, data, size);
    bool ok = !text.failed && sd_image_texts_add(texts, key, text.text, text.size);
    sd_str_clear(&text);
    return ok;
}

static bool add_marker(sd_image_texts *texts, const struct jpeg_marker_struct *m) {
    const uint8_t *data = m->data;
    size_t size = m->data_length, exif = sizeof exif_head, xmp = sizeof xmp_head;
    bool ok = true;
    if (m->marker == JPEG_COM)
        return add_comment(texts, data, size);
    if (size > exif && memcmp(data, exif_head, exif) == 0 &&
        !sd_image_texts_find(texts, SD_TEXT_PARAMETERS)) {
        sd_str text = {0};
        if (sd_exif_comment(data + exif, size - exif, &text))
            ok = sd_image_texts_add(texts, SD_TEXT_PARAMETERS, text.text ? text.text : "", text.size);
        ok = ok && !text.failed;
        sd_str_clear(&text);
    } else if (size > xmp && memcmp(data, xmp_head, xmp) == 0 && !memchr(data + xmp, 0, size - xmp) &&
               sd_utf8_valid((const char *)data + xmp, size - xmp))
        ok = sd_image_texts_add(texts, SD_TEXT_XMP, (const char *)data + xmp, size - xmp);
    return ok;
}

static bool decode(jpeg_job *p, j_decompress_ptr info) {
    if (setjmp(p->jump))
        return false;
    jpeg_create_decompress(info);
    info->progress = &p->progress;
    jpeg_mem_src(info, p->in->data, (unsigned long)p->in->size);
    jpeg_save_markers(info, JPEG_APP0 + 1, 0xFFFF);
    if (p->in->texts)
        jpeg_save_markers(info, JPEG_COM, 0xFFFF);
    jpeg_read_header(info, TRUE);
    for (jpeg_saved_marker_ptr m = info->marker_list; m; m = m->next) {
        if (p->in->texts && !add_marker(p->in->texts, m))
            ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
        if (!p->orientation && m->marker == JPEG_APP0 + 1 && m->data_length > sizeof exif_head &&
            memcmp(m->data, exif_head, sizeof exif_head) == 0)
            p->orientation =
                sd_exif_orientation(m->data + sizeof exif_head, m->data_length - sizeof exif_head);
    }
    if (p->in->image)
        read_pixels(p, info);
    return true;
}

/* Cameras keep pictures as the sensor lay and say how to turn them: 2 to 4 mirror or turn within the same
 * size, 5 to 8 exchange rows and columns too. */
static sd_status turn_upright(const sd_decode_job *job, sd_image *image, uint32_t orientation) {
    bool across = orientation >= 5;
    bool mirror = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool flip = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    sd_image from = *image, to;
    sd_status status = sd_image_alloc(job, across ? from.height : from.width,
                                      across ? from.width : from.height, from.channels, &to);
    if (status)
        return status;
    for (uint32_t y = 0; y < to.height; y++)
        for (uint32_t x = 0; x < to.width; x++) {
            uint32_t fx = across ? y : x, fy = across ? x : y;
            fx = mirror ? from.width - 1 - fx : fx;
            fy = flip ? from.height - 1 - fy : fy;
            memcpy(to.pixels + ((size_t)y * to.width + x) * to.channels,
                   from.pixels + ((size_t)fy * from.width + fx) * from.channels, to.channels);
        }
    sd_image_clear(image);
    *image = to;
    return SD_OK;
}

sd_status sd_jpeg_decode(const sd_decode_job *job) {
    jpeg_job p = {.in = job, .progress.progress_monitor = on_progress};
    struct jpeg_decompress_struct info = {0};
    sd_status status = SD_OK;
    set_errors(&p, (struct jpeg_common_struct *)&info);
    if (!decode(&p, &info)) {
        if (p.out_of_memory)
            status = sd_fail(job->err, SD_E_MEMORY, "%s: no memory to read a JPEG", job->label);
        else
            status = p.status ? p.status
                              : sd_fail(job->err, SD_E_FORMAT, "%s: broken JPEG: %s", job->label, p.reason);
    }
    jpeg_destroy_decompress(&info);
    free(p.buffer);
    if (!status && job->image && p.orientation > 1)
        status = turn_upright(job, &p.image, p.orientation);
    if (status)
        sd_image_clear(&p.image);
    else if (job->image)
        *job->image = p.image;
    return status;
}

static void start_output(j_compress_ptr info) {
    jpeg_job *p = info->client_data;
    info->dest->next_output_byte = p->buffer;
    info->dest->free_in_buffer = chunk;
}

static boolean flush_output(j_compress_ptr info) {
    jpeg_job *p = info->client_data;
    sd_str_append_bytes(p->out, p->buffer, chunk);
    start_output(info);
    return TRUE;
}

static void end_output(j_compress_ptr info) {
    jpeg_job *p = info->client_data;
    sd_str_append_bytes(p->out, p->buffer, chunk - info->dest->free_in_buffer);
}

/* One text's segment without its marker and length; 0 when a comment cannot hold its key. */
static int build_segment(sd_str *out, const sd_image_text *t) {
    if (strcmp(t->key, SD_TEXT_PARAMETERS) == 0) {
        sd_str_append_bytes(out, exif_head, sizeof exif_head);
        sd_exif_build(out, t->text);
        return JPEG_APP0 + 1;
    }
    if (strcmp(t->key, SD_TEXT_XMP) == 0) {
        sd_str_append_bytes(out, xmp_head, sizeof xmp_head);
        sd_str_append(out, t->text);
        return JPEG_APP0 + 1;
    }
    for (const char *c = t->key; *c; c++)
        if (!key_character((uint8_t)*c))
            return 0;
    sd_str_printf(out, "%s=%s", t->key, t->text);
    return JPEG_COM;
}

static void write_texts(jpeg_job *p, j_compress_ptr info, const sd_image_params *params, sd_str *segment) {
    for (size_t i = 0; i < params->text_count; i++) {
        sd_str_clear(segment);
        /* UTF-16 takes at least two thirds of the bytes of UTF-8. */
        bool fits = strlen(params->texts[i].text) < 2 * longest_segment;
        int marker = fits ? build_segment(segment, &params->texts[i]) : JPEG_COM;
        if (segment->failed)
            ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
        if (!marker || !fits || segment->size > longest_segment) {
            snprintf(p->reason, sizeof p->reason,
                     marker ? "the text '%s' does not fit into a JPEG segment of 64 KiB"
                            : "expected letters, digits, '.', '_' and '-' in the key '%s' of a JPEG's text",
                     params->texts[i].key);
            p->status = SD_E_ARGUMENT;
            longjmp(p->jump, 1);
        }
        jpeg_write_marker(info, marker, (const JOCTET *)segment->text, (unsigned)segment->size);
    }
}

static bool encode(jpeg_job *p, j_compress_ptr info, const sd_image *image, const sd_image_params *params,
                   sd_str *segment) {
    int quality = params->quality ? params->quality : 90;
    if (setjmp(p->jump))
        return false;
    jpeg_create_compress(info);
    info->dest = &p->destination;
    info->image_width = image->width;
    info->image_height = image->height;
    info->input_components = (int)image->channels;
    info->in_color_space = image->channels == 1   ? JCS_GRAYSCALE
                           : image->channels == 3 ? JCS_RGB
                                                  : JCS_EXT_RGBX;
    jpeg_set_defaults(info);
    jpeg_set_quality(info, quality, TRUE);
    info->optimize_coding = TRUE;
    info->dct_method = JDCT_ISLOW;
    if (quality >= 90)
        info->comp_info[0].h_samp_factor = info->comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(info, TRUE);
    write_texts(p, info, params, segment);
    while (info->next_scanline < info->image_height) {
        JSAMPROW row = image->pixels + (size_t)info->next_scanline * image->width * image->channels;
        jpeg_write_scanlines(info, &row, 1);
    }
    jpeg_finish_compress(info);
    return true;
}

sd_status sd_jpeg_encode(const sd_image *image, const sd_image_params *params, sd_str *out, sd_error *err) {
    jpeg_job p = {.out = out,
                  .destination = {.init_destination = start_output,
                                  .empty_output_buffer = flush_output,
                                  .term_destination = end_output}};
    struct jpeg_compress_struct info = {0};
    sd_str segment = {.limit = (size_t)1 << 20};
    sd_status status = SD_OK;
    set_errors(&p, (struct jpeg_common_struct *)&info);
    p.buffer = malloc(chunk);
    if (!p.buffer)
        return sd_fail(err, SD_E_MEMORY, "no memory to write a JPEG");
    if (!encode(&p, &info, image, params, &segment)) {
        if (p.out_of_memory)
            status = sd_fail(err, SD_E_MEMORY, "no memory to write a JPEG");
        else if (p.status)
            status = sd_fail(err, p.status, "%s", p.reason);
        else
            status = sd_fail(err, SD_E_INTERNAL, "libjpeg refused to write the picture: %s", p.reason);
    }
    jpeg_destroy_compress(&info);
    free(p.buffer);
    sd_str_clear(&segment);
    return status;
}
