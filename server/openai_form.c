#include "server/openai_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { most_fields = 100 };

struct reader {
    cJSON *out;
    char name[64]; /* of the field that is being read, "" before the first */
    char *data;
    size_t size, capacity;
    unsigned fields;
    char *field;
    sd_error *err;
};

static bool refuse(struct reader *r, sd_status status, const char *name, const char *message) {
    snprintf(r->field, 64, "%s", name);
    sd_fail(r->err, status, "%s%s%s", name, *name ? ": " : "", message);
    return false;
}

/* The list behind "image"; made when it is first needed. */
static cJSON *pictures(struct reader *r) {
    cJSON *list = cJSON_GetObjectItemCaseSensitive(r->out, "image");
    return list ? list : cJSON_AddArrayToObject(r->out, "image");
}

/* Adds what was read to the object. */
static bool flush(struct reader *r) {
    bool image = !strcmp(r->name, "image") || !strcmp(r->name, "image[]"), mask = !strcmp(r->name, "mask");
    if (!*r->name)
        return true;
    if (!image && cJSON_HasObjectItem(r->out, r->name))
        return refuse(r, SD_E_ARGUMENT, r->name, "expected it once, found it twice");
    if (!image && !mask && r->size && memchr(r->data, 0, r->size))
        return refuse(r, SD_E_ARGUMENT, r->name, "expected a text, found a NUL byte in it");
    char *text = image || mask ? base64_encode((const uint8_t *)r->data, r->size)
                               : strndup(r->data ? r->data : "", r->size);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;
    free(text);
    r->size = 0;
    if (!item ||
        !(image ? cJSON_AddItemToArray(pictures(r), item) : cJSON_AddItemToObject(r->out, r->name, item))) {
        cJSON_Delete(item);
        return refuse(r, SD_E_MEMORY, r->name, "out of memory");
    }
    return true;
}

static bool begin(struct reader *r, const char *name) {
    if (!flush(r))
        return false;
    if (!name || !*name || strlen(name) >= sizeof r->name)
        return refuse(r, SD_E_ARGUMENT, "", "expected fields with names of 1 to 63 bytes");
    if (++r->fields > most_fields)
        return refuse(r, SD_E_ARGUMENT, "", "expected at most 100 fields, found more");
    snprintf(r->name, sizeof r->name, "%s", name);
    return true;
}

static bool on_piece(void *user, const char *name, const void *data, size_t offset, size_t size) {
    struct reader *r = user;
    if (!offset && !begin(r, name))
        return false;
    if (r->size + size + 1 > r->capacity) {
        size_t capacity = 2 * (r->size + size + 1);
        char *grown = realloc(r->data, capacity);
        if (!grown)
            return refuse(r, SD_E_MEMORY, r->name, "out of memory");
        r->data = grown;
        r->capacity = capacity;
    }
    if (size)
        memcpy(r->data + r->size, data, size);
    r->size += size;
    return true;
}

cJSON *openai_form(const exchange *x, char *field, sd_error *err) {
    struct reader r = {.out = cJSON_CreateObject(), .field = field, .err = err};
    *field = 0;
    *err = (sd_error){0};
    bool whole = exchange_form(x, on_piece, &r) && flush(&r);
    free(r.data);
    if (whole)
        return r.out;
    if (!err->status)
        refuse(&r, SD_E_ARGUMENT, "",
               "expected a whole form (multipart/form-data), found one that is broken off");
    cJSON_Delete(r.out);
    return NULL;
}
