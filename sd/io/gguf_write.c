#include "sd/io/gguf_internal.h"

#include "sd/base/checked.h"
#include "sd/base/str.h"
#include "sd/io/file_tensor_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { longest_header = 1 << 30 };

/* A tensor as the file shows it. */
typedef struct stored {
    const sd_file_tensor *tensor;
    uint32_t rank, number; /* number: of its element type */
    uint64_t shape[SD_GGUF_RANK];
    uint64_t offset;
} stored;

typedef struct writing {
    const char *path;
    sd_error *err;
    stored *tensors; /* [count], in the order of their names */
    size_t count;
    sd_gguf_values values; /* all that the file will hold */
    uint64_t alignment;
    const struct sd_tensor_producer *producer;
} writing;

/* ---- checking ---- */

static bool good_name(const char *name) {
    return name && *name && sd_utf8_valid(name, strlen(name));
}

static sd_status check_tensor(const writing *w, const sd_file_tensor *t) {
    uint64_t bytes;
    uint32_t number;
    if (!good_name(t->name))
        return sd_fail(w->err, SD_E_ARGUMENT,
                       "%s: cannot be written: a tensor's name is empty or not well-formed UTF-8", w->path);
    if (!sd_gguf_element_number(t->dtype, &number))
        return sd_fail(w->err, SD_E_ARGUMENT,
                       "%s: cannot be written: tensor '%s' is %s, which GGUF files cannot hold", w->path,
                       sd_show_name(t->name).text, sd_file_dtype_name(t->dtype));
    if (t->rank > SD_FILE_RANK || !sd_file_tensor_size(t->dtype, t->rank, t->shape, &bytes) ||
        bytes != t->bytes || (bytes && !t->data && !w->producer))
        return sd_fail(w->err, SD_E_ARGUMENT,
                       "%s: cannot be written: the %" PRIu64
                       " bytes of tensor '%s' do not match its shape and type",
                       w->path, t->bytes, sd_show_name(t->name).text);
    return SD_OK;
}

static sd_status check_values(const writing *w, const sd_gguf_values *values) {
    const char *twice;
    if (values->failed)
        return sd_fail(w->err, SD_E_MEMORY, "%s: no memory to write it", w->path);
    for (size_t i = 0; i < values->count; i++)
        if (!good_name(values->items[i].key))
            return sd_fail(w->err, SD_E_ARGUMENT,
                           "%s: cannot be written: a metadata key is empty or not well-formed UTF-8",
                           w->path);
    if (!sd_gguf_find_twice(values->items, values->count, &twice))
        return sd_fail(w->err, SD_E_MEMORY, "%s: no memory to write it", w->path);
    if (twice)
        return sd_fail(w->err, SD_E_ARGUMENT, "%s: cannot be written: metadata '%s' is given twice", w->path,
                       sd_show_name(twice).text);
    return SD_OK;
}

/* ---- planning ---- */

/* The shape in the file: at most four dimensions, with rows of whole blocks. */
static void store_shape(stored *s) {
    const sd_file_tensor *t = s->tensor;
    uint64_t block = sd_file_dtype_block(t->dtype), values = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        values *= t->shape[i]; /* was checked with the size */
    if (!t->rank || t->shape[t->rank - 1] % block) {
        uint64_t row = values % 256 ? block : 256;
        s->rank = t->rank ? 2 : 1;
        s->shape[0] = t->rank ? values / row : 1;
        s->shape[1] = row;
        return;
    }
    uint32_t extra = t->rank > SD_GGUF_RANK ? t->rank - SD_GGUF_RANK : 0;
    s->rank = t->rank - extra;
    memcpy(s->shape, t->shape + extra, s->rank * sizeof *s->shape);
    for (uint32_t i = 0; i < extra; i++)
        s->shape[0] *= t->shape[i];
}

/* Notes the shape that a reader has to restore. */
static sd_status keep_shape(writing *w, const stored *s) {
    const sd_file_tensor *t = s->tensor;
    if (s->rank == t->rank && !memcmp(s->shape, t->shape, s->rank * sizeof *s->shape))
        return SD_OK;
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->shape[i] > INT32_MAX)
            return sd_fail(
                w->err, SD_E_ARGUMENT,
                "%s: cannot be written: a dimension of tensor '%s' is over 2^31-1 and the tensor has to "
                "be reshaped",
                w->path, sd_show_name(t->name).text);
    char *key = sd_arena_printf(&w->values.arena, "%s%s", SD_GGUF_SHAPE_KEY, t->name);
    if (key)
        sd_gguf_add_dimensions(&w->values, key, t->rank, t->shape);
    return key && !w->values.failed ? SD_OK
                                    : sd_fail(w->err, SD_E_MEMORY, "%s: no memory to write it", w->path);
}

/* Everything but the shapes of reshaped tensors, which are noted anew. */
static void copy_values(writing *w, const sd_gguf_values *values) {
    for (size_t i = 0; i < values->count; i++)
        if (strncmp(values->items[i].key, SD_GGUF_SHAPE_KEY, strlen(SD_GGUF_SHAPE_KEY)) != 0)
            sd_gguf_add(&w->values, &values->items[i]);
}

