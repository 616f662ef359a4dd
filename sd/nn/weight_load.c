#include "sd/nn/weight_internal.h"

#include "sd/base/checked.h"
#include "sd/base/str.h"
#include "sd/nn/edit_run.h"
#include "shaders/quant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { buffer_bytes = 256 << 20, place_alignment = 256, announced_bytes = 32 << 20 };

/* ---- checking ---- */

/* The shape of one part as PyTorch writes it; returns the rank. */
static uint32_t expected_shape(const sd_weight *w, uint64_t shape[4]) {
    shape[0] = sd_weight_part_rows(w);
    shape[1] = w->c;
    shape[2] = w->kh;
    shape[3] = w->kw;
    bool vector = w->form == SD_WEIGHT_VECTOR || w->form == SD_WEIGHT_GEGLU_VECTOR;
    return vector ? 1 : w->kh > 1 || w->kw > 1 ? 4 : 2;
}

static void append_shape(sd_str *s, uint32_t rank, const uint64_t *shape) {
    sd_str_append(s, "[");
    for (uint32_t i = 0; i < rank; i++)
        sd_str_printf(s, "%s%" PRIu64, i ? "," : "", shape[i]);
    sd_str_append(s, "]");
}

static sd_status wrong_shape(const char *label, const char *name, const sd_weight *w,
                             const struct sd_raw *raw, sd_error *err) {
    uint64_t shape[4];
    sd_str text = {0};
    uint32_t rank = expected_shape(w, shape);
    append_shape(&text, rank, shape);
    sd_str_append(&text, ", found ");
    append_shape(&text, raw->rank, raw->shape);
    sd_status status = sd_fail(err, SD_E_FORMAT, "%s: tensor %s: expected the shape %s", label, name,
                               text.text ? text.text : "?");
    sd_str_clear(&text);
    return status;
}

/* Ones at the end of a shape do not matter: linear layers come as 1x1 convolutions too. */
static sd_status check_part(const char *label, const char *name, const sd_weight *w, const struct sd_raw *raw,
                            sd_error *err) {
    uint64_t shape[4];
    uint32_t rank = expected_shape(w, shape), found = raw->rank;
    while (found > rank && found <= 8 && raw->shape[found - 1] == 1)
        found--;
    if (found != rank || memcmp(shape, raw->shape, rank * sizeof *shape))
        return wrong_shape(label, name, w, raw, err);
    if (raw->dtype != SD_F32 && raw->dtype != SD_F16 && raw->dtype != SD_BF16 && raw->dtype != SD_F8_E4M3 &&
        raw->dtype != SD_F8_E5M2 && !sd_dtype_quantised(raw->dtype))
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: tensor %s: expected F32, F16, BF16, F8 or quantised values, found %s", label,
                       name, sd_dtype_name(raw->dtype));
    uint64_t row = sd_weight_inputs(w) * sd_dtype_size(sd_upload_dtype(raw->dtype));
    if (row > SD_UPLOAD_BYTES / 2) /* two are staged at once */
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: tensor %s: expected rows of at most %d bytes, found %" PRIu64, label, name,
                       SD_UPLOAD_BYTES / 2, row);
    return SD_OK;
}

static bool is_edited(const struct sd_weight_source *source, const char *name) {
    return source->edit && source->edit(source->user, name, NULL);
}

/* Whether the kernels can expand a weight with blocks of this type (shaders/quant.h): each tap's channels are
 * whole units, and blocks may cross rows, but not parts or halves of them. */
static bool fits_kernels(const sd_weight *w, sd_dtype dtype) {
    uint32_t taps = w->kh * w->kw, rows = sd_weight_part_rows(w) / (w->form == SD_WEIGHT_GEGLU ? 2 : 1);
    uint32_t values = sd_dtype_block_of(dtype).values;
    uint64_t row = sd_weight_inputs(w);
    return sd_weight_is_matrix(w) && (taps == 1 || taps == QUANT_TAPS) && w->c % QUANT_UNIT == 0 &&
           rows * row % values == 0 && row <= SD_UPLOAD_BYTES / (2 * QUANT_OCTET * sizeof(float));
}

static bool keeps_blocks(const sd_weight *w, const struct sd_weight_source *source,
                         sd_weight_precision precision, sd_dtype *dtype) {
    bool keeps = true;
    *dtype = SD_DTYPES;
    for (uint32_t i = 0; i < w->parts && keeps; i++) {
        struct sd_raw raw;
        keeps = source->find(source->user, w->names[i], &raw) && sd_dtype_quantised(raw.dtype) &&
                (i == 0 || raw.dtype == *dtype) && fits_kernels(w, raw.dtype);
        *dtype = raw.dtype;
    }
    return keeps && sd_weight_stays_apart(w, *dtype, source, precision);
}

