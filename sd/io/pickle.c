#include "sd/io/pickle.h"

#include "sd/io/pickle_internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_zip(const uint8_t *data, size_t size) {
    return size >= 4 && (memcmp(data, "PK\3\4", 4) == 0 || memcmp(data, "PK\5\6", 4) == 0);
}

bool sd_pickle_detect(const void *data, size_t size) {
    enum { longest_safetensors_header = 100000000 };
    const uint8_t *bytes = data;
    if (is_zip(bytes, size) || sd_pickle_is_legacy(bytes, size < 32 ? size : 32))
        return true;
    return size >= 8 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5 &&
           sd_little_endian(bytes, 8) > longest_safetensors_header;
}

static sd_status parse(sd_pickle *f, const char *label, const uint8_t *data, size_t size, sd_error *err) {
    sd_arena values = {0};
    sd_unpickler u = {
        .label = label, .values = &values, .kept = &f->arena, .err = err, .data = data, .size = size};
    sd_pickle_value object;
    size_t pickle_size = 0;
    bool ok = false;
    if (is_zip(data, size))
        ok = sd_pickle_read_zip(&u, &object, &pickle_size);
    else if (sd_pickle_is_legacy(data, size))
        ok = sd_pickle_read_legacy(&u, &object, &pickle_size);
    else if (sd_pickle_detect(data, size))
        u.status = sd_fail(err, SD_E_UNSUPPORTED,
                           "%s: expected a file that torch.save wrote, found another pickle", label);
    else
        u.status =
            sd_fail(err, SD_E_FORMAT,
                    "%s: expected a file that torch.save wrote: neither a zip archive nor a pickle", label);
    if (ok)
        u.status = sd_pickle_gather(f, label, &object, pickle_size, size, err);
    sd_unpickle_clear(&u);
    sd_arena_clear(&values);
    return u.status;
}

sd_status sd_pickle_parse(const char *label, const void *data, size_t size, sd_pickle **out, sd_error *err) {
    *out = NULL;
    sd_pickle *f = calloc(1, sizeof *f);
    if (!f)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory to open it", label);
    sd_status status = parse(f, label, data, size, err);
    if (status)
        sd_pickle_close(&f);
    *out = f;
    return status;
}

sd_status sd_pickle_open(const char *path, sd_pickle **out, sd_error *err) {
    sd_mapping map;
    *out = NULL;
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    status = sd_pickle_parse(path, map.data, map.size, out, err);
    if (status)
        sd_file_unmap(&map);
    else
        (*out)->map = map;
    return status;
}

void sd_pickle_close(sd_pickle **file) {
    sd_pickle *f = *file;
    if (!f)
        return;
    sd_file_unmap(&f->map);
    sd_arena_clear(&f->arena);
    free(f);
    *file = NULL;
}

void sd_pickle_advise(const sd_pickle *file, const void *data, size_t size, sd_file_advice advice) {
    sd_mapping_advise(&file->map, data, size, advice);
}

size_t sd_pickle_count(const sd_pickle *file) {
    return file->count;
}

const sd_file_tensor *sd_pickle_at(const sd_pickle *file, size_t index) {
    return index < file->count ? &file->tensors[index] : NULL;
}

const sd_file_tensor *sd_pickle_find(const sd_pickle *file, const char *name) {
    return sd_file_tensors_find(file->by_name, file->count, name);
}

const char *sd_pickle_root(const sd_pickle *file) {
    return file->root;
}

size_t sd_pickle_left_out(const sd_pickle *file) {
    return file->left_out;
}
