/* The list of tensors: shapes, types and places. */
#include "sd/io/gguf_internal.h"

#include "sd/base/checked.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A tensor's place in the data. */
typedef struct place {
    sd_file_tensor tensor;
    uint64_t offset;
} place;

static bool read_shape(struct sd_gguf_cursor *c, sd_file_tensor *t) {
    if (!sd_gguf_take_u32(c, "its number of dimensions", &t->rank))
        return false;
    if (t->rank > SD_GGUF_RANK)
        return sd_gguf_fail(c, SD_E_FORMAT, "expected at most %d dimensions, found %" PRIu32, SD_GGUF_RANK,
                            t->rank);
    for (uint32_t i = t->rank; i-- > 0;) /* innermost first */
        if (!sd_gguf_take_u64(c, "its shape", &t->shape[i]))
            return false;
    return true;
}

static bool read_element(struct sd_gguf_cursor *c, sd_file_tensor *t) {
    uint32_t number;
    if (!sd_gguf_take_u32(c, "its element type", &number))
        return false;
    const struct sd_gguf_element *e = sd_gguf_element(number);
    if (!e)
        return sd_gguf_fail(c, SD_E_FORMAT, "unknown element type %" PRIu32, number);
    if (e->dtype == SD_FILE_DTYPES)
        return sd_gguf_fail(c, SD_E_UNSUPPORTED, "its element type %s is not supported", e->name);
    t->dtype = e->dtype;
    return true;
}

static bool check_size(struct sd_gguf_cursor *c, sd_file_tensor *t) {
    char shape[200];
    uint64_t row = t->rank ? t->shape[t->rank - 1] : 1;
    unsigned block = sd_file_dtype_block(t->dtype);
    if (row % block)
        return sd_gguf_fail(c, SD_E_FORMAT, "its rows of %" PRIu64 " values are not whole blocks of %u (%s)",
                            row, block, sd_file_dtype_name(t->dtype));
    if (sd_file_tensor_size(t->dtype, t->rank, t->shape, &t->bytes))
        return true;
    sd_file_shape_text(t->rank, t->shape, shape, sizeof shape);
    return sd_gguf_fail(c, SD_E_FORMAT, "shape %s of %s has no size in whole bytes below 2^61", shape,
                        sd_file_dtype_name(t->dtype));
}

static bool read_tensors(struct sd_gguf_cursor *c, sd_gguf *f, place *places, uint64_t alignment) {
    for (size_t i = 0; i < f->count; i++) {
        sd_file_tensor *t = &places[i].tensor;
        c->kind = "tensor";
        c->number = i + 1;
        c->name = NULL;
        if (!sd_gguf_take_name(c, &f->arena, "its name", &t->name))
            return false;
        c->name = t->name;
        if (!read_shape(c, t) || !read_element(c, t) || !check_size(c, t) ||
            !sd_gguf_take_u64(c, "its offset", &places[i].offset))
            return false;
        if (places[i].offset % alignment)
            return sd_gguf_fail(c, SD_E_FORMAT,
                                "its offset %" PRIu64 " is not a multiple of the alignment %" PRIu64,
                                places[i].offset, alignment);
    }
    c->kind = c->name = NULL;
    return true;
}

static int by_offset(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->tensor.bytes != y->tensor.bytes)
        return x->tensor.bytes < y->tensor.bytes ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

/* The name check comes before the layout check: a tensor listed twice also overlaps itself. */
static bool check_names(struct sd_gguf_cursor *c, sd_gguf *f) {
    f->by_name = sd_file_tensors_by_name(&f->arena, f->tensors, f->count);
    if (!f->by_name)
        return sd_gguf_no_memory(c);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->by_name[i]->name, f->by_name[i - 1]->name) == 0)
            return sd_gguf_fail(c, SD_E_FORMAT, "tensor '%s' is listed twice",
                                sd_show_name(f->by_name[i]->name).text);
    return true;
}