static sd_status plan_tensors(writing *w, const sd_file_tensor *tensors) {
    const sd_file_tensor **sorted;
    bool quantised = false;
    uint64_t at = 0;
    for (size_t i = 0; i < w->count; i++) {
        sd_status status = check_tensor(w, &tensors[i]);
        if (status)
            return status;
        quantised = quantised || sd_file_dtype_quantised(tensors[i].dtype);
    }
    if (!(sorted = sd_file_tensors_by_name(&w->values.arena, tensors, w->count)))
        return sd_fail(w->err, SD_E_MEMORY, "%s: no memory to write it", w->path);
    if (quantised && !sd_gguf_lookup(w->values.items, w->values.count, SD_GGUF_QUANTISATION_KEY))
        sd_gguf_add_u32(&w->values, SD_GGUF_QUANTISATION_KEY, SD_GGUF_QUANTISATION);
    for (size_t i = 0; i < w->count; i++) {
        stored *s = &w->tensors[i];
        if (i && strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            return sd_fail(w->err, SD_E_ARGUMENT, "%s: cannot be written: '%s' is given twice", w->path,
                           sd_show_name(sorted[i]->name).text);
        s->tensor = sorted[i];
        s->offset = at;
        sd_gguf_element_number(sorted[i]->dtype, &s->number);
        store_shape(s);
        sd_status status = keep_shape(w, s);
        if (status)
            return status;
        if (!sd_add_u64(at, sorted[i]->bytes, &at) || !sd_align_u64(at, w->alignment, &at))
            return sd_fail(w->err, SD_E_ARGUMENT, "%s: cannot be written: its data would be over 2^64 bytes",
                           w->path);
    }
    return SD_OK;
}

/* ---- writing ---- */

static void put(sd_str *s, uint64_t number, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        sd_str_append_bytes(s, &(char){(char)(number >> 8 * i & 0xFF)}, 1);
}

static void put_string(sd_str *s, const void *text, uint64_t bytes) {
    put(s, bytes, 8);
    sd_str_append_bytes(s, text, (size_t)bytes);
}

static void put_value(sd_str *s, const sd_gguf_value *v) {
    put_string(s, v->key, strlen(v->key));
    put(s, v->type, 4);
    if (v->type == SD_GGUF_STRING) {
        put_string(s, v->data, v->bytes);
        return;
    }
    if (v->type == SD_GGUF_ARRAY) {
        put(s, v->element, 4);
        put(s, v->count, 8);
    }
    sd_str_append_bytes(s, v->data, (size_t)v->bytes);
}

static void put_tensor(sd_str *s, const stored *t) {
    put_string(s, t->tensor->name, strlen(t->tensor->name));
    put(s, t->rank, 4);
    for (uint32_t i = t->rank; i-- > 0;) /* innermost first */
        put(s, t->shape[i], 8);
    put(s, t->number, 4);
    put(s, t->offset, 8);
}

static sd_status build_header(const writing *w, sd_str *s) {
    s->limit = longest_header;
    sd_str_append(s, "GGUF");
    put(s, 3, 4);
    put(s, w->count, 8);
    put(s, w->values.count, 8);
    for (size_t i = 0; i < w->values.count; i++)
        put_value(s, &w->values.items[i]);
    for (size_t i = 0; i < w->count; i++)
        put_tensor(s, &w->tensors[i]);
    while (s->size % w->alignment && !s->failed)
        sd_str_append_bytes(s, "", 1);
    return s->failed ? sd_fail(w->err, SD_E_MEMORY, "%s: no memory for its header", w->path) : SD_OK;
}

static sd_status write_data(const writing *w, sd_file_writer *file) {
    static const uint8_t zeros[4096];
    sd_status status = SD_OK;
    for (size_t i = 0; i < w->count && !status; i++) {
        const sd_file_tensor *t = w->tensors[i].tensor;
        status = sd_file_tensor_write(file, t, w->producer, w->err);
        uint64_t rest = (w->alignment - t->bytes % w->alignment) % w->alignment;
        while (rest && !status) {
            size_t now = rest < sizeof zeros ? (size_t)rest : sizeof zeros;
            status = sd_file_writer_write(file, zeros, now, w->err);
            rest -= now;
        }
    }
    return status;
}

static sd_status write_file(const writing *w) {
    sd_str header = {0};
    sd_file_writer *file = NULL;
    sd_status status = build_header(w, &header);
    if (!status)
        status = sd_file_writer_open(w->path, &file, w->err);
    if (!status)
        status = sd_file_writer_write(file, header.text, header.size, w->err);
    if (!status)
        status = write_data(w, file);
    sd_str_clear(&header);
    if (!status)
        return sd_file_writer_commit(&file, w->err);
    sd_file_writer_discard(&file);
    return status;
}

sd_status sd_gguf_write(const char *path, const sd_file_tensor *tensors, size_t count,
                        const sd_gguf_values *values, const struct sd_tensor_producer *producer,
                        sd_error *err) {
    static const sd_gguf_values none;
    writing w = {.path = path, .err = err, .count = count, .producer = producer};
    values = values ? values : &none;
    sd_status status = check_values(&w, values);
    if (status)
        return status;
    w.alignment = sd_gguf_alignment(values->items, values->count);
    w.tensors = sd_arena_array(&w.values.arena, count, sizeof *w.tensors);
    copy_values(&w, values);
    if (!w.tensors || w.values.failed)
        status = sd_fail(err, SD_E_MEMORY, "%s: no memory to write it", path);
    else if (count > SD_GGUF_MOST || w.values.count > SD_GGUF_MOST)
        status = sd_fail(
            err, SD_E_ARGUMENT,
            "%s: cannot be written: expected at most %d tensors and metadata values, found %zu and %zu", path,
            SD_GGUF_MOST, count, w.values.count);
    else if (!w.alignment)
        status =
            sd_fail(err, SD_E_ARGUMENT, "%s: cannot be written: %s is not a power of two up to %d as U32",
                    path, SD_GGUF_ALIGNMENT_KEY, SD_GGUF_MOST_ALIGNMENT);
    else if (!(status = plan_tensors(&w, tensors)))
        status = write_file(&w);
    sd_gguf_values_clear(&w.values);
    return status;
}
