#include "sd/io/gguf_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The least that a tensor (name length, rank, type, offset) and a metadata value (key length, type, one byte)
 * take. */
enum { least_tensor = 24, least_value = 13, header_bytes = 24 };

/* ---- header ---- */

static bool read_count(struct sd_gguf_cursor *c, const char *what, uint64_t least, size_t *out) {
    uint64_t count;
    if (!sd_gguf_take_u64(c, what, &count))
        return false;
    if (count > SD_GGUF_MOST)
        return sd_gguf_fail(c, SD_E_FORMAT, "expected at most %d %s, found %" PRIu64, SD_GGUF_MOST, what,
                            count);
    if (count * least > c->size - header_bytes)
        return sd_gguf_fail(c, SD_E_FORMAT,
                            "%" PRIu64 " %s need at least %" PRIu64 " bytes, %" PRIu64 " follow", count, what,
                            count * least, c->size - header_bytes);
    *out = (size_t)count;
    return true;
}

static bool read_header(struct sd_gguf_cursor *c, sd_gguf *f) {
    uint32_t version;
    if (c->size < 4 || memcmp(c->data, "GGUF", 4) != 0)
        return sd_gguf_fail(c, SD_E_FORMAT, "expected a GGUF file, its first 4 bytes are not GGUF");
    if (c->size < header_bytes)
        return sd_gguf_fail(c, SD_E_FORMAT, "expected a GGUF file, found only %" PRIu64 " bytes", c->size);
    c->at = 4;
    sd_gguf_take_u32(c, "version", &version);
    if (version && !(version & 0xFFFF))
        return sd_gguf_fail(c, SD_E_UNSUPPORTED,
                            "expected a little-endian GGUF file, found a big-endian one");
    if (version != 2 && version != 3)
        return sd_gguf_fail(c, SD_E_UNSUPPORTED, "expected GGUF version 2 or 3, found %" PRIu32, version);
    return read_count(c, "tensors", least_tensor, &f->count) &&
           read_count(c, "metadata values", least_value, &f->value_count);
}

/* ---- metadata ---- */

static bool check_keys(struct sd_gguf_cursor *c, const sd_gguf *f) {
    const char *twice;
    if (!sd_gguf_find_twice(f->values, f->value_count, &twice))
        return sd_gguf_no_memory(c);
    return !twice || sd_gguf_fail(c, SD_E_FORMAT, "metadata '%s' is given twice", sd_show_name(twice).text);
}

static bool read_values(struct sd_gguf_cursor *c, sd_gguf *f) {
    f->values = sd_arena_array(&f->arena, f->value_count, sizeof *f->values);
    f->metadata = sd_arena_array(&f->arena, f->value_count, sizeof *f->metadata);
    if (!f->values || !f->metadata)
        return sd_gguf_no_memory(c);
    for (size_t i = 0; i < f->value_count; i++) {
        sd_gguf_value *v = &f->values[i];
        c->kind = "metadata value";
        c->number = i + 1;
        c->name = NULL;
        if (!sd_gguf_take_name(c, &f->arena, "its key", &v->key))
            return false;
        c->kind = "metadata";
        c->name = v->key;
        if (!sd_gguf_take_value(c, v))
            return false;
        f->metadata[i] = (sd_file_metadata){v->key, sd_gguf_value_text(&f->arena, v)};
        if (!f->metadata[i].value)
            return sd_gguf_no_memory(c);
    }
    c->kind = c->name = NULL;
    return check_keys(c, f);
}

static bool read_alignment(struct sd_gguf_cursor *c, const sd_gguf *f, uint64_t *out) {
    *out = sd_gguf_alignment(f->values, f->value_count);
    if (*out)
        return true;
    const sd_gguf_value *v = sd_gguf_value_find(f, SD_GGUF_ALIGNMENT_KEY);
    return sd_gguf_fail(c, SD_E_FORMAT, "%s: expected a power of two up to %d as U32, found %s as %s",
                        SD_GGUF_ALIGNMENT_KEY, SD_GGUF_MOST_ALIGNMENT,
                        sd_show_name(f->metadata[v - f->values].value).text, sd_gguf_type_name(v->type));
}

/* ---- the whole file ---- */

/* Older blocks have other layouts under the same type numbers. */
static bool check_quantisation(struct sd_gguf_cursor *c, const sd_gguf *f) {
    const sd_gguf_value *v = sd_gguf_value_find(f, SD_GGUF_QUANTISATION_KEY);
    uint64_t version = 0;
    bool quantised = false;
    for (size_t i = 0; i < f->count; i++)
        quantised = quantised || sd_file_dtype_quantised(f->tensors[i].dtype);
    if (!v || !quantised || (sd_gguf_u64(v, &version) && version == SD_GGUF_QUANTISATION))
        return true;
    return sd_gguf_fail(c, SD_E_UNSUPPORTED, "%s: expected %d, found %s", SD_GGUF_QUANTISATION_KEY,
                        SD_GGUF_QUANTISATION, sd_show_name(f->metadata[v - f->values].value).text);
}

static bool parse(struct sd_gguf_cursor *c, sd_gguf *f) {
    uint64_t alignment;
    return read_header(c, f) && read_values(c, f) && read_alignment(c, f, &alignment) &&
           sd_gguf_take_tensors(c, f, alignment) && check_quantisation(c, f);
}

sd_status sd_gguf_parse(const char *label, const void *data, size_t size, sd_gguf **out, sd_error *err) {
    struct sd_gguf_cursor c = {.data = data, .size = size, .label = label, .err = err};
    *out = NULL;
    sd_gguf *f = calloc(1, sizeof *f);
    if (!f)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory to open it", label);
    if (!parse(&c, f))
        sd_gguf_close(&f);
    *out = f;
    return c.status;
}

sd_status sd_gguf_open(const char *path, sd_gguf **out, sd_error *err) {
    sd_mapping map;
    *out = NULL;
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    status = sd_gguf_parse(path, map.data, map.size, out, err);
    if (*out)
        (*out)->map = map;
    else
        sd_file_unmap(&map);
    return status;
}

void sd_gguf_close(sd_gguf **file) {
    sd_gguf *f = *file;
    if (!f)
        return;
    sd_file_unmap(&f->map);
    sd_arena_clear(&f->arena);
    free(f);
    *file = NULL;
}

void sd_gguf_advise(const sd_gguf *file, const void *data, size_t size, sd_file_advice advice) {
    sd_mapping_advise(&file->map, data, size, advice);
}

size_t sd_gguf_count(const sd_gguf *file) {
    return file->count;
}

const sd_file_tensor *sd_gguf_at(const sd_gguf *file, size_t index) {
    return index < file->count ? &file->tensors[index] : NULL;
}

const sd_file_tensor *sd_gguf_find(const sd_gguf *file, const char *name) {
    return sd_file_tensors_find(file->by_name, file->count, name);
}

size_t sd_gguf_value_count(const sd_gguf *file) {
    return file->value_count;
}

const sd_gguf_value *sd_gguf_value_at(const sd_gguf *file, size_t index) {
    return index < file->value_count ? &file->values[index] : NULL;
}

const sd_gguf_value *sd_gguf_value_find(const sd_gguf *file, const char *key) {
    return sd_gguf_lookup(file->values, file->value_count, key);
}

const sd_file_metadata *sd_gguf_metadata_at(const sd_gguf *file, size_t index) {
    return index < file->value_count ? &file->metadata[index] : NULL;
}