/* Element type of the packed weight. f16 is exact where the file has no more, and nothing is added up. */
static sd_dtype choose_dtype(const sd_weight *w, const struct sd_weight_source *source,
                             sd_weight_precision precision) {
    bool exact = w->form != SD_WEIGHT_UPSAMPLE; /* whose taps are summed */
    sd_dtype quantised;
    if (!sd_weight_is_matrix(w) && w->form != SD_WEIGHT_TABLE)
        return SD_F32;
    if (keeps_blocks(w, source, precision, &quantised))
        return quantised;
    for (uint32_t i = 0; i < w->parts; i++) {
        struct sd_raw raw;
        bool edited = precision == SD_WEIGHTS_LOSSLESS && is_edited(source, w->names[i]);
        exact = exact && !edited && source->find(source->user, w->names[i], &raw) &&
                (raw.dtype == SD_F16 || sd_dtype_size(raw.dtype) == 1 ||
                 (sd_dtype_quantised(raw.dtype) && precision != SD_WEIGHTS_LOSSLESS));
    }
    return exact || precision == SD_WEIGHTS_F16 ? SD_F16 : SD_F32;
}

static sd_status check_all(sd_weights *w, const struct sd_weight_source *source, sd_error *err) {
    uint32_t missing = 0;
    sd_str names = {0};
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < w->count && !status; i++)
        for (uint32_t part = 0; part < w->list[i]->parts && !status; part++) {
            struct sd_raw raw;
            const char *name = w->list[i]->names[part];
            if (source->find(source->user, name, &raw))
                status = check_part(source->label, name, w->list[i], &raw, err);
            else if (++missing <= 3)
                sd_str_printf(&names, "%s%s", missing > 1 ? ", " : "", name);
        }
    if (!status && missing > 3)
        status = sd_fail(err, SD_E_FORMAT, "%s: %u tensors are missing: %s and %u more", source->label,
                         missing, names.text, missing - 3);
    else if (!status && missing)
        status = sd_fail(err, SD_E_FORMAT, "%s: %u tensor%s missing: %s", source->label, missing,
                         missing > 1 ? "s are" : " is", names.text);
    sd_str_clear(&names);
    return status;
}

/* ---- placing ---- */

/* Fills one buffer after another; a weight larger than a buffer gets its own. */
sd_status sd_weights_place(sd_weights *w, sd_vk *vk, sd_error *err) {
    for (uint32_t first = 0; first < w->count;) {
        uint64_t size = 0;
        uint32_t last = first;
        while (last < w->count) {
            uint64_t more;
            if (!sd_align_u64(w->list[last]->bytes, place_alignment, &more))
                return sd_fail(err, SD_E_UNSUPPORTED, "weight '%s' is too large", w->list[last]->names[0]);
            if (last > first && size + more > buffer_bytes)
                break;
            w->list[last]->address = size; /* relative until the buffer is there */
            size += more;
            last++;
        }
        sd_vk_buffer **list = realloc(w->buffers, (w->buffer_count + 1) * sizeof *list);
        if (!list)
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        w->buffers = list;
        sd_status status = sd_vk_buffer_create(vk, &list[w->buffer_count], size, SD_VK_LOCAL, "weights", err);
        if (status) {
            for (uint32_t i = 0; i < w->count; i++)
                w->list[i]->address = 0;
            return status;
        }
        w->buffer_count++;
        for (uint32_t i = first; i < last; i++)
            w->list[i]->address += list[w->buffer_count - 1]->address;
        first = last;
    }
    return SD_OK;
}

sd_status sd_weight_source_goes_on(const struct sd_weight_source *source, sd_error *err) {
    return source->cancelled && source->cancelled(source->cancel) ? sd_fail(err, SD_E_CANCELLED, "cancelled")
                                                                  : SD_OK;
}

static sd_status load_one(struct sd_upload *u, const sd_weight *w, const struct sd_weight_source *source,
                          sd_error *err) {
    sd_status status = sd_weight_source_goes_on(source, err);
    for (uint32_t part = 0; part < w->parts && !status; part++) {
        struct sd_raw raw;
        sd_edit edit;
        const char *name = w->names[part];
        source->find(source->user, name, &raw);
        bool edited = !sd_dtype_quantised(w->dtype) && is_edited(source, name);
        if (edited) {
            sd_edit_begin(&edit, sd_weight_part_rows(w), w->c * w->kh * w->kw);
            source->edit(source->user, name, &edit);
        }
        status = sd_weight_pack(u, w, part, &raw, edited ? &edit : NULL, err);
        if (edited)
            sd_edit_clear(&edit);
        if (source->advise)
            source->advise(source->user, &raw, true);
    }
    return status;
}

