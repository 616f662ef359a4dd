/* Where a tensor's numbers lie in its storage. */
#include "sd/io/pickle_internal.h"

#include "sd/base/checked.h"

#include <inttypes.h>
#include <string.h>

/* The element behind the last one that the view reaches; false when that has no number. The view has
 * elements. */
static bool reach(const sd_pickle_view *view, uint64_t *end) {
    uint64_t last = view->offset;
    for (uint32_t i = 0; i < view->rank; i++) {
        uint64_t step;
        if (!sd_mul_u64(view->shape[i] - 1, view->stride[i], &step) || !sd_add_u64(last, step, &last))
            return false;
    }
    return sd_add_u64(last, 1, end);
}

static bool is_packed(const sd_pickle_view *view) {
    uint64_t stride = 1;
    for (uint32_t i = view->rank; i-- > 0;) {
        if (view->shape[i] != 1 && view->stride[i] != stride)
            return false;
        stride *= view->shape[i];
    }
    return true;
}

/* Copies the elements of `width` bytes in row-major order. The view's reach was checked. */
static void copy_view(uint8_t *out, const sd_pickle_view *view, unsigned width, uint64_t count) {
    uint64_t at[SD_FILE_RANK] = {0}, element = view->offset;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(out + i * width, view->storage->data + element * width, width);
        for (uint32_t d = view->rank; d-- > 0;) {
            element += view->stride[d];
            if (++at[d] < view->shape[d])
                break;
            element -= view->stride[d] * view->shape[d];
            at[d] = 0;
        }
    }
}

static sd_status copy(const char *label, const sd_pickle_view *view, sd_arena *arena, uint64_t *copies,
                      sd_file_tensor *t, sd_error *err) {
    unsigned width = sd_file_dtype_bits(t->dtype) / 8;
    if (t->bytes > *copies)
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: tensor '%s': copies of its views would be larger than the file", label,
                       sd_show_name(t->name).text);
    uint8_t *data = sd_arena_alloc(arena, (size_t)t->bytes);
    if (!data)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for the %" PRIu64 " bytes of tensor '%s'", label,
                       t->bytes, sd_show_name(t->name).text);
    *copies -= t->bytes;
    copy_view(data, view, width, t->bytes / width);
    t->data = data;
    return SD_OK;
}

sd_status sd_pickle_place(const char *label, const sd_pickle_view *view, sd_arena *arena, uint64_t *copies,
                          sd_file_tensor *t, sd_error *err) {
    static const uint8_t nothing[1];
    const sd_pickle_storage *storage = view->storage;
    sd_shown_name name = sd_show_name(t->name);
    char shape[200];
    uint64_t end, width = sd_file_dtype_bits(view->dtype) / 8;
    t->dtype = view->dtype;
    t->rank = view->rank;
    memcpy(t->shape, view->shape, sizeof t->shape);
    t->data = nothing;
    sd_file_shape_text(t->rank, t->shape, shape, sizeof shape);
    if (!storage)
        return sd_fail(err, SD_E_FORMAT, "%s: tensor '%s': a numpy array without its numbers", label,
                       name.text);
    if (!sd_file_tensor_size(t->dtype, t->rank, t->shape, &t->bytes))
        return sd_fail(err, SD_E_FORMAT, "%s: tensor '%s': shape %s of %s has no size below 2^61 bytes",
                       label, name.text, shape, sd_file_dtype_name(t->dtype));
    if (t->bytes == 0)
        return SD_OK;
    uint64_t available = storage->bytes / width;
    if (t->bytes / width > available)
        return sd_fail(err, SD_E_FORMAT,
                       "%s: tensor '%s': shape %s needs %" PRIu64
                       " elements, its storage '%s' holds %" PRIu64,
                       label, name.text, shape, t->bytes / width, sd_show_name(storage->key).text, available);
    if (!reach(view, &end) || end > available)
        return sd_fail(err, SD_E_FORMAT,
                       "%s: tensor '%s': its strides reach beyond the %" PRIu64 " elements of storage '%s'",
                       label, name.text, available, sd_show_name(storage->key).text);
    if (!is_packed(view))
        return copy(label, view, arena, copies, t, err);
    t->data = storage->data + view->offset * width;
    return SD_OK;
}
