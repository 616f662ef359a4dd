#include "sd/io/safetensors.h"

#include "sd/base/checked.h"
#include "sd/base/str.h"
#include "sd/io/json_reader.h"
#include "sd/io/safetensors_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { longest_header = 100000000 };

/* One tensor of the header while it is being read. */
typedef struct entry {
    sd_file_tensor tensor;
    uint64_t begin, end;
    struct entry *next;
} entry;

#define SHOW(name) (sd_show_name(name).text)

static int by_name(const void *a, const void *b) {
    return strcmp((*(const sd_file_tensor *const *)a)->name, (*(const sd_file_tensor *const *)b)->name);
}

static bool read_dtype(sd_json_reader *j, sd_file_tensor *t) {
    char *name;
    if (sd_json_peek(j) != '"')
        return sd_json_fail(j, ": tensor '%s': expected dtype as a string", SHOW(t->name));
    if (!sd_json_string(j, "a string", &name))
        return false;
    t->dtype = sd_file_dtype_from_name(name);
    return (t->dtype < SD_FILE_DTYPES && !sd_file_dtype_quantised(t->dtype)) ||
           sd_json_fail(j, ": tensor '%s': unknown dtype '%.40s'", SHOW(t->name), SHOW(name));
}

static bool read_shape(sd_json_reader *j, sd_file_tensor *t) {
    if (sd_json_peek(j) != '[')
        return sd_json_fail(j, ": tensor '%s': expected shape as an array", SHOW(t->name));
    sd_json_enter(j, '[', "an array");
    while (sd_json_element(j)) {
        uint64_t value;
        if (t->rank == SD_FILE_RANK)
            return sd_json_fail(j, ": tensor '%s': expected at most %d dimensions", SHOW(t->name),
                                SD_FILE_RANK);
        if (!sd_json_u64(j, "a dimension from 0 to 2^64-1", &value))
            return false;
        t->shape[t->rank++] = value;
    }
    return !j->status;
}

static bool read_offsets(sd_json_reader *j, entry *e) {
    uint64_t values[2] = {0, 0};
    size_t count = 0;
    if (sd_json_peek(j) != '[')
        return sd_json_fail(j, ": tensor '%s': expected data_offsets as an array", SHOW(e->tensor.name));
    sd_json_enter(j, '[', "an array");
    while (sd_json_element(j)) {
        uint64_t value;
        if (!sd_json_u64(j, "a byte offset from 0 to 2^64-1", &value))
            return false;
        if (count < 2)
            values[count] = value;
        count++;
    }
    if (!j->status && count != 2)
        return sd_json_fail(j, ": tensor '%s': expected 2 data_offsets, found %zu", SHOW(e->tensor.name),
                            count);
    e->begin = values[0];
    e->end = values[1];
    return !j->status;
}

/* Shape, type and range of one tensor agree, and the range lies in the `available` bytes of data. */
static bool check_entry(sd_json_reader *j, const entry *e, uint64_t available) {
    const sd_file_tensor *t = &e->tensor;
    char shape[200];
    uint64_t bytes;
    sd_file_shape_text(t->rank, t->shape, shape, sizeof shape);
    if (e->begin > e->end)
        return sd_json_fail(j, ": tensor '%s': data_offsets [%" PRIu64 ",%" PRIu64 "] run backwards",
                            SHOW(t->name), e->begin, e->end);
    if (!sd_file_tensor_size(t->dtype, t->rank, t->shape, &bytes))
        return sd_json_fail(j, ": tensor '%s': shape %s of %s has no size in whole bytes below 2^61",
                            SHOW(t->name), shape, sd_file_dtype_name(t->dtype));
    if (bytes != e->end - e->begin)
        return sd_json_fail(
            j, ": tensor '%s': shape %s of %s needs %" PRIu64 " bytes, its data_offsets hold %" PRIu64,
            SHOW(t->name), shape, sd_file_dtype_name(t->dtype), bytes, e->end - e->begin);
    if (e->end > available)
        return sd_json_fail(
            j, ": tensor '%s': its data end at byte %" PRIu64 ", the file holds %" PRIu64 " bytes of data",
            SHOW(t->name), e->end, available);
    return true;
}

static bool read_entry(sd_json_reader *j, entry *e, uint64_t available) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    unsigned seen = 0;
    char *key;
    if (sd_json_peek(j) != '{')
        return sd_json_fail(j, ": tensor '%s': expected an object with dtype, shape and data_offsets",
                            SHOW(e->tensor.name));
    sd_json_enter(j, '{', "an object");
    while (sd_json_member(j, &key)) {
        unsigned i = 0;
        while (i < 3 && strcmp(key, fields[i]) != 0)
            i++;
        if (i < 3 && seen & 1U << i)
            return sd_json_fail(j, ": tensor '%s': %s is given twice", SHOW(e->tensor.name), key);
        seen |= 1U << i;
        bool ok = i == 0   ? read_dtype(j, &e->tensor)
                  : i == 1 ? read_shape(j, &e->tensor)
                  : i == 2 ? read_offsets(j, e)
                           : sd_json_skip(j);
        if (!ok)
            return false;
    }
    if (j->status)
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (!(seen & 1U << i))
            return sd_json_fail(j, ": tensor '%s': %s is missing", SHOW(e->tensor.name), fields[i]);
    return check_entry(j, e, available);
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const sd_file_metadata *const *)a)->key, (*(const sd_file_metadata *const *)b)->key);
}

