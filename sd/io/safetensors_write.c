#include "sd/base/checked.h"
#include "sd/base/str.h"
#include "sd/io/file_tensor_write.h"
#include "sd/io/safetensors_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int by_size(const void *a, const void *b) {
    const sd_file_tensor *x = *(const sd_file_tensor *const *)a, *y = *(const sd_file_tensor *const *)b;
    unsigned p = sd_file_dtype_bits(x->dtype), q = sd_file_dtype_bits(y->dtype);
    return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

static int names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_string(sd_str *s, const char *text) {
    sd_str_append(s, "\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            sd_str_printf(s, "\\%c", *p);
        else if ((unsigned char)*p < 0x20)
            sd_str_printf(s, "\\u%04x", (unsigned)(unsigned char)*p);
        else
            sd_str_append_bytes(s, p, 1);
    }
    sd_str_append(s, "\"");
}

static sd_status check_name(const char *path, const char *name, sd_error *err) {
    if (!name || !sd_utf8_valid(name, strlen(name)))
        return sd_fail(err, SD_E_ARGUMENT, "%s: cannot be written: a name or value is not well-formed UTF-8",
                       path);
    return SD_OK;
}

static sd_status check_tensor(const char *path, const sd_file_tensor *t, bool produced, sd_error *err) {
    uint64_t bytes;
    sd_status status = check_name(path, t->name, err);
    if (status)
        return status;
    if (strcmp(t->name, "__metadata__") == 0)
        return sd_fail(err, SD_E_ARGUMENT, "%s: cannot be written: a tensor is named __metadata__", path);
    if (sd_file_dtype_quantised(t->dtype))
        return sd_fail(err, SD_E_ARGUMENT,
                       "%s: cannot be written: tensor '%s' is %s, which only GGUF files can hold", path,
                       sd_show_name(t->name).text, sd_file_dtype_name(t->dtype));
    if ((unsigned)t->dtype >= SD_FILE_DTYPES || t->rank > SD_FILE_RANK ||
        !sd_file_tensor_size(t->dtype, t->rank, t->shape, &bytes) || bytes != t->bytes ||
        (bytes && !t->data && !produced))
        return sd_fail(err, SD_E_ARGUMENT,
                       "%s: cannot be written: the %" PRIu64
                       " bytes of tensor '%s' do not match its shape and type",
                       path, t->bytes, sd_show_name(t->name).text);
    return SD_OK;
}

/* Sorts `list` and refuses a name that stands in it twice. */
static sd_status check_unique(const char *path, const char **list, size_t count, sd_error *err) {
    qsort(list, count, sizeof *list, names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(list[i], list[i - 1]) == 0)
            return sd_fail(err, SD_E_ARGUMENT, "%s: cannot be written: '%s' is given twice", path,
                           sd_show_name(list[i]).text);
    return SD_OK;
}

static void put_metadata(sd_str *s, const sd_file_metadata *metadata, size_t count) {
    sd_str_append(s, "\"__metadata__\":{");
    for (size_t i = 0; i < count; i++) {
        sd_str_append(s, i ? "," : "");
        put_string(s, metadata[i].key);
        sd_str_append(s, ":");
        put_string(s, metadata[i].value);
    }
    sd_str_append(s, "}");
}

/* False when the offsets overflow. */
static bool put_tensors(sd_str *s, const sd_file_tensor **order, size_t count) {
    uint64_t at = 0, end;
    char shape[200];
    for (size_t i = 0; i < count; i++, at = end) {
        const sd_file_tensor *t = order[i];
        if (!sd_add_u64(at, t->bytes, &end))
            return false;
        sd_file_shape_text(t->rank, t->shape, shape, sizeof shape);
        sd_str_append(s, s->size > 9 ? "," : "");
        put_string(s, t->name);
        sd_str_printf(s, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                      sd_file_dtype_name(t->dtype), shape, at, end);
    }
    return true;
}

/* The 8 length bytes and the header, padded with spaces so that the data begin at a multiple of 8. */
static sd_status build_header(const char *path, const sd_file_tensor **order, size_t count,
                              const sd_file_metadata *metadata, size_t metadata_count, sd_str *s,
                              sd_error *err) {
    s->limit = 100000008 + 1;
    sd_str_append_bytes(s, "\0\0\0\0\0\0\0\0{", 9);
    if (metadata_count)
        put_metadata(s, metadata, metadata_count);
    bool ok = put_tensors(s, order, count);
    sd_str_append(s, "}");
    while (s->size % 8 && !s->failed)
        sd_str_append(s, " ");
    /* The pieces are short, so that only a header near the limit fails because of it. */
    if (!ok || (s->failed && s->limit - s->size < 1024))
        return sd_fail(err, SD_E_ARGUMENT, "%s: cannot be written: its header would be over 100 MB", path);
    if (s->failed)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its header", path);
    uint64_t length = s->size - 8;
    for (int i = 0; i < 8; i++)
        s->text[i] = (char)(length >> 8 * i & 0xFF);
    return SD_OK;
}

static sd_status write_all(const char *path, const sd_str *header, const sd_file_tensor **order, size_t count,
                           const struct sd_tensor_producer *producer, sd_error *err) {
    sd_file_writer *w;
    sd_status status = sd_file_writer_open(path, &w, err);
    if (status)
        return status;
    status = sd_file_writer_write(w, header->text, header->size, err);
    for (size_t i = 0; i < count && !status; i++)
        status = sd_file_tensor_write(w, order[i], producer, err);
    if (status) {
        sd_file_writer_discard(&w);
        return status;
    }
    return sd_file_writer_commit(&w, err);
}

sd_status sd_safetensors_write(const char *path, const sd_file_tensor *tensors, size_t count,
                               const sd_file_metadata *metadata, size_t metadata_count, sd_error *err) {
    return sd_safetensors_produce(path, tensors, count, metadata, metadata_count, NULL, err);
}

sd_status sd_safetensors_produce(const char *path, const sd_file_tensor *tensors, size_t count,
                                 const sd_file_metadata *metadata, size_t metadata_count,
                                 const struct sd_tensor_producer *producer, sd_error *err) {
    sd_arena arena = {0};
    sd_str header = {0};
    sd_status status = SD_OK;
    const sd_file_tensor **order = sd_arena_array(&arena, count, sizeof *order);
    const char **list = sd_arena_array(&arena, count, sizeof *list);
    const char **keys = sd_arena_array(&arena, metadata_count, sizeof *keys);
    if (!order || !list || !keys)
        status = sd_fail(err, SD_E_MEMORY, "%s: no memory to write it", path);
    for (size_t i = 0; i < count && !status; i++) {
        status = check_tensor(path, &tensors[i], producer != NULL, err);
        order[i] = &tensors[i];
        list[i] = tensors[i].name;
    }
    for (size_t i = 0; i < metadata_count && !status; i++) {
        status = check_name(path, metadata[i].key, err);
        if (!status)
            status = check_name(path, metadata[i].value, err);
        keys[i] = metadata[i].key;
    }
    if (!status)
        status = check_unique(path, list, count, err);
    if (!status)
        status = check_unique(path, keys, metadata_count, err);
    if (!status) {
        qsort(order, count, sizeof *order, by_size);
        status = build_header(path, order, count, metadata, metadata_count, &header, err);
    }
    if (!status)
        status = write_all(path, &header, order, count, producer, err);
    sd_str_clear(&header);
    sd_arena_clear(&arena);
    return status;
}
