#include "sd/io/zip.h"

#include "sd/base/str.h"
#include "sd/io/bytes.h"
#include "sd/io/file_tensor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    end_bytes = 22,
    longest_comment = 65535,
    locator_bytes = 20,
    end64_bytes = 56,
    central_bytes = 46,
    local_bytes = 30
};

typedef struct archive {
    const char *label;
    const uint8_t *data;
    uint64_t size;
    sd_arena *arena;
    sd_error *err;
    uint64_t directory, directory_size, count; /* as the end of the archive says */
} archive;

static bool is(const uint8_t *bytes, const char signature[4]) {
    return memcmp(bytes, signature, 4) == 0;
}

/* The record at the end of the archive, behind which only its comment stands; NULL when there is none. */
static const uint8_t *find_end(const archive *a) {
    for (uint64_t comment = 0; comment <= longest_comment && a->size >= end_bytes + comment; comment++) {
        const uint8_t *at = a->data + a->size - end_bytes - comment;
        if (is(at, "PK\5\6") && sd_little_endian(at + 20, 2) == comment)
            return at;
    }
    return NULL;
}

/* The 64-bit record, when a locator stands before the end. *end becomes its begin. */
static sd_status read_end64(archive *a, uint64_t *end) {
    if (*end < locator_bytes || !is(a->data + *end - locator_bytes, "PK\6\7"))
        return SD_OK;
    uint64_t limit = *end - locator_bytes, at = sd_little_endian(a->data + limit + 8, 8);
    if (limit < end64_bytes || at > limit - end64_bytes || !is(a->data + at, "PK\6\6"))
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: the zip archive has no 64-bit end at byte %" PRIu64 ", where it says so",
                       a->label, at);
    a->count = sd_little_endian(a->data + at + 32, 8);
    a->directory_size = sd_little_endian(a->data + at + 40, 8);
    a->directory = sd_little_endian(a->data + at + 48, 8);
    *end = at;
    return SD_OK;
}

static sd_status find_directory(archive *a) {
    const uint8_t *record = find_end(a);
    if (!record)
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: the zip archive has no end: the file is cut short or damaged", a->label);
    uint64_t end = (uint64_t)(record - a->data);
    if (sd_little_endian(record + 4, 2) != sd_little_endian(record + 6, 2))
        return sd_fail(a->err, SD_E_UNSUPPORTED, "%s: the zip archive is one part of several", a->label);
    a->count = sd_little_endian(record + 10, 2);
    a->directory_size = sd_little_endian(record + 12, 4);
    a->directory = sd_little_endian(record + 16, 4);
    sd_status status = read_end64(a, &end);
    if (status)
        return status;
    if (a->directory > end || a->directory_size > end - a->directory)
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: the zip directory of %" PRIu64 " bytes at byte %" PRIu64
                       " does not end before byte %" PRIu64,
                       a->label, a->directory_size, a->directory, end);
    if (a->count > a->directory_size / central_bytes)
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: the zip directory of %" PRIu64 " bytes cannot hold %" PRIu64 " entries", a->label,
                       a->directory_size, a->count);
    return SD_OK;
}

/* Puts the 64-bit numbers of the extra field in place of those that are all ones. */
static bool read_extra(const uint8_t *extra, uint64_t size, uint64_t *fields[], unsigned count) {
    unsigned missing = 0;
    for (unsigned i = 0; i < count; i++)
        missing += *fields[i] == UINT32_MAX;
    while (missing && size >= 4) {
        uint64_t length = sd_little_endian(extra + 2, 2);
        if (length > size - 4)
            return false;
        if (sd_little_endian(extra, 2) == 1) {
            if (length < 8 * (uint64_t)missing)
                return false;
            for (unsigned i = 0, at = 4; i < count; i++)
                if (*fields[i] == UINT32_MAX) {
                    *fields[i] = sd_little_endian(extra + at, 8);
                    at += 8;
                }
            return true;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return !missing;
}

/* Finds the entry's data behind its local header, whose own sizes may be unset. */
static sd_status read_local(const archive *a, sd_zip_entry *e, size_t name_size) {
    sd_shown_name name = sd_show_name(e->name);
    if (a->directory < local_bytes || e->begin > a->directory - local_bytes ||
        !is(a->data + e->begin, "PK\3\4"))
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: zip entry '%s' does not begin at byte %" PRIu64 ", where the directory says",
                       a->label, name.text, e->begin);
    const uint8_t *local = a->data + e->begin;
    uint64_t own_name = sd_little_endian(local + 26, 2), extra = sd_little_endian(local + 28, 2);
    uint64_t room = a->directory - e->begin - local_bytes;
    if (own_name != name_size || own_name > room || memcmp(local + local_bytes, e->name, name_size) != 0)
        return sd_fail(a->err, SD_E_FORMAT, "%s: zip entry '%s' has another name at byte %" PRIu64, a->label,
                       name.text, e->begin);
    if (extra > room - own_name || e->size > room - own_name - extra)
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: zip entry '%s' of %" PRIu64 " bytes at byte %" PRIu64
                       " reaches beyond byte %" PRIu64,
                       a->label, name.text, e->size, e->begin, a->directory);
    e->data = local + local_bytes + own_name + extra;
    return SD_OK;
}

