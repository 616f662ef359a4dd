#include "sd/io/gguf_internal.h"

#include "sd/base/checked.h"
#include "sd/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { deepest_array = 8 };

/* ---- taking bytes ---- */

bool sd_gguf_fail(struct sd_gguf_cursor *c, sd_status status, const char *format, ...) {
    char message[640], which[160] = "";
    va_list args;
    if (c->status)
        return false;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (c->name)
        snprintf(which, sizeof which, "%s '%s': ", c->kind, sd_show_name(c->name).text);
    else if (c->kind)
        snprintf(which, sizeof which, "%s %" PRIu64 ": ", c->kind, c->number);
    c->status = sd_fail(c->err, status, "%s: %s%s", c->label, which, message);
    return false;
}

bool sd_gguf_take(struct sd_gguf_cursor *c, const char *what, uint64_t bytes, const uint8_t **out) {
    if (c->status)
        return false;
    if (bytes > c->size - c->at) {
        sd_gguf_fail(c, SD_E_FORMAT,
                     "%s needs %" PRIu64 " bytes from byte %" PRIu64 " on, the file has %" PRIu64, what,
                     bytes, c->at, c->size);
        return false;
    }
    *out = c->data + c->at;
    c->at += bytes;
    return true;
}

bool sd_gguf_no_memory(struct sd_gguf_cursor *c) {
    if (!c->status)
        c->status = sd_fail(c->err, SD_E_MEMORY, "%s: no memory to open it", c->label);
    return false;
}

static uint64_t little_endian(const uint8_t *p, uint32_t bytes) {
    uint64_t value = 0;
    for (uint32_t i = bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

bool sd_gguf_take_u32(struct sd_gguf_cursor *c, const char *what, uint32_t *out) {
    const uint8_t *p;
    if (!sd_gguf_take(c, what, 4, &p))
        return false;
    *out = (uint32_t)little_endian(p, 4);
    return true;
}

bool sd_gguf_take_u64(struct sd_gguf_cursor *c, const char *what, uint64_t *out) {
    const uint8_t *p;
    if (!sd_gguf_take(c, what, 8, &p))
        return false;
    *out = little_endian(p, 8);
    return true;
}

bool sd_gguf_take_string(struct sd_gguf_cursor *c, const char *what, const uint8_t **text, uint64_t *bytes) {
    return sd_gguf_take_u64(c, what, bytes) && sd_gguf_take(c, what, *bytes, text);
}

bool sd_gguf_take_name(struct sd_gguf_cursor *c, sd_arena *arena, const char *what, const char **out) {
    const uint8_t *text;
    uint64_t bytes;
    if (!sd_gguf_take_string(c, what, &text, &bytes))
        return false;
    if (!bytes || memchr(text, 0, (size_t)bytes) || !sd_utf8_valid((const char *)text, (size_t)bytes))
        return sd_gguf_fail(c, SD_E_FORMAT,
                            "expected %s as UTF-8 text without NUL, found %" PRIu64 " other bytes", what,
                            bytes);
    char *copy = sd_arena_alloc(arena, (size_t)bytes + 1);
    if (!copy)
        return sd_gguf_no_memory(c);
    memcpy(copy, text, (size_t)bytes);
    *out = copy;
    return true;
}

/* ---- values ---- */

static bool take_type(struct sd_gguf_cursor *c, sd_gguf_type *out) {
    uint32_t number;
    if (!sd_gguf_take_u32(c, "the type", &number))
        return false;
    if (number >= SD_GGUF_TYPES)
        return sd_gguf_fail(c, SD_E_FORMAT, "unknown value type %" PRIu32, number);
    *out = (sd_gguf_type)number;
    return true;
}

static bool check_flags(struct sd_gguf_cursor *c, const uint8_t *flags, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (flags[i] > 1)
            return sd_gguf_fail(c, SD_E_FORMAT, "expected 0 or 1 as a BOOL, found %u", flags[i]);
    return true;
}

static bool take_content(struct sd_gguf_cursor *c, sd_gguf_value *v, unsigned depth);

/* Element type, count and elements. Every element has at least one byte, so that the loop ends with the file.
 */
static bool take_array(struct sd_gguf_cursor *c, sd_gguf_value *v, unsigned depth) {
    uint64_t bytes;
    if (depth == deepest_array)
        return sd_gguf_fail(c, SD_E_UNSUPPORTED, "arrays nested deeper than %d levels", deepest_array);
    if (!take_type(c, &v->element) || !sd_gguf_take_u64(c, "the length", &v->count))
        return false;
    v->data = c->data + c->at;
    uint32_t size = sd_gguf_type_size(v->element);
    if (size) {
        if (!sd_mul_u64(v->count, size, &bytes))
            bytes = UINT64_MAX;
        return sd_gguf_take(c, "the array", bytes, &v->data) &&
               (v->element != SD_GGUF_BOOL || check_flags(c, v->data, v->count));
    }
    for (uint64_t i = 0; i < v->count; i++) {
        sd_gguf_value element = {.type = v->element};
        if (!take_content(c, &element, depth + 1))
            return false;
    }
    return true;
}

static bool take_content(struct sd_gguf_cursor *c, sd_gguf_value *v, unsigned depth) {
    v->element = v->type;
    v->count = 1;
    if (v->type == SD_GGUF_STRING)
        return sd_gguf_take_string(c, "the string", &v->data, &v->bytes);
    if (v->type == SD_GGUF_ARRAY) {
        if (!take_array(c, v, depth))
            return false;
        v->bytes = (uint64_t)(c->data + c->at - v->data);
        return true;
    }
    v->bytes = sd_gguf_type_size(v->type);
    return sd_gguf_take(c, "the value", v->bytes, &v->data) &&
           (v->type != SD_GGUF_BOOL || check_flags(c, v->data, 1));
}

bool sd_gguf_take_value(struct sd_gguf_cursor *c, sd_gguf_value *out) {
    return take_type(c, &out->type) && take_content(c, out, 0);
}

bool sd_gguf_next(const sd_gguf_value *array, uint64_t *at, sd_gguf_value *element) {
    struct sd_gguf_cursor c = {.data = array->data, .size = array->bytes, .at = *at, .label = ""};
    *element = (sd_gguf_value){.type = array->element};
    if (array->type != SD_GGUF_ARRAY || c.at >= c.size || !take_content(&c, element, 0))
        return false;
    *at = c.at;
    return true;
}

const sd_gguf_value *sd_gguf_lookup(const sd_gguf_value *values, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i].key, key) == 0)
            return &values[i];
    return NULL;
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const sd_gguf_value *const *)a)->key, (*(const sd_gguf_value *const *)b)->key);
}

