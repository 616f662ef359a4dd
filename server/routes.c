/* From a path to its route, and the shapes of answers. */
#include "server/a1111.h"
#include "server/openai_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct route *const route_tables[] = {routes_health,  routes_jobs, routes_openai, routes_metrics,
                                            routes_openapi, routes_page, routes_a1111,  NULL};

enum face face_of(const char *path) {
    /* Clients of A1111 ask for its ControlNet as well, to learn whether it is there. */
    return !strncmp(path, "/sdapi/", 7) || !strncmp(path, "/controlnet/", 12)     ? FACE_A1111
           : !strncmp(path, "/v1/images", 10) || !strncmp(path, "/v1/models", 10) ? FACE_OPENAI
                                                                                  : FACE_NATIVE;
}

/* Copies the open parts; false when the path does not fit, or a part is longer than any name of ours. */
static bool fits(const char *pattern, const char *path, struct route_parts *parts) {
    int part = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t n = strcspn(path, "/");
        if (!n || n >= sizeof parts->text[0] || part == ROUTE_PARTS)
            return false;
        memcpy(parts->text[part], path, n);
        parts->text[part++][n] = 0;
        path += n;
        pattern = strchr(pattern, '}') + 1;
    }
    return !*pattern && !*path;
}

const struct route *route_find(exchange *x, struct route_parts *parts) {
    const char *method = exchange_method(x), *path = exchange_path(x);
    bool known = false;
    char allowed[64] = "";
    for (size_t t = 0; route_tables[t]; t++)
        for (const struct route *r = route_tables[t]; r->method; r++) {
            if (!fits(r->path, path, parts))
                continue;
            if (!strcmp(r->method, method) || (!strcmp(method, "HEAD") && !strcmp(r->method, "GET")))
                return r;
            known = true;
            snprintf(allowed + strlen(allowed), sizeof allowed - strlen(allowed), "%s%s",
                     *allowed ? ", " : "", r->method);
        }
    if (known) {
        exchange_add_header(x, "Allow", allowed);
        reply_error(x, 405, NULL, "%s",
                    face_of(path) == FACE_A1111 ? "Method Not Allowed" : "this address knows other methods");
    } else
        reply_error(x, 404, NULL, "%s",
                    face_of(path) == FACE_A1111 ? "Not Found" : "there is no such address");
    return NULL;
}

void reply_json(exchange *x, unsigned status, cJSON *json) {
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text)
        exchange_reply(x, status, "application/json", text, strlen(text));
    else
        exchange_reply_text(x, 503, "application/json", "{\"error\":\"out of memory\"}");
}

/* A1111 (FastAPI): {"detail": ...}; validation errors are a list. */
static cJSON *a1111_error(unsigned status, const char *field, const char *text) {
    cJSON *json = cJSON_CreateObject();
    if (status != 422) {
        cJSON_AddStringToObject(json, "error", "HTTPException");
        cJSON_AddStringToObject(json, "detail", text);
        cJSON_AddStringToObject(json, "body", "");
        cJSON_AddStringToObject(json, "errors", text);
        return json;
    }
    cJSON *item = cJSON_CreateObject(), *where = cJSON_AddArrayToObject(item, "loc");
    cJSON_AddItemToArray(where, cJSON_CreateString("body"));
    if (field && *field)
        cJSON_AddItemToArray(where, cJSON_CreateString(field));
    cJSON_AddStringToObject(item, "msg", text);
    cJSON_AddStringToObject(item, "type", "value_error");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "detail"), item);
    return json;
}

static cJSON *openai_error(unsigned status, const char *field, const char *text) {
    cJSON *json = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(json, "error");
    const char *type = status == 401   ? "authentication_error"
                       : status == 429 ? "rate_limit_error"
                       : status >= 500 ? "server_error"
                                       : "invalid_request_error";
    cJSON_AddStringToObject(error, "message", text);
    cJSON_AddStringToObject(error, "type", type);
    cJSON_AddItemToObject(error, "param", field && *field ? cJSON_CreateString(field) : cJSON_CreateNull());
    cJSON_AddItemToObject(error, "code", cJSON_CreateNull());
    return json;
}

static cJSON *native_error(const char *field, const char *text) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "error", text);
    if (field && *field)
        cJSON_AddStringToObject(json, "field", field);
    return json;
}

void reply_error(exchange *x, unsigned status, const char *field, const char *format, ...) {
    char text[1100];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    enum face face = face_of(exchange_path(x));
    reply_json(x, status,
               face == FACE_A1111    ? a1111_error(status, field, text)
               : face == FACE_OPENAI ? openai_error(status, field, text)
                                     : native_error(field, text));
}

void reply_refusal(exchange *x, enum submitted result, const char *field, const sd_error *err) {
    bool openai = face_of(exchange_path(x)) == FACE_OPENAI;
    if (result == SUBMIT_INVALID && openai) {
        sd_error renamed = *err;
        char name[64];
        snprintf(name, sizeof name, "%s", field);
        openai_rename(name, &renamed);
        reply_error(x, 400, name, "%s", renamed.message);
    } else if (result == SUBMIT_INVALID && face_of(exchange_path(x)) == FACE_A1111)
        a1111_reply_native(x, field, err->message);
    else if (result == SUBMIT_INVALID)
        reply_error(x, 422, field, "%s", err->message);
    else if (result == SUBMIT_STORE)
        reply_error(x, 503, NULL, "the job cannot be kept: %s", err->message);
    else if (result == SUBMIT_FULL) {
        exchange_add_header(x, "Retry-After", "10");
        reply_error(x, 429, NULL, "the queue is full; try again later");
    } else
        reply_error(x, 503, NULL, "the server is stopping");
}

unsigned status_of(sd_status status) {
    switch (status) {
    case SD_OK:
        return 200;
    case SD_E_ARGUMENT:
    case SD_E_NOT_FOUND:
    case SD_E_FORMAT:
    case SD_E_UNSUPPORTED:
        return 422;
    case SD_E_MEMORY:
    case SD_E_DEVICE_MEMORY:
    case SD_E_DEVICE_LOST:
    case SD_E_CANCELLED:
        return 503;
    default:
        return 500;
    }
}
