/* POST extra-single-image and extra-batch-images: pictures in another size. There are no networks for it,
 * only "Lanczos"; "None" leaves a picture as it is, as in A1111. */
#include "server/a1111.h"
#include "server/a1111_routes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct field {
    const char *name;
    enum a1111_kind kind;
    const char *fallback; /* JSON */
} table[] = {
    {"resize_mode", A1111_WHOLE, "0"},          {"upscaling_resize", A1111_NUMBER, "2"},
    {"upscaling_resize_w", A1111_WHOLE, "512"}, {"upscaling_resize_h", A1111_WHOLE, "512"},
    {"upscaling_crop", A1111_FLAG, "true"},     {"upscaler_1", A1111_TEXT, "\"None\""},
    {"upscaler_2", A1111_TEXT, "\"None\""},     {"extras_upscaler_2_visibility", A1111_NUMBER, "0"},
    {"gfpgan_visibility", A1111_NUMBER, "0"},   {"codeformer_visibility", A1111_NUMBER, "0"},
};

struct extras {
    const struct config *config;
    cJSON *fields;
    bool resize; /* else pictures stay as they are */
    sd_encoding encoding;
};

static bool check_upscaler(const cJSON *fields, const char *field, bool *used, struct a1111_refusal *r) {
    const char *word = json_text(fields, field, "None");
    *used = strcasecmp(word, "None") != 0;
    if (*used && strcasecmp(word, "Lanczos"))
        return a1111_refuse(r, field, "%s: expected \"None\" or \"Lanczos\", found '%.60s'", field, word);
    return true;
}

static bool check(struct extras *e, struct a1111_refusal *r) {
    static const char *const faces[] = {"gfpgan_visibility", "codeformer_visibility"};
    double mode = json_number(e->fields, "resize_mode", 0);
    bool second;
    for (int i = 0; i < 2; i++)
        if (json_number(e->fields, faces[i], 0) > 0)
            return a1111_refuse(r, faces[i], "%s: faces are not restored", faces[i]);
    if (mode != 0 && mode != 1)
        return a1111_refuse(r, "resize_mode", "resize_mode: expected 0 or 1, found %g", mode);
    /* A second one of the same kind, mixed in however much, gives the same picture. */
    return check_upscaler(e->fields, "upscaler_1", &e->resize, r) &&
           (json_number(e->fields, "extras_upscaler_2_visibility", 0) <= 0 ||
            check_upscaler(e->fields, "upscaler_2", &second, r));
}

static bool read_fields(struct extras *e, struct server *server, const cJSON *body, struct a1111_refusal *r) {
    cJSON *options = a1111_options_copy(server->a1111);
    *e = (struct extras){.config = &server->config, .fields = cJSON_CreateObject()};
    e->encoding.jpeg = strcasecmp(json_text(options, "samples_format", "png"), "png") != 0;
    e->encoding.quality = (uint32_t)json_number(options, "jpeg_quality", 80);
    cJSON_Delete(options);
    for (size_t i = 0; i < sizeof table / sizeof *table && !r->status; i++) {
        const cJSON *item = json_get(body, table[i].name);
        cJSON_AddItemToObject(e->fields, table[i].name,
                              item ? a1111_coerce(item, table[i].kind, table[i].name, r)
                                   : cJSON_Parse(table[i].fallback));
    }
    return !r->status && check(e, r);
}

/* ---- one picture ---- */

static bool allowed(const struct extras *e, const char *field, double width, double height,
                    struct a1111_refusal *r) {
    if (!(width >= 1 && height >= 1))
        return a1111_refuse(r, field, "%s: expected at least one pixel, found %.0f x %.0f", field, width,
                            height);
    if (width > e->config->max_side || height > e->config->max_side ||
        width * height > e->config->max_pixels * 1000.0)
        return a1111_refuse(
            r, field, "%s: this server allows at most %u pixels a side and %u thousand, found %.0f x %.0f",
            field, e->config->max_side, e->config->max_pixels, width, height);
    return true;
}

