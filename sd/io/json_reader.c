#include "sd/io/json_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool sd_json_fail(sd_json_reader *j, const char *format, ...) {
    char message[640];
    va_list args;
    if (j->status)
        return false;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    j->status = sd_fail(j->err, SD_E_FORMAT, "%s%s", j->label, message);
    return false;
}

static void skip_space(sd_json_reader *j) {
    while (j->at < j->size && memchr(" \t\r\n", j->text[j->at], 4))
        j->at++;
}

/* What stands at the cursor, for messages: a number, a quoted byte or the end. */
static const char *found(const sd_json_reader *j, char buffer[48]) {
    size_t n = 0;
    if (j->at >= j->size)
        return "the end of the text";
    unsigned char c = (unsigned char)j->text[j->at];
    if (c == '-' || (c >= '0' && c <= '9')) {
        while (n < 40 && j->at + n < j->size && strchr("+-.eE0123456789", j->text[j->at + n]) &&
               j->text[j->at + n])
            n++;
        memcpy(buffer, j->text + j->at, n);
        buffer[n] = 0;
    } else if (c == '"')
        return "a string";
    else if (c == '{')
        return "an object";
    else if (c == '[')
        return "an array";
    else if (c >= 0x20 && c < 0x7F)
        snprintf(buffer, 48, "'%c'", c);
    else
        snprintf(buffer, 48, "byte 0x%02X", c);
    return buffer;
}

static bool unexpected(sd_json_reader *j, const char *expected) {
    char buffer[48];
    return sd_json_fail(j, ": expected %s, found %s at byte %zu", expected, found(j, buffer), j->at);
}

static bool take(sd_json_reader *j, char c) {
    skip_space(j);
    if (j->status || j->at >= j->size || j->text[j->at] != c)
        return false;
    j->at++;
    return true;
}

char sd_json_peek(sd_json_reader *j) {
    skip_space(j);
    if (j->status || j->at >= j->size)
        return 0;
    char c = j->text[j->at];
    if (c == '-' || (c >= '0' && c <= '9'))
        return '0';
    return c && strchr("{[\"tfn", c) ? c : 0;
}

bool sd_json_enter(sd_json_reader *j, char bracket, const char *what) {
    if (!take(j, bracket))
        return unexpected(j, what);
    j->first = true;
    return true;
}

/* The comma or closing bracket before a member; true when a member follows. */
static bool next(sd_json_reader *j, char close) {
    bool first = j->first;
    if (j->status)
        return false;
    j->first = false;
    if (take(j, close))
        return false;
    if (!first && !take(j, ','))
        return unexpected(j, close == '}' ? "',' or '}'" : "',' or ']'");
    return true;
}

bool sd_json_member(sd_json_reader *j, char **name) {
    if (!next(j, '}') || !sd_json_string(j, "a name in quotes", name))
        return false;
    return take(j, ':') || unexpected(j, "':'");
}

bool sd_json_element(sd_json_reader *j) {
    return next(j, ']');
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f')
        return (c | 32) - 'a' + 10;
    return -1;
}

