#include "sd/base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(sd_str *s, size_t more) {
    size_t limit = s->limit ? s->limit : (size_t)16 << 20;
    if (s->failed || more >= limit || s->size > limit - more - 1)
        return !(s->failed = true);
    size_t need = s->size + more + 1;
    if (need <= s->capacity)
        return true;
    size_t capacity = s->capacity ? s->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *text = realloc(s->text, capacity);
    if (!text)
        return !(s->failed = true);
    s->text = text;
    s->capacity = capacity;
    return true;
}

void sd_str_append_bytes(sd_str *s, const void *bytes, size_t size) {
    if (!reserve(s, size))
        return;
    if (size)
        memcpy(s->text + s->size, bytes, size);
    s->size += size;
    s->text[s->size] = 0;
}

void sd_str_append(sd_str *s, const char *text) {
    sd_str_append_bytes(s, text, strlen(text));
}

void sd_str_printf(sd_str *s, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        s->failed = true;
    else if (reserve(s, (size_t)n)) {
        vsnprintf(s->text + s->size, (size_t)n + 1, format, again);
        s->size += (size_t)n;
    }
    va_end(again);
}

void sd_str_clear(sd_str *s) {
    free(s->text);
    *s = (sd_str){.limit = s->limit};
}

enum { longest_name = 64 };

static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t row[longest_name + 1];
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

const char *sd_closest(const char *word, const char *const *names) {
    size_t n = strlen(word), bound = n / 3 > 1 ? n / 3 : 1;
    const char *nearest = NULL;
    if (n > longest_name)
        return NULL;
    for (; *names; names++) {
        size_t length = strlen(*names);
        if (length > longest_name)
            continue;
        size_t distance = edit_distance(word, n, *names, length);
        if (distance <= bound) {
            nearest = *names;
            if (distance == 0)
                break;
            bound = distance - 1;
        }
    }
    return nearest;
}

bool sd_utf8_valid(const char *text, size_t size) {
    const unsigned char *p = (const unsigned char *)text, *end = p + size;
    while (p < end) {
        unsigned char lead = *p++;
        if (lead < 0x80)
            continue;
        size_t more = lead >= 0xC2 && lead < 0xE0   ? 1
                      : (lead & 0xF0) == 0xE0       ? 2
                      : lead >= 0xF0 && lead < 0xF5 ? 3
                                                    : 0;
        if (!more || (size_t)(end - p) < more)
            return false;
        uint32_t code = lead & (0x3F >> more);
        for (size_t i = 0; i < more; i++, p++) {
            if ((*p & 0xC0) != 0x80)
                return false;
            code = code << 6 | (*p & 0x3F);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10FFFF)) ||
            (code >= 0xD800 && code < 0xE000))
            return false;
    }
    return true;
}
