/* The form before PyTorch 1.6: five pickles (a magic number, the version, the system, the object, the keys of
 * its storages), then for each key the number of elements as 8 bytes and the elements. */
#include "sd/io/pickle_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { format_version = 1001, count_bytes = 8 };

/* LONG1, its width, 0x1950a86a20f9469cfc6c. */
static const uint8_t magic[12] = {0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};

bool sd_pickle_is_legacy(const uint8_t *data, size_t size) {
    enum { proto_bytes = 2, frame_bytes = 9 };
    size_t at = proto_bytes;
    if (size < proto_bytes + 1 || data[0] != 0x80)
        return false;
    if (data[at] == 0x95)
        at += frame_bytes;
    return size >= at + sizeof magic && memcmp(data + at, magic, sizeof magic) == 0;
}

/* Lets the next pickle end SD_PICKLE_BYTES behind its begin at the latest. */
static bool unpickle(sd_unpickler *u, size_t file_size, sd_pickle_value *out) {
    u->clipped = file_size - u->at > SD_PICKLE_BYTES;
    u->size = u->clipped ? u->at + SD_PICKLE_BYTES : file_size;
    return sd_unpickle(u, out);
}

static bool read_system(sd_unpickler *u, size_t file_size) {
    sd_pickle_value value;
    if (!unpickle(u, file_size, &value) || !unpickle(u, file_size, &value))
        return false;
    if (value.kind != SD_PICKLE_INT || value.as.integer != format_version)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "expected version %d of the format, found another one",
                                format_version);
    if (!unpickle(u, file_size, &value))
        return false;
    const sd_pickle_value *little = sd_pickle_member(&value, "little_endian");
    return (little && little->kind == SD_PICKLE_BOOL && little->as.integer) ||
           sd_unpickle_fail(u, SD_E_UNSUPPORTED, "expected the byte order little, found another one");
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(sd_pickle_storage *const *)a)->key, (*(sd_pickle_storage *const *)b)->key);
}

/* Of one key the first in the pickle stands first. */
static int by_key_and_place(const void *a, const void *b) {
    const sd_pickle_storage *x = *(sd_pickle_storage *const *)a, *y = *(sd_pickle_storage *const *)b;
    int order = by_key(a, b);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* The storages in the order of their keys, on the heap. */
static sd_pickle_storage **sort_storages(const sd_unpickler *u, size_t *count) {
    *count = 0;
    for (sd_pickle_storage *s = u->storages; s; s = s->next)
        ++*count;
    sd_pickle_storage **sorted = malloc((*count + 1) * sizeof(*sorted));
    size_t n = 0;
    for (sd_pickle_storage *s = u->storages; sorted && s; s = s->next)
        sorted[n++] = s;
    if (n > 1)
        qsort(sorted, n, sizeof(*sorted), by_key_and_place);
    return sorted;
}

/* The elements at u->at belong to all storages of this key, which must agree on them. */
static bool read_storage(sd_unpickler *u, sd_pickle_storage **sorted, size_t count,
                         const sd_pickle_value *key) {
    if (key->kind != SD_PICKLE_TEXT)
        return sd_unpickle_fail(u, SD_E_FORMAT, "expected a storage's key, found %s",
                                sd_pickle_kind_name(key->kind));
    sd_pickle_storage wanted = {.key = key->as.text}, *pointer = &wanted;
    sd_pickle_storage **found = bsearch(&pointer, sorted, count, sizeof *sorted, by_key);
    sd_shown_name name = sd_show_name(key->as.text);
    uint64_t bytes = 0;
    if (!found)
        return sd_unpickle_fail(u, SD_E_FORMAT, "storage '%s' belongs to no tensor", name.text);
    while (found > sorted && by_key(found - 1, found) == 0)
        found--;
    sd_pickle_storage *first = *found;
    if (first->data)
        return sd_unpickle_fail(u, SD_E_FORMAT, "storage '%s' is there twice", name.text);
    if (u->size - u->at < count_bytes)
        return sd_unpickle_fail(u, SD_E_FORMAT, "storage '%s' is cut short", name.text);
    uint64_t elements = sd_little_endian(u->data + u->at, count_bytes), left = u->size - u->at - count_bytes;
    for (sd_pickle_storage **s = found; s < sorted + count && by_key(s, found) == 0; s++) {
        if ((*s)->dtype != first->dtype)
            return sd_unpickle_fail(u, SD_E_FORMAT, "storage '%s' is used as %s and as %s", name.text,
                                    sd_file_dtype_name(first->dtype), sd_file_dtype_name((*s)->dtype));
        if ((*s)->count != elements)
            return sd_unpickle_fail(u, SD_E_FORMAT,
                                    "storage '%s' has %" PRIu64 " elements, expected %" PRIu64 " %s",
                                    name.text, elements, (*s)->count, sd_file_dtype_name((*s)->dtype));
        if (!sd_file_tensor_size(first->dtype, 1, &elements, &bytes) || bytes > left)
            return sd_unpickle_fail(u, SD_E_FORMAT,
                                    "storage '%s' of %" PRIu64 " %s is cut short after %" PRIu64 " bytes",
                                    name.text, elements, sd_file_dtype_name(first->dtype), left);
        (*s)->data = u->data + u->at + count_bytes;
        (*s)->bytes = bytes;
    }
    u->at += count_bytes + (size_t)bytes;
    return true;
}

static bool read_storages(sd_unpickler *u, size_t file_size) {
    sd_pickle_value keys;
    size_t count;
    sd_pickle_storage *known = u->storages;
    if (!unpickle(u, file_size, &keys))
        return false;
    if (keys.kind != SD_PICKLE_LIST)
        return sd_unpickle_fail(u, SD_E_FORMAT, "expected a list of the storages' keys, found %s",
                                sd_pickle_kind_name(keys.kind));
    u->storages = known;
    u->size = file_size;
    sd_pickle_storage **sorted = sort_storages(u, &count);
    if (!sorted)
        return sd_unpickle_no_memory(u);
    for (uint32_t i = 0; i < keys.as.items->count && !u->status; i++) {
        u->op = u->at;
        read_storage(u, sorted, count, &keys.as.items->list[i]);
    }
    free(sorted);
    u->op = u->at;
    return !u->status &&
           (u->at == file_size ||
            sd_unpickle_fail(u, SD_E_FORMAT, "%zu bytes belong to no storage", file_size - u->at));
}

bool sd_pickle_read_legacy(sd_unpickler *u, sd_pickle_value *object, size_t *pickle_size) {
    size_t file_size = u->size;
    if (!read_system(u, file_size) || !unpickle(u, file_size, object))
        return false;
    *pickle_size = u->at - u->begin;
    return read_storages(u, file_size);
}
