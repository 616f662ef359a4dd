/* Growing text buffers and the "did you mean" helper. */
#ifndef SD_BASE_STR_H
#define SD_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

/* A buffer that grows up to `limit` bytes (0 means 16 MiB). {0} is valid and empty. After the first failure
 * `failed` stays set, further appends do nothing, and the caller checks once at the end. */
typedef struct sd_str {
    char *text; /* NUL-terminated once anything was appended; may hold NULs itself */
    size_t size, capacity, limit;
    bool failed;
} sd_str;

void sd_str_append(sd_str *s, const char *text);
void sd_str_append_bytes(sd_str *s, const void *bytes, size_t size);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void sd_str_printf(sd_str *s, const char *format, ...);
void sd_str_clear(sd_str *s); /* frees the memory; the buffer can be used again */

/* The entry of `names` (NULL-terminated list) nearest to `word` by edit distance, or NULL when none is near
 * enough to be what was meant (distance over a third of the word's length, at least 1). */
const char *sd_closest(const char *word, const char *const *names);

/* True when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool sd_utf8_valid(const char *text, size_t size);

#endif
