/* A strict pull reader for JSON (RFC 8259) from untrusted files: exact unsigned integers, duplicate names
 * left to the caller, no tree, no recursion. Errors are sticky: after the first one every call returns false
 * and does nothing, so that the caller checks `status` once at the end. */
#ifndef SD_IO_JSON_READER_H
#define SD_IO_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sd/base/arena.h"
#include "sd/base/status.h"

typedef struct sd_json_reader {
    const char *text; /* well-formed UTF-8; not owned, need not end in NUL */
    size_t size, at;
    const char *label; /* begins every message, e.g. "FILE: header" */
    sd_arena *arena;   /* where strings go; NULL only when no string is kept */
    sd_error *err;
    sd_status status;
    bool first; /* no member of the innermost open object or array was read yet */
} sd_json_reader;

/* What the next value is, from its first byte: '{' '[' '"' 't' 'f' 'n', '0' for any number, 0 at the end of
 * the text or on anything else. Skips white space. */
char sd_json_peek(sd_json_reader *j);

/* Enters an object ('{') or array ('['). `what` names the expected value in messages. */
bool sd_json_enter(sd_json_reader *j, char bracket, const char *what);

/* In an object: reads the next name and its colon; false at the closing brace, which is consumed. */
bool sd_json_member(sd_json_reader *j, char **name);

/* In an array: true when another element follows; false at the closing bracket, which is consumed. */
bool sd_json_element(sd_json_reader *j);

/* A string as UTF-8 in the arena. U+0000 is refused, because the result is a C string. */
bool sd_json_string(sd_json_reader *j, const char *what, char **out);

/* A whole number from 0 to 2^64 - 1, written with digits alone. */
bool sd_json_u64(sd_json_reader *j, const char *what, uint64_t *out);

/* Passes over one value of any kind, at most 64 levels deep. */
bool sd_json_skip(sd_json_reader *j);

/* Nothing but white space may follow. */
bool sd_json_end(sd_json_reader *j);

/* Sets the sticky error with a message of the caller; returns false. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
bool sd_json_fail(sd_json_reader *j, const char *format, ...);

#endif
