#include "sd/io/tensor_file.h"

#include "sd/io/file.h"
#include "sd/io/gguf.h"
#include "sd/io/pickle.h"
#include "sd/io/safetensors.h"

#include <stdlib.h>
#include <string.h>

/* A format's own functions. */
struct format {
    const char *name;
    bool (*matches)(const uint8_t *bytes, size_t size); /* from the file's first bytes, at least one */
    sd_status (*open)(const char *path, void **out, sd_error *err);
    void (*close)(void **file);
    size_t (*count)(const void *file);
    const sd_file_tensor *(*at)(const void *file, size_t index);
    const sd_file_tensor *(*find)(const void *file, const char *name);
    size_t (*metadata_count)(const void *file);
    const sd_file_metadata *(*metadata_at)(const void *file, size_t index);
    void (*advise)(const void *file, const void *data, size_t size, sd_file_advice advice);
};

struct sd_tensor_file {
    const struct format *format;
    void *file;
};

/* The functions of sd_PREFIX as functions of void pointers. */
#define FORMAT(prefix, metadata_count_function)                                                              \
    static void prefix##_close(void **file) {                                                                \
        sd_##prefix *own = *file;                                                                            \
        sd_##prefix##_close(&own);                                                                           \
        *file = NULL;                                                                                        \
    }                                                                                                        \
    static size_t prefix##_count(const void *file) {                                                         \
        return sd_##prefix##_count(file);                                                                    \
    }                                                                                                        \
    static const sd_file_tensor *prefix##_at(const void *file, size_t index) {                               \
        return sd_##prefix##_at(file, index);                                                                \
    }                                                                                                        \
    static const sd_file_tensor *prefix##_find(const void *file, const char *name) {                         \
        return sd_##prefix##_find(file, name);                                                               \
    }                                                                                                        \
    static size_t prefix##_metadata_count(const void *file) {                                                \
        return metadata_count_function(file);                                                                \
    }                                                                                                        \
    static const sd_file_metadata *prefix##_metadata_at(const void *file, size_t index) {                    \
        return sd_##prefix##_metadata_at(file, index);                                                       \
    }                                                                                                        \
    static void prefix##_advise(const void *file, const void *data, size_t size, sd_file_advice advice) {    \
        sd_##prefix##_advise(file, data, size, advice);                                                      \
    }

#define OPEN(prefix, function)                                                                               \
    static sd_status function##_any(const char *path, void **out, sd_error *err) {                           \
        sd_##prefix *own;                                                                                    \
        sd_status status = function(path, &own, err);                                                        \
        *out = own;                                                                                          \
        return status;                                                                                       \
    }

FORMAT(gguf, sd_gguf_value_count)
OPEN(gguf, sd_gguf_open)

FORMAT(pickle, sd_pickle_metadata_count)
OPEN(pickle, sd_pickle_open)

FORMAT(safetensors, sd_safetensors_metadata_count)
OPEN(safetensors, sd_safetensors_open)
OPEN(safetensors, sd_safetensors_open_index)

static bool is_gguf(const uint8_t *bytes, size_t size) {
    return size >= 4 && !memcmp(bytes, "GGUF", 4);
}

/* JSON text that begins with an object. The length that a safetensors file begins with is below 2^27, so that
 * its highest bytes are 0. */
static bool is_index(const uint8_t *bytes, size_t size) {
    size_t at = 0;
    while (at < size && strchr(" \t\r\n", bytes[at]) && bytes[at])
        at++;
    return at < size && bytes[at] == '{' && !memchr(bytes, 0, size < 8 ? size : 8);
}

static bool is_pickle(const uint8_t *bytes, size_t size) {
    return sd_pickle_detect(bytes, size);
}

static bool is_anything(const uint8_t *bytes, size_t size) {
    (void)bytes;
    (void)size;
    return true;
}

#define FUNCTIONS(prefix)                                                                                    \
    prefix##_close, prefix##_count, prefix##_at, prefix##_find, prefix##_metadata_count,                     \
        prefix##_metadata_at, prefix##_advise

/* The first that matches. */
static const struct format formats[] = {
    {"GGUF", is_gguf, sd_gguf_open_any, FUNCTIONS(gguf)},
    {"PyTorch", is_pickle, sd_pickle_open_any, FUNCTIONS(pickle)},
    {"safetensors", is_index, sd_safetensors_open_index_any, FUNCTIONS(safetensors)},
    {"safetensors", is_anything, sd_safetensors_open_any, FUNCTIONS(safetensors)},
};

sd_status sd_tensor_file_open(const char *path, sd_tensor_file **out, sd_error *err) {
    const struct format *format = formats;
    sd_mapping map;
    *out = NULL;
    sd_status status = sd_file_map(path, 0, &map, err);
    if (status)
        return status;
    while (!format->matches(map.data, map.size))
        format++;
    sd_file_unmap(&map);
    sd_tensor_file *f = calloc(1, sizeof *f);
    if (!f)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory to open it", path);
    f->format = format;
    status = format->open(path, &f->file, err);
    if (status)
        free(f);
    else
        *out = f;
    return status;
}

void sd_tensor_file_close(sd_tensor_file **file) {
    if (!*file)
        return;
    (*file)->format->close(&(*file)->file);
    free(*file);
    *file = NULL;
}

void sd_tensor_file_advise(const sd_tensor_file *file, const void *data, size_t size, sd_file_advice advice) {
    file->format->advise(file->file, data, size, advice);
}

const char *sd_tensor_file_format(const sd_tensor_file *file) {
    return file->format->name;
}

const struct sd_gguf *sd_tensor_file_gguf(const sd_tensor_file *file) {
    return file->format->open == sd_gguf_open_any ? file->file : NULL;
}

size_t sd_tensor_file_count(const sd_tensor_file *file) {
    return file->format->count(file->file);
}

const sd_file_tensor *sd_tensor_file_at(const sd_tensor_file *file, size_t index) {
    return file->format->at(file->file, index);
}

const sd_file_tensor *sd_tensor_file_find(const sd_tensor_file *file, const char *name) {
    return file->format->find(file->file, name);
}

size_t sd_tensor_file_metadata_count(const sd_tensor_file *file) {
    return file->format->metadata_count(file->file);
}

const sd_file_metadata *sd_tensor_file_metadata_at(const sd_tensor_file *file, size_t index) {
    return file->format->metadata_at(file->file, index);
}

const char *sd_tensor_file_metadata(const sd_tensor_file *file, const char *key) {
    size_t count = sd_tensor_file_metadata_count(file);
    for (size_t i = 0; i < count; i++) {
        const sd_file_metadata *m = sd_tensor_file_metadata_at(file, i);
        if (!strcmp(m->key, key))
            return m->value;
    }
    return NULL;
}