/* The entry at byte *at of the directory, which moves on. */
static sd_status read_entry(const archive *a, uint64_t *at, sd_zip_entry *e) {
    const uint8_t *record = a->data + a->directory + *at;
    uint64_t left = a->directory_size - *at;
    if (left < central_bytes || !is(record, "PK\1\2"))
        return sd_fail(a->err, SD_E_FORMAT, "%s: expected an entry of the zip directory at byte %" PRIu64,
                       a->label, a->directory + *at);
    uint64_t name_size = sd_little_endian(record + 28, 2), extra_size = sd_little_endian(record + 30, 2);
    uint64_t bytes = central_bytes + name_size + extra_size + sd_little_endian(record + 32, 2);
    const char *text = (const char *)record + central_bytes;
    if (bytes > left || name_size > SD_ZIP_NAME || memchr(text, 0, (size_t)name_size) ||
        !sd_utf8_valid(text, (size_t)name_size))
        return sd_fail(a->err, SD_E_FORMAT, "%s: the zip entry at byte %" PRIu64 " has no proper name",
                       a->label, a->directory + *at);
    char *name = sd_arena_alloc(a->arena, (size_t)name_size + 1);
    if (!name)
        return sd_fail(a->err, SD_E_MEMORY, "%s: no memory for its names", a->label);
    memcpy(name, text, (size_t)name_size);
    uint64_t unpacked = sd_little_endian(record + 24, 4);
    *e = (sd_zip_entry){
        .name = name, .size = sd_little_endian(record + 20, 4), .begin = sd_little_endian(record + 42, 4)};
    e->stored = sd_little_endian(record + 10, 2) == 0 && !(record[8] & 1);
    if (!read_extra(record + central_bytes + name_size, extra_size,
                    (uint64_t *[]){&unpacked, &e->size, &e->begin}, 3))
        return sd_fail(a->err, SD_E_FORMAT, "%s: zip entry '%s' has no 64-bit sizes, where it says so",
                       a->label, sd_show_name(name).text);
    if (e->stored && unpacked != e->size)
        return sd_fail(a->err, SD_E_FORMAT,
                       "%s: zip entry '%s' is stored as %" PRIu64 " bytes and claims %" PRIu64, a->label,
                       sd_show_name(name).text, e->size, unpacked);
    *at += bytes;
    return read_local(a, e, (size_t)name_size);
}

static int by_begin(const void *x, const void *y) {
    uint64_t a = ((const sd_zip_entry *)x)->begin, b = ((const sd_zip_entry *)y)->begin;
    return (a > b) - (a < b);
}

static int by_name(const void *x, const void *y) {
    return strcmp(((const sd_zip_entry *)x)->name, ((const sd_zip_entry *)y)->name);
}

/* Overlapping entries make a small file hold much; entries of one name read differently from reader to
 * reader. */
static sd_status check(const archive *a, sd_zip_entry *entries, size_t count) {
    qsort(entries, count, sizeof *entries, by_begin);
    for (size_t i = 1; i < count; i++)
        if (entries[i - 1].data + entries[i - 1].size > a->data + entries[i].begin)
            return sd_fail(a->err, SD_E_FORMAT, "%s: zip entries '%s' and '%s' overlap at byte %" PRIu64,
                           a->label, sd_show_name(entries[i - 1].name).text,
                           sd_show_name(entries[i].name).text, entries[i].begin);
    qsort(entries, count, sizeof *entries, by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(entries[i - 1].name, entries[i].name) == 0)
            return sd_fail(a->err, SD_E_FORMAT, "%s: zip entry '%s' is there twice", a->label,
                           sd_show_name(entries[i].name).text);
    return SD_OK;
}

sd_status sd_zip_read(const char *label, const void *data, size_t size, sd_arena *arena, sd_zip *out,
                      sd_error *err) {
    archive a = {.label = label, .data = data, .size = size, .arena = arena, .err = err};
    *out = (sd_zip){0};
    sd_status status = find_directory(&a);
    if (status)
        return status;
    sd_zip_entry *entries = sd_arena_array(arena, (size_t)a.count, sizeof *entries);
    if (!entries)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its names", label);
    uint64_t at = 0;
    for (size_t i = 0; i < a.count && !status; i++)
        status = read_entry(&a, &at, &entries[i]);
    if (!status)
        status = check(&a, entries, (size_t)a.count);
    *out = (sd_zip){.entries = entries, .count = (size_t)a.count};
    return status;
}

const sd_zip_entry *sd_zip_find(const sd_zip *zip, const char *name) {
    const sd_zip_entry key = {.name = name};
    return bsearch(&key, zip->entries, zip->count, sizeof key, by_name);
}
