#include "server/json.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first escape of U+0000 in a string, or of no character at all, which cJSON takes for U+0000; else NULL.
 */
static const char *find_nul_escape(const char *text, size_t size) {
    enum { length = 6 };
    const char *end = text + size;
    for (const char *p = text; (p = memchr(p, '\\', (size_t)(end - p))) && end - p >= length; p += 2) {
        char digits[5] = {p[2], p[3], p[4], p[5], 0};
        if (p[1] == 'u' && (strspn(digits, "0123456789abcdefABCDEF") < 4 || !strcmp(digits, "0000")))
            return p;
    }
    return NULL;
}

const char *json_found(const void *text, size_t size) {
    const char *escape = find_nul_escape(text, size);
    return escape && !memcmp(escape, "\\u0000", 6) ? ", found U+0000 in a string" : "";
}

cJSON *json_parse(const void *text, size_t size) {
    const char *end = NULL;
    if (memchr(text, 0, size) || find_nul_escape(text, size))
        return NULL;
    cJSON *value = cJSON_ParseWithLengthOpts(text, size, &end, false);
    for (const char *p = end; value && p && p < (const char *)text + size; p++)
        if (*p != ' ' && *p != '\t' && *p != '\n' && *p != '\r') {
            cJSON_Delete(value);
            return NULL;
        }
    return value;
}

const cJSON *json_get(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(item) ? NULL : item;
}

const char *json_text(const cJSON *object, const char *name, const char *otherwise) {
    const cJSON *item = json_get(object, name);
    return cJSON_IsString(item) ? item->valuestring : otherwise;
}

double json_number(const cJSON *object, const char *name, double otherwise) {
    const cJSON *item = json_get(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool json_flag(const cJSON *object, const char *name, bool otherwise) {
    const cJSON *item = json_get(object, name);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

cJSON *json_integer(int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return cJSON_CreateRaw(text);
}

void json_add_integer(cJSON *object, const char *name, int64_t value) {
    cJSON_AddItemToObject(object, name, json_integer(value));
}

const char *json_show(const cJSON *value, char *out, size_t size) {
    if (cJSON_IsString(value))
        snprintf(out, size, strlen(value->valuestring) > 60 ? "'%.60s...'" : "'%.60s'", value->valuestring);
    else if (cJSON_IsNumber(value))
        snprintf(out, size, "%.17g", value->valuedouble);
    else
        snprintf(out, size, "%s",
                 cJSON_IsObject(value)  ? "an object"
                 : cJSON_IsArray(value) ? "an array"
                 : cJSON_IsTrue(value)  ? "true"
                 : cJSON_IsFalse(value) ? "false"
                                        : "null");
    return out;
}

/* Value of a base64 digit, -1 for others. */
static int digit(unsigned char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

uint8_t *base64_decode(const char *text, size_t *size) {
    const char *comma = strncmp(text, "data:", 5) ? NULL : strchr(text, ',');
    text = comma ? comma + 1 : text;
    uint8_t *out = malloc(strlen(text) / 4 * 3 + 4);
    uint32_t bits = 0;
    unsigned held = 0, padding = 0; /* bits that are not yet a byte */
    size_t n = 0;
    bool valid = true;
    for (; out && *text && valid; text++) {
        int value = digit((unsigned char)*text);
        if (strchr(" \t\r\n", *text))
            continue;
        valid = *text == '=' ? ++padding <= 2 : value >= 0 && !padding;
        if (!valid || *text == '=')
            continue;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
        }
    }
    if (!valid || held == 6) { /* one digit alone is no byte */
        free(out);
        return NULL;
    }
    *size = n;
    return out;
}

char *base64_encode(const uint8_t *data, size_t size) {
    if (size > INT32_MAX / 2)
        return NULL;
    char *out = malloc((size + 2) / 3 * 4 + 1);
    if (out)
        EVP_EncodeBlock((unsigned char *)out, data, (int)size);
    return out;
}
