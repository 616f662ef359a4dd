/* Values as pydantic, which A1111 reads its requests with, takes them. */
#include "server/a1111.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool a1111_refuse(struct a1111_refusal *r, const char *field, const char *format, ...) {
    va_list args;
    if (r->status)
        return false;
    r->status = 422;
    snprintf(r->field, sizeof r->field, "%s", field);
    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    return false;
}

void a1111_reply_refusal(exchange *x, const struct a1111_refusal *r) {
    if (r->status)
        reply_error(x, r->status, r->field, "%s", r->text);
    else
        reply_error(x, 503, NULL, "out of memory");
}

void a1111_warn(cJSON *warnings, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cJSON_AddItemToArray(warnings, cJSON_CreateString(text));
}

/* A page of another origin can send text/plain without being asked for leave. */
static bool type_is_json(const exchange *x) {
    const char *type = exchange_header(x, "Content-Type");
    size_t n = type ? strcspn(type, "; ") : 0;
    return !n || (n >= 4 && !strncasecmp(type + n - 4, "json", 4));
}

cJSON *a1111_body(exchange *x, bool needed) {
    size_t size;
    const uint8_t *body = exchange_body(x, &size);
    cJSON *json = size && type_is_json(x) ? json_parse(body, size) : NULL;
    if (cJSON_IsObject(json))
        return json;
    bool nothing = !size || (cJSON_IsString(json) && !*json->valuestring);
    cJSON_Delete(json);
    if (nothing && !needed)
        return cJSON_CreateObject();
    if (size && !type_is_json(x))
        reply_error(x, 422, NULL, "Content-Type: expected application/json");
    else
        reply_error(x, 422, NULL, "expected a JSON object%s", json_found(body, size));
    return NULL;
}

static bool to_number(const cJSON *value, double *out) {
    char *end;
    if (cJSON_IsNumber(value) || cJSON_IsBool(value)) {
        *out = cJSON_IsNumber(value) ? value->valuedouble : cJSON_IsTrue(value);
        return isfinite(*out);
    }
    /* strtod also knows "nan", "inf" and "0x5". */
    if (!cJSON_IsString(value) || strpbrk(value->valuestring, "xXnN"))
        return false;
    *out = strtod(value->valuestring, &end);
    return end != value->valuestring && !end[strspn(end, " ")] && isfinite(*out);
}

static bool to_flag(const cJSON *value, bool *out) {
    static const char *const words[] = {"0",   "1",  "false", "true", "no", "yes",
                                        "off", "on", "f",     "t",    "n",  "y"};
    if (cJSON_IsBool(value) ||
        (cJSON_IsNumber(value) && (value->valuedouble == 0 || value->valuedouble == 1))) {
        *out = cJSON_IsNumber(value) ? value->valuedouble == 1 : cJSON_IsTrue(value);
        return true;
    }
    for (size_t i = 0; cJSON_IsString(value) && i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(words[i], value->valuestring)) {
            *out = i % 2;
            return true;
        }
    return false;
}

static bool all_texts(const cJSON *value) {
    const cJSON *item;
    cJSON_ArrayForEach(item, value) {
        if (!cJSON_IsString(item))
            return false;
    }
    return cJSON_IsArray(value);
}

/* NULL when the value is of another kind. */
static cJSON *convert(const cJSON *value, enum a1111_kind kind) {
    double number;
    bool flag;
    switch (kind) {
    case A1111_WHOLE:
        /* Beyond 2^53 a double skips whole numbers. */
        return to_number(value, &number) && number == floor(number) && fabs(number) <= 0x1p53
                   ? cJSON_CreateNumber(number)
                   : NULL;
    case A1111_NUMBER:
        return to_number(value, &number) ? cJSON_CreateNumber(number) : NULL;
    case A1111_FLAG:
        return to_flag(value, &flag) ? cJSON_CreateBool(flag) : NULL;
    case A1111_TEXT:
        return cJSON_IsString(value) ? cJSON_CreateString(value->valuestring) : NULL;
    case A1111_TEXTS:
        return all_texts(value) ? cJSON_Duplicate(value, true) : NULL;
    case A1111_LIST:
        return cJSON_IsArray(value) ? cJSON_Duplicate(value, true) : NULL;
    default:
        return cJSON_IsObject(value) ? cJSON_Duplicate(value, true) : NULL;
    }
}

cJSON *a1111_coerce(const cJSON *value, enum a1111_kind kind, const char *field, struct a1111_refusal *r) {
    static const char *const expected[] = {
        [A1111_TEXT] = "a string",      [A1111_WHOLE] = "a whole number",      [A1111_NUMBER] = "a number",
        [A1111_FLAG] = "true or false", [A1111_TEXTS] = "an array of strings", [A1111_LIST] = "an array",
        [A1111_OBJECT] = "an object"};
    char shown[80];
    cJSON *out = convert(value, kind);
    if (!out)
        a1111_refuse(r, field, "%s: expected %s, found %s", field, expected[kind],
                     json_show(value, shown, sizeof shown));
    return out;
}