static bool resize(const struct extras *e, const sd_picture *in, sd_picture *out, struct a1111_refusal *r) {
    double factor = json_number(e->fields, "upscaling_resize", 2);
    double w = json_number(e->fields, "upscaling_resize_w", 512),
           h = json_number(e->fields, "upscaling_resize_h", 512);
    bool fixed = json_number(e->fields, "resize_mode", 0) == 1,
         crop = json_flag(e->fields, "upscaling_crop", true);
    const char *field = fixed ? "upscaling_resize_w" : "upscaling_resize";
    sd_error err;
    if (fixed)
        factor = fmax(w / in->width, h / in->height);
    if (!fixed || !crop) {
        w = floor(in->width * factor);
        h = floor(in->height * factor);
    }
    if (!allowed(e, field, w, h, r))
        return false;
    if (sd_picture_resize(out, in, (uint32_t)w, (uint32_t)h, SD_RESIZE_CROP, &err))
        return a1111_refuse(r, field, "%s: %s", field, err.message);
    return true;
}

/* The base64 of the result, or NULL after a refusal. */
static char *work(const struct extras *e, const cJSON *holder, const char *field, struct a1111_refusal *r) {
    sd_picture in = {0}, out = {0};
    uint8_t *result = NULL;
    size_t size = 0;
    sd_error err;
    uint8_t *data = a1111_picture_bytes(holder, field, &size, r);
    if (data && sd_picture_decode(&in, field, data, size, (uint64_t)e->config->max_pixels * 1000, &err))
        a1111_refuse(r, field, "%s", err.message);
    free(data);
    bool fits = !r->status && (!e->resize || resize(e, &in, &out, r));
    if (fits && sd_picture_encode(e->resize ? &out : &in, &e->encoding, &result, &size, &err))
        a1111_refuse(r, field, "%s: %s", field, err.message);
    sd_picture_free(&in);
    sd_picture_free(&out);
    char *text = result ? base64_encode(result, size) : NULL;
    free(result);
    return text;
}

/* ---- routes ---- */

static void add_report(cJSON *reply, const struct extras *e) {
    char text[128];
    snprintf(text, sizeof text, "<p>%s</p>", e->resize ? "Postprocess upscaler: Lanczos" : "");
    cJSON_AddStringToObject(reply, "html_info", text);
}

static void add_single(cJSON *reply, const struct extras *e, const cJSON *body, struct a1111_refusal *r) {
    char *text = work(e, body, "image", r);
    cJSON_AddStringToObject(reply, "image", text ? text : "");
    free(text);
}

static void add_batch(cJSON *reply, const struct extras *e, const cJSON *body, struct a1111_refusal *r) {
    const cJSON *list = json_get(body, "imageList"), *item;
    cJSON *images = cJSON_AddArrayToObject(reply, "images");
    if (!cJSON_IsArray(list))
        a1111_refuse(r, "imageList", "imageList: expected an array of objects with 'data' and 'name'");
    cJSON_ArrayForEach(item, list) {
        char *text = r->status ? NULL : work(e, item, "data", r);
        cJSON_AddItemToArray(images, cJSON_CreateString(text ? text : ""));
        free(text);
    }
}

static void run(struct server *server, exchange *x,
                void (*add)(cJSON *reply, const struct extras *e, const cJSON *body,
                            struct a1111_refusal *r)) {
    struct a1111_refusal r = {0};
    struct extras e;
    cJSON *body = a1111_body(x, true), *reply = cJSON_CreateObject();
    if (!body) {
        cJSON_Delete(reply);
        return;
    }
    if (read_fields(&e, server, body, &r)) {
        add_report(reply, &e);
        add(reply, &e, body, &r);
    }
    cJSON_Delete(e.fields);
    cJSON_Delete(body);
    if (!r.status) {
        reply_json(x, 200, reply);
        return;
    }
    cJSON_Delete(reply);
    a1111_reply_refusal(x, &r);
}

void a1111_extra_single(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    run(server, x, add_single);
}

void a1111_extra_batch(struct server *server, exchange *x, const struct route_parts *parts) {
    (void)parts;
    run(server, x, add_batch);
}
