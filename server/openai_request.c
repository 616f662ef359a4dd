#include "server/openai_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct openai_request *out;
    cJSON *body;
    bool form;
    char *field;
    sd_error *err;
    sd_status status;
};

static void refuse(struct reader *r, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct reader *r, const char *field, const char *format, ...) {
    char text[400];
    va_list args;
    if (r->status)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(r->field, 64, "%s", field);
    r->status = sd_fail(r->err, SD_E_ARGUMENT, "%s%s%s", field, *field ? ": " : "", text);
}

static void warn(struct openai_request *out, const char *name, const char *why) {
    size_t at = strlen(out->warnings), begin = at;
    snprintf(out->warnings + at, sizeof out->warnings - at, "%s%.60s: %s", at ? ", " : "", name, why);
    for (char *p = out->warnings + begin; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

static const struct openai_field *find(const char *name, enum openai_call call) {
    const struct openai_field *f;
    for (size_t i = 0; (f = openai_field_at(i)); i++)
        if ((f->calls & call) && !strcmp(f->name, name))
            return f;
    return NULL;
}

/* ---- values of forms ---- */

/* A number or flag that came as text; NULL when it is none. */
static cJSON *typed(const char *text, bool flag) {
    char *end;
    if (flag)
        return !strcmp(text, "true") || !strcmp(text, "1")    ? cJSON_CreateTrue()
               : !strcmp(text, "false") || !strcmp(text, "0") ? cJSON_CreateFalse()
                                                              : NULL;
    double value = strtod(text, &end);
    return end != text && !*end ? cJSON_CreateNumber(value) : NULL;
}

/* The item with the type that it has in JSON. What is no number stays a string, and is refused as such. */
static cJSON *type_item(struct reader *r, cJSON *item, const struct openai_field *f) {
    const sd_option *option = f ? NULL : sd_option_find(item->string);
    bool number = f ? f->kind == OPENAI_COUNT
                    : option && option->kind != SD_OPTION_TEXT && option->kind != SD_OPTION_CHOICE;
    bool flag = f && f->kind == OPENAI_FLAG;
    cJSON *value = NULL;
    if (!cJSON_IsString(item))
        return item;
    if (number || flag)
        value = typed(item->valuestring, flag);
    else if (!strcmp(item->string, "loras"))
        value = json_parse(item->valuestring, strlen(item->valuestring));
    if (!value)
        return item;
    char *name = strdup(item->string);
    if (name)
        cJSON_ReplaceItemInObjectCaseSensitive(r->body, name, value);
    else
        cJSON_Delete(value);
    free(name);
    return name ? value : item;
}

/* ---- checks ---- */

static void check_choice(struct reader *r, const struct openai_field *f, const cJSON *item) {
    char list[160] = "", shown[80];
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (!strcmp(f->name, "background") && !strcmp(text, "transparent")) {
        refuse(r, f->name, "transparent pictures cannot be made here; expected \"auto\" or \"opaque\"");
        return;
    }
    if (!strcmp(f->name, "output_format") && !strcmp(text, "webp")) {
        refuse(r, f->name, "webp cannot be written here; expected \"png\" or \"jpeg\"");
        return;
    }
    for (size_t i = 0; f->choices[i]; i++) {
        if (!strcmp(text, f->choices[i]))
            return;
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s\"%s\"", i ? ", " : "", f->choices[i]);
    }
    refuse(r, f->name, "expected one of %s, found %s", list, json_show(item, shown, sizeof shown));
}

static void check_count(struct reader *r, const struct openai_field *f, const cJSON *item) {
    char shown[80];
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(value >= f->low && value <= f->high) || value != (uint32_t)value)
        refuse(r, f->name, "expected a whole number from %u to %u, found %s", f->low, f->high,
               json_show(item, shown, sizeof shown));
}

