#include "sd/nn/weight_internal.h"

#include "sd/base/checked.h"
#include "sd/base/str.h"
#include "sd/nn/op.h"
#include "sd/vk/commands.h"
#include "shaders/pack_weight.h"
#include "shaders/shaders.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { scratch_bytes = 64 << 20, buffer_bytes = 256 << 20, place_alignment = 256 };

/* ---- checking ---- */

static uint32_t rows_of_part(const sd_weight *w) {
    return w->n / w->parts;
}

/* The shape of one part as PyTorch writes it; returns the rank. */
static uint32_t expected_shape(const sd_weight *w, uint64_t shape[4]) {
    shape[0] = rows_of_part(w);
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
        raw->dtype != SD_F8_E5M2)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: tensor %s: expected F32, F16, BF16 or F8 values, found %s",
                       label, name, sd_dtype_name(raw->dtype));
    return SD_OK;
}

static void choose_dtype(sd_weight *w, const struct sd_weight_source *source, sd_weight_precision precision) {
    struct sd_raw raw;
    bool exact = w->form != SD_WEIGHT_UPSAMPLE; /* whose taps are summed */
    if (!sd_weight_is_matrix(w) && w->form != SD_WEIGHT_TABLE)
        return;
    for (uint32_t i = 0; i < w->parts; i++)
        exact = exact && source->find(source->user, w->names[i], &raw) &&
                (raw.dtype == SD_F16 || sd_dtype_size(raw.dtype) == 1);
    w->dtype = exact || precision == SD_WEIGHTS_F16 ? SD_F16 : SD_F32;
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
            for (uint32_t i = first; i < w->count; i++)
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

/* ---- packing ---- */

/* Raw bytes wait in a scratch buffer until it is full; then one submission packs them all. */
struct packer {
    sd_vk *vk;
    sd_vk_buffer *scratch;
    uint64_t used;
    sd_vk_commands *commands;
};

static sd_status flush(struct packer *p, sd_error *err) {
    sd_status status = SD_OK;
    if (p->commands && !(status = sd_vk_commands_finish(p->commands, err)))
        status = sd_vk_submit(p->vk, &p->commands, 1, err);
    sd_vk_commands_destroy(p->vk, &p->commands);
    p->used = 0;
    return status;
}

static uint32_t shader_type(sd_dtype dtype) {
    return dtype == SD_F16 ? 1 : dtype == SD_BF16 ? 2 : dtype == SD_F8_E4M3 ? 3 : dtype == SD_F8_E5M2 ? 4 : 0;
}

static sd_status dispatch_pack(struct packer *p, const sd_weight *w, sd_dtype type,
                               const struct pack_weight_push *push, uint32_t phases, sd_error *err) {
    bool paired = w->form == SD_WEIGHT_GEGLU || w->form == SD_WEIGHT_GEGLU_VECTOR;
    uint32_t form = w->form == SD_WEIGHT_UPSAMPLE ? 3
                    : sd_weight_is_matrix(w)      ? 2
                    : w->form == SD_WEIGHT_TABLE  ? 1
                                                  : 0;
    const uint32_t spec[] = {shader_type(type), w->dtype == SD_F16, form, paired};
    uint32_t size[3];
    sd_fold_groups(sd_ceil_div(push->words, 64), size);
    size[2] = phases;
    sd_vk_pipeline *pipeline;
    sd_status status = sd_vk_pipeline_get(p->vk, &sd_shader_pack_weight, spec, 4, 0, &pipeline, err);
    if (!status && !p->commands)
        status = sd_vk_commands_create(p->vk, &p->commands, 0, err);
    if (!status)
        sd_vk_commands_dispatch(p->commands, pipeline, push, sizeof *push, size);
    return status;
}

static sd_status pack_part(struct packer *p, const sd_weight *w, uint32_t part, const struct sd_raw *raw,
                           sd_error *err) {
    const struct sd_vk_info *info = sd_vk_info(p->vk);
    struct sd_gemm_layout l = {.tile = 1, .c_padded = 1, .taps = 1, .phases = 1, .words = w->bytes / 4};
    if (sd_weight_is_matrix(w))
        l = sd_gemm_layout(info, w);
    uint32_t rows = rows_of_part(w);
    uint64_t row_bytes = raw->bytes / rows;
    uint32_t chunk = row_bytes * rows > scratch_bytes ? (uint32_t)(scratch_bytes / row_bytes) & ~3u : rows;
    sd_status status = SD_OK;
    for (uint32_t row = 0; row < rows && !status; row += chunk) {
        uint32_t now = rows - row < chunk ? rows - row : chunk;
        uint64_t bytes = now * row_bytes,
                 rounded = (bytes + place_alignment - 1) & ~(uint64_t)(place_alignment - 1);
        if (p->used + rounded > scratch_bytes && (status = flush(p, err)))
            break;
        status =
            sd_vk_write(p->vk, p->scratch, p->used, (const char *)raw->data + row * row_bytes, bytes, err);
        const struct pack_weight_push push = {.source = p->scratch->address + p->used,
                                              .packed = w->address,
                                              .n = w->n,
                                              .c = w->c,
                                              .kh = w->kh,
                                              .kw = w->kw,
                                              .column0 = part * rows,
                                              .row0 = row,
                                              .rows = now,
                                              .tile = l.tile,
                                              .c_padded = l.c_padded,
                                              .taps = l.taps,
                                              .words = (uint32_t)l.words,
                                              .block = l.block};
        p->used += rounded;
        if (!status)
            status = dispatch_pack(p, w, raw->dtype, &push, l.phases, err);
    }
    return status;
}

sd_status sd_weights_load(sd_weights *w, sd_vk *vk, const struct sd_weight_source *source,
                          sd_weight_precision precision, sd_error *err) {
    struct packer p = {.vk = vk};
    if (w->failed)
        return sd_fail(err, SD_E_MEMORY, "out of memory while naming the weights");
    sd_status status = check_all(w, source, err);
    if (status)
        return status;
    for (uint32_t i = 0; i < w->count; i++) {
        choose_dtype(w->list[i], source, precision);
        sd_weight_size(w->list[i], sd_vk_info(vk));
    }
    if ((status = sd_weights_place(w, vk, err)) ||
        (status =
             sd_vk_buffer_create(vk, &p.scratch, scratch_bytes, SD_VK_LOCAL, "weights on their way", err)))
        return status;
    for (uint32_t i = 0; i < w->count && !status; i++)
        for (uint32_t part = 0; part < w->list[i]->parts && !status; part++) {
            struct sd_raw raw;
            source->find(source->user, w->list[i]->names[part], &raw);
            status = pack_part(&p, w->list[i], part, &raw, err);
        }
    sd_status last = flush(&p, status ? NULL : err);
    sd_vk_buffer_destroy(vk, &p.scratch);
    return status ? status : last;
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
