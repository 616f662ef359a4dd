#include "sd/base/str.h"
#include "sd/io/json_reader.h"
#include "sd/io/safetensors_internal.h"

#include <stdlib.h>
#include <string.h>

enum { longest_index = 100000000 };

typedef struct mapped_name {
    char *tensor, *shard;
    struct mapped_name *next;
} mapped_name;

typedef struct weight_map {
    mapped_name **entries; /* [count], sorted by shard, then by tensor; heap */
    size_t count;
} weight_map;

static int by_shard(const void *a, const void *b) {
    const mapped_name *x = *(mapped_name *const *)a, *y = *(mapped_name *const *)b;
    int order = strcmp(x->shard, y->shard);
    return order ? order : strcmp(x->tensor, y->tensor);
}

/* A shard is a plain file name: an index must not reach outside its folder. */
static bool plain_name(const char *name) {
    return *name && !strchr(name, '/') && !strchr(name, '\\') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static bool read_weight_map(sd_json_reader *j, mapped_name **list, size_t *count) {
    char *name;
    if (sd_json_peek(j) != '{')
        return sd_json_fail(j, ": expected weight_map as an object");
    sd_json_enter(j, '{', "an object");
    while (sd_json_member(j, &name)) {
        mapped_name *entry = sd_arena_alloc(j->arena, sizeof *entry);
        if (!entry)
            return !(j->status = sd_fail(j->err, SD_E_MEMORY, "%s: no memory for its names", j->label));
        if (sd_json_peek(j) != '"')
            return sd_json_fail(j, ": weight_map: expected a file name for '%s'", sd_show_name(name).text);
        if (!sd_json_string(j, "a file name", &entry->shard))
            return false;
        if (!plain_name(entry->shard))
            return sd_json_fail(j, ": weight_map: expected a file name without folders for '%s', found '%s'",
                                sd_show_name(name).text, sd_show_name(entry->shard).text);
        entry->tensor = name;
        entry->next = *list;
        *list = entry;
        ++*count;
    }
    return !j->status;
}

static sd_status read_index(const char *path, const sd_bytes *text, sd_arena *arena, weight_map *out,
                            sd_error *err) {
    mapped_name *list = NULL;
    bool seen = false;
    char *key;
    if (!sd_utf8_valid((const char *)text->data, text->size))
        return sd_fail(err, SD_E_FORMAT, "%s: expected UTF-8 text", path);
    sd_json_reader j = {
        .text = (const char *)text->data, .size = text->size, .label = path, .arena = arena, .err = err};
    sd_json_enter(&j, '{', "an object");
    while (sd_json_member(&j, &key)) {
        if (strcmp(key, "weight_map") != 0)
            sd_json_skip(&j);
        else if (seen)
            sd_json_fail(&j, ": weight_map is given twice");
        else
            seen = read_weight_map(&j, &list, &out->count);
    }
    sd_json_end(&j);
    if (!j.status && !out->count)
        sd_json_fail(&j, seen ? ": weight_map is empty" : ": weight_map is missing");
    if (j.status)
        return j.status;
    out->entries = malloc(out->count * sizeof(*out->entries));
    if (!out->entries)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its names", path);
    size_t n = 0;
    for (; list; list = list->next)
        out->entries[n++] = list;
    qsort(out->entries, n, sizeof *out->entries, by_shard);
    return SD_OK;
}

/* Opens the shard of entries[first] and checks that it holds the `count` tensors listed for it and no other.
 */
static sd_status add_shard(sd_safetensors *f, const char *path, mapped_name **entries, size_t count,
                           sd_error *err) {
    const char *slash = strrchr(path, '/'), *name = entries[0]->shard;
    int folder = slash ? (int)(slash - path) + 1 : 0;
    char *full = sd_arena_printf(&f->arena, "%.*s%s", folder, path, name);
    if (!full)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its shards", path);
    sd_safetensors *shard;
    sd_status status = sd_safetensors_open(full, &shard, err);
    if (status == SD_E_NOT_FOUND)
        return sd_fail(err, status, "%s: its shard %s is missing", path, full);
    if (status)
        return status;
    f->shards[f->shard_count++] = shard;
    for (size_t i = 0; i < count; i++) {
        if (i && strcmp(entries[i]->tensor, entries[i - 1]->tensor) == 0)
            return sd_fail(err, SD_E_FORMAT, "%s: weight_map: '%s' is given twice", path,
                           sd_show_name(entries[i]->tensor).text);
        if (!sd_safetensors_find(shard, entries[i]->tensor))
            return sd_fail(err, SD_E_FORMAT, "%s: weight_map: tensor '%s' is not in %s", path,
                           sd_show_name(entries[i]->tensor).text, full);
    }
    for (size_t i = 0; i < shard->count && shard->count != count; i++) {
        const mapped_name wanted = {.tensor = (char *)(uintptr_t)shard->tensors[i].name,
                                    .shard = entries[0]->shard};
        const mapped_name *key = &wanted;
        if (!bsearch(&key, entries, count, sizeof *entries, by_shard))
            return sd_fail(err, SD_E_FORMAT, "%s: tensor '%s' of %s is not in the weight_map", path,
                           sd_show_name(wanted.tensor).text, full);
    }
    f->count += shard->count;
    return SD_OK;
}

static sd_status open_shards(sd_safetensors *f, const char *path, const weight_map *map, sd_error *err) {
    size_t shards = 0, n = 0;
    for (size_t i = 0; i < map->count; i++)
        shards += i == 0 || strcmp(map->entries[i]->shard, map->entries[i - 1]->shard) != 0;
    f->shards = sd_arena_array(&f->arena, shards, sizeof *f->shards);
    if (!f->shards)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its shards", path);
    for (size_t i = 0, next; i < map->count; i = next) {
        for (next = i + 1; next < map->count && !strcmp(map->entries[next]->shard, map->entries[i]->shard);
             next++)
            ;
        sd_status status = add_shard(f, path, map->entries + i, next - i, err);
        if (status)
            return status;
    }
    f->tensors = sd_arena_array(&f->arena, f->count, sizeof *f->tensors);
    if (!f->tensors)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its tensors", path);
    for (size_t i = 0; i < f->shard_count; i++)
        for (size_t k = 0; k < f->shards[i]->count; k++)
            f->tensors[n++] = f->shards[i]->tensors[k];
    f->metadata = f->shards[0]->metadata;
    f->metadata_count = f->shards[0]->metadata_count;
    f->data_offset = f->shards[0]->data_offset;
    if (!(f->by_name = sd_file_tensors_by_name(&f->arena, f->tensors, f->count)))
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its names", path);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->by_name[i]->name, f->by_name[i - 1]->name) == 0)
            return sd_fail(err, SD_E_FORMAT, "%s: weight_map: '%s' is given twice", path,
                           sd_show_name(f->by_name[i]->name).text);
    return SD_OK;
}

sd_status sd_safetensors_open_index(const char *path, sd_safetensors **out, sd_error *err) {
    sd_bytes text = {0};
    sd_arena names = {0};
    weight_map map = {0};
    *out = NULL;
    sd_status status = sd_file_read(path, longest_index, &text, err);
    if (status)
        return status;
    sd_safetensors *f = calloc(1, sizeof *f);
    if (!f)
        status = sd_fail(err, SD_E_MEMORY, "%s: no memory to open it", path);
    if (!status)
        status = read_index(path, &text, &names, &map, err);
    if (!status)
        status = open_shards(f, path, &map, err);
    if (status)
        sd_safetensors_close(&f);
    *out = f;
    free(map.entries);
    sd_arena_clear(&names);
    sd_bytes_clear(&text);
    return status;
}