/* The four digits after \u; -1 when they are not there. */
static int32_t hex4(sd_json_reader *j) {
    int32_t value = 0;
    if (j->size - j->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(j->text[j->at + (size_t)i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    j->at += 4;
    return value;
}

/* Reads \uXXXX, or a surrogate pair, after the u; writes its UTF-8 at out and returns the length, 0 on error.
 */
static size_t unicode_escape(sd_json_reader *j, char *out) {
    int32_t code = hex4(j);
    if (code < 0)
        return sd_json_fail(j, ": a \\u escape without four hex digits at byte %zu", j->at);
    if (code == 0)
        return sd_json_fail(j, ": a string with U+0000 at byte %zu", j->at);
    if (code >= 0xD800 && code < 0xE000) {
        int32_t low = -1;
        if (code < 0xDC00 && j->size - j->at >= 2 && j->text[j->at] == '\\' && j->text[j->at + 1] == 'u') {
            j->at += 2;
            low = hex4(j);
        }
        if (low < 0xDC00 || low > 0xDFFF)
            return sd_json_fail(j, ": half of a surrogate pair at byte %zu", j->at);
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xFF) | code);
    return n;
}

/* Finds the closing quote; the text between is not longer than the string that it stands for. */
static bool string_end(sd_json_reader *j, size_t *end) {
    for (size_t i = j->at; i < j->size; i++) {
        unsigned char c = (unsigned char)j->text[i];
        if (c == '"') {
            *end = i;
            return true;
        }
        if (c < 0x20) {
            j->at = i;
            return sd_json_fail(j, ": a control character inside a string at byte %zu", i);
        }
        if (c == '\\')
            i++;
    }
    return sd_json_fail(j, ": a string that does not end");
}

/* The string after its opening quote; `out` NULL checks it without keeping it. */
static bool string_body(sd_json_reader *j, char *out, size_t end) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char unused[4];
    while (j->at < end) {
        char c = j->text[j->at++];
        if (c != '\\') {
            if (out)
                *out++ = c;
            continue;
        }
        c = j->text[j->at++];
        const char *escape = c ? strchr(names, c) : NULL;
        if (escape) {
            if (out)
                *out++ = values[escape - names];
        } else if (c == 'u') {
            size_t n = unicode_escape(j, out ? out : unused);
            if (!n)
                return false;
            if (out)
                out += n;
        } else
            return sd_json_fail(j, ": an unknown escape in a string at byte %zu", j->at - 1);
    }
    if (out)
        *out = 0;
    j->at = end + 1;
    return true;
}

bool sd_json_string(sd_json_reader *j, const char *what, char **out) {
    size_t end = 0;
    if (!take(j, '"'))
        return unexpected(j, what);
    if (!string_end(j, &end))
        return false;
    *out = sd_arena_alloc(j->arena, end - j->at + 1);
    if (!*out) {
        j->status = sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its names", j->label);
        return false;
    }
    return string_body(j, *out, end);
}

/* Passes over a number of any form; the cursor stays put when there is none. */
static bool number(sd_json_reader *j) {
    size_t start = j->at, i = start;
    const char *t = j->text;
#define DIGITS()                                                                                             \
    for (; i < j->size && t[i] >= '0' && t[i] <= '9'; i++)                                                   \
        count++;
    size_t count = 0;
    i += i < j->size && t[i] == '-';
    size_t whole = i;
    DIGITS()
    if (!count || (count > 1 && t[whole] == '0'))
        return false;
    if (i < j->size && t[i] == '.') {
        i++, count = 0;
        DIGITS()
        if (!count)
            return false;
    }
    if (i < j->size && (t[i] | 32) == 'e') {
        i++, count = 0;
        i += i < j->size && (t[i] == '+' || t[i] == '-');
        DIGITS()
        if (!count)
            return false;
    }
#undef DIGITS
    j->at = i;
    return true;
}

bool sd_json_u64(sd_json_reader *j, const char *what, uint64_t *out) {
    uint64_t value = 0;
    skip_space(j);
    if (j->status)
        return false;
    size_t start = j->at;
    bool ok = number(j);
    for (size_t i = start; ok && i < j->at; i++) {
        unsigned digit = (unsigned)(unsigned char)j->text[i] - '0';
        ok = digit < 10 && !__builtin_mul_overflow(value, (uint64_t)10, &value) &&
             !__builtin_add_overflow(value, (uint64_t)digit, &value);
    }
    if (!ok) {
        j->at = start;
        return unexpected(j, what);
    }
    *out = value;
    return true;
}

static bool skip_scalar(sd_json_reader *j) {
    static const char *const words[] = {"true", "false", "null"};
    size_t end = 0;
    if (take(j, '"'))
        return string_end(j, &end) && string_body(j, NULL, end);
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (j->size - j->at >= n && memcmp(j->text + j->at, words[i], n) == 0) {
            j->at += n;
            return true;
        }
    }
    return number(j) || unexpected(j, "a value");
}

/* The name and colon of an object member, unkept. */
static bool skip_name(sd_json_reader *j) {
    size_t end = 0;
    if (!take(j, '"'))
        return unexpected(j, "a name in quotes");
    if (!string_end(j, &end) || !string_body(j, NULL, end))
        return false;
    return take(j, ':') || unexpected(j, "':'");
}

bool sd_json_skip(sd_json_reader *j) {
    char closers[64];
    size_t depth = 0;
    do {
        if (depth && !next(j, closers[depth - 1])) {
            depth--;
            continue;
        }
        if (depth && closers[depth - 1] == '}' && !skip_name(j))
            return false;
        char c = sd_json_peek(j);
        if (c == '{' || c == '[') {
            if (depth == sizeof closers)
                return sd_json_fail(j, ": values nested deeper than %zu levels", sizeof closers);
            closers[depth++] = c == '{' ? '}' : ']';
            j->at++;
            j->first = true;
        } else if (!skip_scalar(j))
            return false;
    } while (depth && !j->status);
    return !j->status;
}

bool sd_json_end(sd_json_reader *j) {
    skip_space(j);
    if (j->status)
        return false;
    return j->at == j->size || unexpected(j, "nothing after the closing brace");
}