/* Gives the tensors their data, which begin at the next multiple of the alignment. Gaps are allowed. */
static bool place_tensors(struct sd_gguf_cursor *c, sd_gguf *f, const place *places, uint64_t alignment) {
    uint64_t begin, end, last = 0;
    const char *before = NULL;
    if (!sd_align_u64(c->at, alignment, &begin))
        begin = c->size;
    uint64_t available = begin < c->size ? c->size - begin : 0;
    for (size_t i = 0; i < f->count; i++) {
        sd_file_tensor *t = &f->tensors[i];
        t->data = c->data;
        if (!t->bytes)
            continue;
        if (!sd_add_u64(places[i].offset, t->bytes, &end))
            end = UINT64_MAX;
        if (end > available)
            return sd_gguf_fail(c, SD_E_FORMAT,
                                "tensor '%s': its data end at byte %" PRIu64 ", the file holds %" PRIu64
                                " bytes of data",
                                sd_show_name(t->name).text, end, available);
        if (places[i].offset < last)
            return sd_gguf_fail(c, SD_E_FORMAT,
                                "tensors '%s' and '%s' overlap at byte %" PRIu64 " of the data",
                                sd_show_name(before).text, sd_show_name(t->name).text, places[i].offset);
        t->data = c->data + begin + places[i].offset;
        last = end;
        before = t->name;
    }
    return true;
}

static bool reshape(struct sd_gguf_cursor *c, sd_file_tensor *t, const sd_gguf_value *v) {
    uint64_t shape[SD_FILE_RANK] = {0}, at = 0, bytes;
    uint32_t rank = 0;
    sd_gguf_value element;
    if (v->type != SD_GGUF_ARRAY || v->count > SD_FILE_RANK)
        return sd_gguf_fail(c, SD_E_FORMAT, "expected an array of at most %d dimensions", SD_FILE_RANK);
    while (sd_gguf_next(v, &at, &element))
        if (!sd_gguf_u64(&element, &shape[rank++]))
            return sd_gguf_fail(c, SD_E_FORMAT, "expected dimensions of 0 or more");
    if (!sd_file_tensor_size(t->dtype, rank, shape, &bytes) || bytes != t->bytes) {
        char found[200], expected[200];
        sd_file_shape_text(rank, shape, found, sizeof found);
        sd_file_shape_text(t->rank, t->shape, expected, sizeof expected);
        return sd_gguf_fail(c, SD_E_FORMAT, "expected a shape of as many values as %s, found %s", expected,
                            found);
    }
    t->rank = rank;
    memcpy(t->shape, shape, sizeof shape);
    return true;
}

static bool restore_shapes(struct sd_gguf_cursor *c, sd_gguf *f) {
    const size_t prefix = strlen(SD_GGUF_SHAPE_KEY);
    for (size_t i = 0; i < f->value_count; i++) {
        const sd_gguf_value *v = &f->values[i];
        if (strncmp(v->key, SD_GGUF_SHAPE_KEY, prefix) != 0)
            continue;
        const sd_file_tensor *t = sd_gguf_find(f, v->key + prefix);
        c->kind = "metadata";
        c->name = v->key;
        if (t && !reshape(c, &f->tensors[t - f->tensors], v))
            return false;
    }
    c->kind = c->name = NULL;
    return true;
}

bool sd_gguf_take_tensors(struct sd_gguf_cursor *c, sd_gguf *f, uint64_t alignment) {
    place *places = calloc(f->count + 1, sizeof *places);
    f->tensors = sd_arena_array(&f->arena, f->count, sizeof *f->tensors);
    if (!places || !f->tensors) {
        free(places);
        return sd_gguf_no_memory(c);
    }
    bool ok = read_tensors(c, f, places, alignment);
    qsort(places, ok ? f->count : 0, sizeof *places, by_offset);
    for (size_t i = 0; i < f->count && ok; i++)
        f->tensors[i] = places[i].tensor;
    ok = ok && check_names(c, f) && place_tensors(c, f, places, alignment) && restore_shapes(c, f);
    free(places);
    return ok;
}