/* A weight to be loaded, and where its first part lies. */
struct pending {
    const sd_weight *weight;
    uintptr_t place;
    uint64_t bytes;
};

static int by_place(const void *a, const void *b) {
    const struct pending *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

static void announce(const struct pending *p, const struct sd_weight_source *source) {
    struct sd_raw raw;
    for (uint32_t part = 0; part < p->weight->parts && source->advise; part++)
        if (source->find(source->user, p->weight->names[part], &raw))
            source->advise(source->user, &raw, false);
}

/* In the order of the file, so that a disk reads on without turning back; the system is told of what comes
 * next early enough for it to be there. */
static sd_status load_list(struct pending *list, uint32_t count, sd_vk *vk,
                           const struct sd_weight_source *source, sd_error *err) {
    struct sd_upload u;
    uint64_t ahead = 0; /* bytes announced and not yet loaded */
    uint32_t next = 0;
    sd_status status = sd_upload_begin(&u, vk, err);
    if (status)
        return status;
    qsort(list, count, sizeof *list, by_place);
    for (uint32_t i = 0; i < count && !status; i++) {
        for (; next < count && (next <= i || ahead < announced_bytes); next++) {
            announce(&list[next], source);
            ahead += list[next].bytes;
        }
        status = load_one(&u, list[i].weight, source, err);
        ahead -= list[i].bytes;
    }
    return sd_upload_end(&u, status, err);
}

/* Whether a part of the weight changed. */
static bool any_changed(const sd_weight *w, bool (*changed)(void *user, const char *name), void *user) {
    for (uint32_t part = 0; part < w->parts; part++)
        if (changed(user, w->names[part]))
            return true;
    return false;
}

/* Loads the weights that `changed` tells, or all (NULL). Blocks that were kept are the file's, whatever
 * changed. */
static sd_status load_changed(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                              bool (*changed)(void *user, const char *name), void *user, sd_error *err) {
    struct pending *list = calloc(w->count ? w->count : 1, sizeof *list);
    uint32_t count = 0;
    if (!list)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < w->count; i++) {
        struct sd_raw raw;
        bool kept = sd_dtype_quantised(w->list[i]->dtype);
        if ((changed && (kept || !any_changed(w->list[i], changed, user))) ||
            !source->find(source->user, w->list[i]->names[0], &raw))
            continue;
        list[count++] = (struct pending){w->list[i], (uintptr_t)raw.data, raw.bytes};
    }
    sd_status status = count ? load_list(list, count, vk, source, err) : SD_OK;
    free(list);
    return status;
}

sd_status sd_weights_load(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                          sd_weight_precision precision, sd_error *err) {
    if (w->failed)
        return sd_fail(err, SD_E_MEMORY, "out of memory while naming the weights");
    sd_status status = check_all(w, source, err);
    if (status)
        return status;
    for (uint32_t i = 0; i < w->count; i++) {
        w->list[i]->dtype = choose_dtype(w->list[i], source, precision);
        sd_weight_size(w->list[i], sd_vk_info(vk));
    }
    if (!(status = sd_weights_place(w, vk, err)))
        status = load_changed(w, vk, source, NULL, NULL, err);
    return status ? status : sd_weights_load_sides(w, vk, source, precision, err);
}

sd_status sd_weights_reload(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                            sd_weight_precision precision, sd_error *err) {
    sd_weights_unplace(w, vk);
    return sd_weights_load(w, vk, source, precision, err);
}

sd_status sd_weights_update(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                            sd_weight_precision precision, bool (*changed)(void *user, const char *name),
                            void *user, sd_error *err) {
    bool some = false;
    for (uint32_t i = 0; i < w->count; i++)
        if (any_changed(w->list[i], changed, user)) {
            some = true;
            if (choose_dtype(w->list[i], source, precision) != w->list[i]->dtype)
                return sd_weights_reload(w, vk, source, precision, err);
        }
    sd_status status = some ? load_changed(w, vk, source, changed, user, err) : SD_OK;
    return status || !some ? status : sd_weights_load_sides(w, vk, source, precision, err);
}

sd_status sd_weights_assume(sd_weights *w, const struct sd_vk_info *info, sd_weight_precision precision,
                            sd_error *err) {
    if (w->failed)
        return sd_fail(err, SD_E_MEMORY, "out of memory while naming the weights");
    for (uint32_t i = 0; i < w->count; i++) {
        sd_weight *x = w->list[i];
        bool half = precision == SD_WEIGHTS_F16 || x->form != SD_WEIGHT_UPSAMPLE;
        x->dtype = half && (sd_weight_is_matrix(x) || x->form == SD_WEIGHT_TABLE) ? SD_F16 : SD_F32;
        sd_weight_size(x, info);
    }
    return SD_OK;
}