/* A key that stands twice, or NULL; *ok becomes false when memory runs out. */
static const char *duplicate_key(const sd_safetensors *f, bool *ok) {
    const char *twice = NULL;
    const sd_file_metadata **sorted = malloc((f->metadata_count + 1) * sizeof(*sorted));
    *ok = sorted;
    if (!sorted)
        return NULL;
    for (size_t i = 0; i < f->metadata_count; i++)
        sorted[i] = &f->metadata[i];
    qsort(sorted, f->metadata_count, sizeof *sorted, by_key);
    for (size_t i = 1; i < f->metadata_count && !twice; i++)
        if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0)
            twice = sorted[i]->key;
    free(sorted);
    return twice;
}

static bool read_metadata(sd_json_reader *j, sd_safetensors *f) {
    size_t capacity = 0;
    char *key, *value;
    bool ok = true;
    if (f->metadata)
        return sd_json_fail(j, ": __metadata__ is given twice");
    if (sd_json_peek(j) != '{')
        return sd_json_fail(j, ": expected __metadata__ as an object");
    sd_json_enter(j, '{', "an object");
    while (sd_json_member(j, &key)) {
        if (sd_json_peek(j) != '"')
            return sd_json_fail(j, ": __metadata__: expected a string for '%s'", SHOW(key));
        if (!sd_json_string(j, "a string", &value))
            return false;
        if (f->metadata_count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            sd_file_metadata *grown = sd_arena_array(&f->arena, capacity, sizeof *grown);
            if (!grown)
                return !(j->status =
                             sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its metadata", j->label));
            if (f->metadata_count)
                memcpy(grown, f->metadata, f->metadata_count * sizeof *grown);
            f->metadata = grown;
        }
        f->metadata[f->metadata_count++] = (sd_file_metadata){key, value};
    }
    if (j->status)
        return false;
    if (!f->metadata)
        f->metadata = sd_arena_alloc(&f->arena, sizeof *f->metadata);
    const char *twice = duplicate_key(f, &ok);
    if (!ok || !f->metadata)
        return !(j->status = sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its metadata", j->label));
    return !twice || sd_json_fail(j, ": __metadata__: '%s' is given twice", SHOW(twice));
}

/* The header's members as a list, newest first. */
static bool read_header(sd_json_reader *j, sd_safetensors *f, entry **list, uint64_t available) {
    char *name;
    if (!sd_json_enter(j, '{', "an object"))
        return false;
    while (sd_json_member(j, &name)) {
        if (strcmp(name, "__metadata__") == 0) {
            if (!read_metadata(j, f))
                return false;
            continue;
        }
        entry *e = sd_arena_alloc(&f->arena, sizeof *e);
        if (!e)
            return !(j->status = sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its tensors", j->label));
        e->tensor.name = name;
        e->next = *list;
        *list = e;
        f->count++;
        if (!read_entry(j, e, available))
            return false;
    }
    return sd_json_end(j);
}

static int by_offset(const void *a, const void *b) {
    const entry *x = *(entry *const *)a, *y = *(entry *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

/* Puts the tensors in data order and checks that they are unique and cover the data without hole or overlap.
 */
static bool place(sd_json_reader *j, sd_safetensors *f, entry *list, const uint8_t *data,
                  uint64_t available) {
    entry **order = malloc((f->count + 1) * sizeof(*order));
    f->tensors = sd_arena_array(&f->arena, f->count, sizeof *f->tensors);
    if (!order || !f->tensors) {
        free(order);
        return !(j->status = sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its tensors", j->label));
    }
    size_t n = 0;
    for (entry *e = list; e; e = e->next)
        order[n++] = e;
    qsort(order, n, sizeof *order, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < n && !j->status; i++) {
        const entry *e = order[i];
        if (e->begin < at)
            sd_json_fail(j, ": tensors '%s' and '%s' overlap at byte %" PRIu64,
                         SHOW(order[i - 1]->tensor.name), SHOW(e->tensor.name), e->begin);
        else if (e->begin > at)
            sd_json_fail(
                j, ": bytes %" PRIu64 " to %" PRIu64 " of the data, before tensor '%s', belong to no tensor",
                at, e->begin, SHOW(e->tensor.name));
        at = e->end;
        f->tensors[i] = e->tensor;
        f->tensors[i].data = data + e->begin;
        f->tensors[i].bytes = e->end - e->begin;
    }
    free(order);
    if (!j->status && at != available)
        sd_json_fail(j, ": the tensors end at byte %" PRIu64 " of the data, the file holds %" PRIu64, at,
                     available);
    return !j->status;
}

/* The name check comes before the layout check: a tensor listed twice also overlaps itself. */
static bool check_unique(sd_json_reader *j, sd_safetensors *f, entry *list) {
    const sd_file_tensor **names = malloc((f->count + 1) * sizeof(*names));
    if (!names)
        return !(j->status = sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its names", j->label));
    size_t n = 0;
    for (entry *e = list; e; e = e->next)
        names[n++] = &e->tensor;
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 1; i < n && !j->status; i++)
        if (strcmp(names[i]->name, names[i - 1]->name) == 0)
            sd_json_fail(j, ": tensor '%s' is listed twice", SHOW(names[i]->name));
    free(names);
    return !j->status;
}

static sd_status header_length(const char *label, const uint8_t *bytes, size_t size, uint64_t *length,
                               sd_error *err) {
    uint64_t n = 0;
    if (size < 8)
        return sd_fail(err, SD_E_FORMAT, "%s: expected a safetensors file, found only %zu bytes", label,
                       size);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | bytes[i];
    if (n > longest_header)
        return sd_fail(err, SD_E_FORMAT,
                       "%s: expected a safetensors header of at most %d bytes, found %" PRIu64, label,
                       longest_header, n);
    if (n > size - 8)
        return sd_fail(err, SD_E_FORMAT, "%s: header of %" PRIu64 " bytes is cut short, %zu bytes follow",
                       label, n, size - 8);
    if (n < 2)
        return sd_fail(err, SD_E_FORMAT, "%s: header of %" PRIu64 " bytes is too short", label, n);
    *length = n;
    return SD_OK;
}

static sd_status parse(sd_safetensors *f, const char *label, const uint8_t *bytes, size_t size,
                       sd_error *err) {
    uint64_t length = 0;
    entry *list = NULL;
    sd_status status = header_length(label, bytes, size, &length, err);
    if (status)
        return status;
    const char *text = (const char *)bytes + 8;
    if (!sd_utf8_valid(text, (size_t)length))
        return sd_fail(err, SD_E_FORMAT, "%s: header is not well-formed UTF-8", label);
    f->data_offset = 8 + length;
    uint64_t available = size - f->data_offset;
    const char *where = sd_arena_printf(&f->arena, "%s: header", label);
    if (!where)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its header", label);
    sd_json_reader j = {.text = text, .size = (size_t)length, .label = where, .arena = &f->arena, .err = err};
    if (read_header(&j, f, &list, available) && check_unique(&j, f, list) &&
        place(&j, f, list, bytes + f->data_offset, available) &&
        !(f->by_name = sd_file_tensors_by_name(&f->arena, f->tensors, f->count)))
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its names", label);
    return j.status;
}

sd_status sd_safetensors_parse(const char *label, const void *data, size_t size, sd_safetensors **out,
                               sd_error *err) {
    *out = NULL;
    sd_safetensors *f = calloc(1, sizeof *f);
    if (!f)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory to open it", label);
    sd_status status = parse(f, label, data, size, err);
    if (status)
        sd_safetensors_close(&f);
    *out = f;
    return status;
}

sd_status sd_safetensors_open(const char *path, sd_safetensors **out, sd_error *err) {
    sd_mapping map;
    *out = NULL;
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    status = sd_safetensors_parse(path, map.data, map.size, out, err);
    if (*out)
        (*out)->map = map;
    else
        sd_file_unmap(&map);
    return status;
}

void sd_safetensors_close(sd_safetensors **file) {
    sd_safetensors *f = *file;
    if (!f)
        return;
    for (size_t i = 0; i < f->shard_count; i++)
        sd_safetensors_close(&f->shards[i]);
    sd_file_unmap(&f->map);
    sd_arena_clear(&f->arena);
    free(f);
    *file = NULL;
}

void sd_safetensors_advise(const sd_safetensors *file, const void *data, size_t size, sd_file_advice advice) {
    sd_mapping_advise(&file->map, data, size, advice);
    for (size_t i = 0; i < file->shard_count; i++)
        sd_safetensors_advise(file->shards[i], data, size, advice);
}

size_t sd_safetensors_count(const sd_safetensors *file) {
    return file->count;
}

const sd_file_tensor *sd_safetensors_at(const sd_safetensors *file, size_t index) {
    return index < file->count ? &file->tensors[index] : NULL;
}

const sd_file_tensor *sd_safetensors_find(const sd_safetensors *file, const char *name) {
    return sd_file_tensors_find(file->by_name, file->count, name);
}

size_t sd_safetensors_metadata_count(const sd_safetensors *file) {
    return file->metadata_count;
}

const sd_file_metadata *sd_safetensors_metadata_at(const sd_safetensors *file, size_t index) {
    return index < file->metadata_count ? &file->metadata[index] : NULL;
}

const char *sd_safetensors_metadata(const sd_safetensors *file, const char *key) {
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

uint64_t sd_safetensors_data_offset(const sd_safetensors *file) {
    return file->data_offset;
}