static bool read_size(const char *text, double *width, double *height) {
    char *end;
    if (*text < '1' || *text > '9')
        return false;
    *width = (double)strtoul(text, &end, 10);
    if (*end != 'x' || end[1] < '1' || end[1] > '9')
        return false;
    *height = (double)strtoul(end + 1, &end, 10);
    return !*end;
}

static void check_size(struct reader *r, const struct openai_field *f, const cJSON *item) {
    double width, height;
    char shown[80];
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (strcmp(text, "auto") != 0 && !read_size(text, &width, &height))
        refuse(r, f->name, "expected \"auto\" or width x height such as \"512x768\", found %s",
               json_show(item, shown, sizeof shown));
}

static void check(struct reader *r, const struct openai_field *f, const cJSON *item) {
    char shown[80];
    if (f->kind == OPENAI_CHOICE)
        check_choice(r, f, item);
    else if (f->kind == OPENAI_COUNT)
        check_count(r, f, item);
    else if (f->kind == OPENAI_SIZE)
        check_size(r, f, item);
    else if (f->kind == OPENAI_FLAG && !cJSON_IsBool(item))
        refuse(r, f->name, "expected true or false, found %s", json_show(item, shown, sizeof shown));
    else if (f->kind == OPENAI_TEXT && !cJSON_IsString(item))
        refuse(r, f->name, "expected a string, found %s", json_show(item, shown, sizeof shown));
}

/* ---- pictures ---- */

/* The base64 text of a picture; NULL after refusing. */
static const char *picture_text(struct reader *r, const char *field, const cJSON *item) {
    const cJSON *url = cJSON_IsObject(item) ? json_get(item, "image_url") : item;
    char shown[80];
    if (cJSON_IsObject(item) && json_get(item, "file_id"))
        refuse(r, field, "files are not kept here; expected {\"image_url\": \"data:image/png;base64,...\"}");
    else if (!cJSON_IsString(url))
        refuse(r, field,
               "expected a picture such as {\"image_url\": \"data:image/png;base64,...\"}, found %s",
               json_show(item, shown, sizeof shown));
    else if (!strncmp(url->valuestring, "http:", 5) || !strncmp(url->valuestring, "https:", 6))
        refuse(r, field, "addresses are not fetched; expected \"data:image/png;base64,...\"");
    else
        return url->valuestring;
    return NULL;
}

static void add_pictures(struct reader *r, cJSON *json) {
    const cJSON *images = json_get(r->body, "images"), *mask = json_get(r->body, "mask");
    const char *name = images ? "images" : "image", *text;
    const cJSON *image = images ? images : json_get(r->body, "image");
    if (!image || (images && json_get(r->body, "image"))) {
        refuse(r, "image",
               image ? "expected either image or images, found both" : "expected a picture, found none");
        return;
    }
    if (cJSON_IsArray(image)) {
        int count = cJSON_GetArraySize(image);
        if (count != 1)
            refuse(r, name, "expected one picture, found %d; several are not supported", count);
        image = image->child;
    }
    if (!r->status && (text = picture_text(r, name, image)))
        cJSON_AddStringToObject(json, "init_image", text);
    if (!r->status && mask && (text = picture_text(r, "mask", mask)))
        cJSON_AddStringToObject(json, "mask", text);
}

/* ---- the request ---- */

static void read_item(struct reader *r, cJSON *item) {
    const struct openai_field *f = find(item->string, r->out->call);
    if (cJSON_IsNull(item))
        return;
    if (r->form)
        item = type_item(r, item, f);
    if (f)
        check(r, f, item);
    else if (openai_takes(item->string))
        cJSON_AddItemToObject(r->out->json, item->string, cJSON_Duplicate(item, true));
    else
        warn(r->out, item->string, "ignored");
}

/* Scripts that were written for OpenAI name its models. */
static bool is_openais(const char *model) {
    return !strncmp(model, "dall-e-", 7) || !strncmp(model, "gpt-image", 9) ||
           !strncmp(model, "chatgpt-image", 13);
}

