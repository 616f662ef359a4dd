/* JSON as the routes use it. */
#ifndef SERVER_JSON_H
#define SERVER_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when it is not one JSON value and nothing else, is nested deeper than cJSON allows, or holds a NUL, be
 * it as a byte or as U+0000 in a string: texts here end with it. */
cJSON *json_parse(const void *text, size_t size);
/* What to say behind "expected a JSON object" where it is none: ", found ..." or "". */
const char *json_found(const void *text, size_t size);

/* NULL when the member is absent or null. */
const cJSON *json_get(const cJSON *object, const char *name);
/* `otherwise` when absent, null or of another type. */
const char *json_text(const cJSON *object, const char *name, const char *otherwise);
double json_number(const cJSON *object, const char *name, double otherwise);
bool json_flag(const cJSON *object, const char *name, bool otherwise);

/* A whole number that is printed with all its digits, of which cJSON's own numbers keep 15. NULL: no memory.
 */
cJSON *json_integer(int64_t value);
void json_add_integer(cJSON *object, const char *name, int64_t value);

/* The value as text that fits into `out`, for messages: a string in quotes, cut when it is long. */
const char *json_show(const cJSON *value, char *out, size_t size);

/* Base64 of RFC 4648, blanks and line ends ignored, with or without padding; free() the result. NULL when it
 * is none, or memory runs out. The text may begin with "data:...;base64,". */
uint8_t *base64_decode(const char *text, size_t *size);
/* A string on the heap, or NULL. */
char *base64_encode(const uint8_t *data, size_t size);

#endif