bool sd_gguf_find_twice(const sd_gguf_value *values, size_t count, const char **key) {
    const sd_gguf_value **sorted = malloc((count + 1) * sizeof(*sorted));
    *key = NULL;
    if (!sorted)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &values[i];
    qsort(sorted, count, sizeof *sorted, by_key);
    for (size_t i = 1; i < count && !*key; i++)
        if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0)
            *key = sorted[i]->key;
    free(sorted);
    return true;
}

/* ---- numbers ---- */

bool sd_gguf_i64(const sd_gguf_value *v, int64_t *out) {
    uint64_t bits = little_endian(v->data, sd_gguf_type_size(v->type));
    switch (v->type) {
    case SD_GGUF_I8:
        *out = (int8_t)bits;
        return true;
    case SD_GGUF_I16:
        *out = (int16_t)bits;
        return true;
    case SD_GGUF_I32:
        *out = (int32_t)bits;
        return true;
    case SD_GGUF_U8:
    case SD_GGUF_U16:
    case SD_GGUF_U32:
    case SD_GGUF_BOOL:
    case SD_GGUF_I64:
        *out = (int64_t)bits;
        return true;
    case SD_GGUF_U64:
        *out = (int64_t)bits;
        return bits <= INT64_MAX;
    default:
        return false;
    }
}

bool sd_gguf_u64(const sd_gguf_value *v, uint64_t *out) {
    int64_t number;
    if (v->type == SD_GGUF_U64) {
        *out = little_endian(v->data, 8);
        return true;
    }
    if (!sd_gguf_i64(v, &number) || number < 0)
        return false;
    *out = (uint64_t)number;
    return true;
}

bool sd_gguf_f64(const sd_gguf_value *v, double *out) {
    uint64_t unsigned_number;
    int64_t number;
    float single;
    if (v->type == SD_GGUF_F64) {
        unsigned_number = little_endian(v->data, 8);
        memcpy(out, &unsigned_number, 8);
    } else if (v->type == SD_GGUF_F32) {
        uint32_t bits = (uint32_t)little_endian(v->data, 4);
        memcpy(&single, &bits, 4);
        *out = (double)single;
    } else if (sd_gguf_i64(v, &number))
        *out = (double)number;
    else if (sd_gguf_u64(v, &unsigned_number))
        *out = (double)unsigned_number;
    else
        return false;
    return true;
}

uint64_t sd_gguf_alignment(const sd_gguf_value *values, size_t count) {
    const sd_gguf_value *v = sd_gguf_lookup(values, count, SD_GGUF_ALIGNMENT_KEY);
    uint64_t alignment = SD_GGUF_ALIGNMENT;
    if (v && (v->type != SD_GGUF_U32 || !sd_gguf_u64(v, &alignment)))
        return 0;
    return alignment & (alignment - 1) || alignment > SD_GGUF_MOST_ALIGNMENT ? 0 : alignment;
}
