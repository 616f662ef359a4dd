#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "clip/tokenizer_private.h"

typedef enum { SYMBOL, LETTER, NUMBER, SPACE } kind;

/* \p{L}, \p{N} and \s of the tokenizer's pattern; everything else is a symbol. */
static kind kind_of(int32_t c) {
    if ((c >= '\t' && c <= '\r') || c == 0x85)
        return SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return SPACE;
    default:
        return SYMBOL;
    }
}

/* utf8proc sorts a run of combining marks in quadratic time. */
static sd_status check_marks(const char *text, size_t bytes, sd_error *err) {
    size_t run = 0;
    int32_t c;
    for (size_t i = 0; i < bytes;) {
        i += (size_t)utf8proc_iterate((const uint8_t *)text + i, (utf8proc_ssize_t)(bytes - i), &c);
        run = utf8proc_get_property(c)->combining_class ? run + 1 : 0;
        if (run > SD_TOKENIZER_MAX_COMBINING_MARKS)
            return sd_fail(err, SD_E_ARGUMENT,
                           "text: expected at most %d combining marks in a row, found more",
                           SD_TOKENIZER_MAX_COMBINING_MARKS);
    }
    return SD_OK;
}

/* NFC, then lower case; *count code points in *points, freed by the caller. */
static sd_status normalise(const char *text, size_t bytes, int32_t **points, size_t *count, sd_error *err) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const uint8_t *from = (const uint8_t *)text;
    sd_status status = check_marks(text, bytes, err);
    if (status)
        return status;
    utf8proc_ssize_t n = utf8proc_decompose(from, (utf8proc_ssize_t)bytes, NULL, 0, options);
    if (n < 0)
        return sd_fail(err, SD_E_INTERNAL, "text: normalisation failed: %s", utf8proc_errmsg(n));
    /* Lower case may be twice as long; writing from the front never overtakes what is read from the second
     * half. */
    int32_t *buffer = calloc(2 * (size_t)n + 1, sizeof *buffer);
    if (!buffer)
        return sd_fail(err, SD_E_MEMORY, "out of memory for a text of %zu bytes", bytes);
    int32_t *nfc = buffer + n;
    n = utf8proc_decompose(from, (utf8proc_ssize_t)bytes, nfc, n, options);
    if (n >= 0)
        n = utf8proc_normalize_utf32(nfc, n, options);
    if (n < 0) {
        free(buffer);
        return sd_fail(err, SD_E_INTERNAL, "text: normalisation failed: %s", utf8proc_errmsg(n));
    }
    size_t used = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        int32_t c = nfc[i];
        if (c == 0x130) { /* the one character whose lower case is two */
            buffer[used++] = 'i';
            buffer[used++] = 0x307;
        } else {
            buffer[used++] = utf8proc_tolower(c);
        }
    }
    *points = buffer;
    *count = used;
    return SD_OK;
}

static bool starts_with(const int32_t *points, size_t count, const char *word) {
    size_t i = 0;
    while (word[i] && i < count && points[i] == word[i])
        i++;
    return !word[i];
}

/* The length of the contraction at `points`, or 0. */
static size_t contraction(const int32_t *points, size_t count) {
    static const char *const all[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; points[0] == '\'' && i < sizeof all / sizeof *all; i++)
        if (starts_with(points, count, all[i]))
            return strlen(all[i]);
    return 0;
}

/* The length of the word at `points`, which is no space. `marker` is what is left of a special token that
 * only lower case made: such a token is split at its bars and nothing after it joins them. */
static size_t word_length(const int32_t *points, size_t count, size_t *marker) {
    if (*marker == 0 && starts_with(points, count, sd_start_text))
        *marker = sizeof sd_start_text - 1;
    if (*marker == 0 && starts_with(points, count, sd_end_text))
        *marker = sizeof sd_end_text - 1;
    if (*marker)
        count = *marker;
    size_t length = contraction(points, count);
    kind first = kind_of(points[0]);
    if (!length)
        for (length = 1; first != NUMBER && length < count && kind_of(points[length]) == first; length++)
            ;
    *marker -= *marker ? length : 0;
    return length;
}

sd_status sd_tokenizer_words(const char *text, size_t bytes, sd_word_sink *sink, void *user, sd_error *err) {
    int32_t *points = NULL;
    uint8_t *utf8 = NULL;
    size_t count = 0, marker = 0;
    sd_status status = normalise(text, bytes, &points, &count, err);
    if (status)
        return status;
    utf8 = malloc(4 * count + 1);
    if (!utf8)
        status = sd_fail(err, SD_E_MEMORY, "out of memory for a text of %zu bytes", bytes);
    for (size_t at = 0, length; at < count && !status; at += length) {
        length = 1;
        if (kind_of(points[at]) == SPACE)
            continue;
        length = word_length(points + at, count - at, &marker);
        size_t size = 0;
        for (size_t i = 0; i < length; i++)
            size += (size_t)utf8proc_encode_char(points[at + i], utf8 + size);
        status = sink(user, utf8, size, err);
    }
    free(utf8);
    free(points);
    return status;
}