static void add_model(struct reader *r, cJSON *json) {
    const char *model = json_text(r->body, "model", "");
    if (is_openais(model))
        warn(r->out, "model", "the default model in place of OpenAI's");
    else if (*model)
        cJSON_AddStringToObject(json, "model", model);
}

static void add_own(struct reader *r, cJSON *json) {
    const cJSON *body = r->body;
    double width, height, quality = json_number(body, "output_compression", 90);
    cJSON_AddStringToObject(json, "prompt", json_text(body, "prompt", ""));
    add_model(r, json);
    cJSON_AddNumberToObject(json, "count", json_number(body, "n", 1));
    if (read_size(json_text(body, "size", ""), &width, &height)) {
        cJSON_AddNumberToObject(json, "width", width);
        cJSON_AddNumberToObject(json, "height", height);
    }
    cJSON_AddStringToObject(json, "format", json_text(body, "output_format", "png"));
    cJSON_AddNumberToObject(json, "quality", quality < 1 ? 1 : quality);
    if (r->out->call != OPENAI_GENERATIONS)
        add_pictures(r, json);
}

static void read_answer(struct openai_request *out, const cJSON *body) {
    bool dalle = !strncmp(json_text(body, "model", ""), "dall-e-", 7);
    out->url = !strcmp(json_text(body, "response_format", dalle ? "url" : "b64_json"), "url");
    out->stream = json_flag(body, "stream", false);
    out->partials = (uint32_t)json_number(body, "partial_images", 0);
    snprintf(out->quality, sizeof out->quality, "%s", json_text(body, "quality", "auto"));
    if (out->stream && out->partials)
        cJSON_AddNumberToObject(out->json, "preview_every", 1);
}

sd_status openai_read(struct openai_request *out, enum openai_call call, cJSON *body, bool form,
                      const struct config *config, char *field, sd_error *err) {
    struct reader r = {out, body, form, field, err, SD_OK};
    char shown[80];
    *out = (struct openai_request){.json = cJSON_CreateObject(), .call = call};
    *field = 0;
    if (!out->json)
        r.status = sd_fail(err, SD_E_MEMORY, "out of memory");
    else if (!cJSON_IsObject(body))
        refuse(&r, "", "expected a JSON object, found %s",
               body ? json_show(body, shown, sizeof shown) : "none");
    for (cJSON *item = body ? body->child : NULL, *next; item && !r.status; item = next) {
        next = item->next;
        read_item(&r, item);
    }
    const struct openai_field *f;
    for (size_t i = 0; (f = openai_field_at(i)) && !r.status; i++)
        if ((f->needed & call) && !json_get(body, f->name))
            refuse(&r, f->name, "expected %s, found none", f->kind == OPENAI_TEXT ? "a string" : "a picture");
    if (!r.status)
        add_own(&r, out->json);
    if (!r.status) {
        read_answer(out, body);
        r.status = openai_pictures(out, config, field, err);
    }
    cJSON_Delete(body);
    if (r.status)
        openai_clear(out);
    return r.status;
}

void openai_clear(struct openai_request *r) {
    cJSON_Delete(r->json);
    r->json = NULL;
}

void openai_rename(char *field, sd_error *err) {
    static const char *const pairs[][2] = {{"width", "size"},       {"height", "size"},
                                           {"count", "n"},          {"format", "output_format"},
                                           {"init_image", "image"}, {"quality", "output_compression"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (strcmp(field, pairs[i][0]))
            continue;
        size_t n = strlen(field);
        char rest[sizeof err->message];
        if (!strncmp(err->message, field, n) && err->message[n] == ':') {
            snprintf(rest, sizeof rest, "%s", err->message + n);
            snprintf(err->message, sizeof err->message, "%s%.1000s", pairs[i][1], rest);
        }
        snprintf(field, 64, "%s", pairs[i][1]);
        return;
    }
}
