/* Rewriting tensors of a checkpoint on the device into the form that kernels read. */
#include "sd/base/checked.h"
#include "sd/nn/op.h"
#include "sd/nn/weight_internal.h"
#include "shaders/pack_quant.h"
#include "shaders/pack_weight.h"
#include "shaders/quant.h"
#include "shaders/shaders.h"

/* Packs the rows that lie at push->source. */
static sd_status dispatch_pack(struct sd_upload *u, const sd_weight *w, sd_dtype type,
                               const struct pack_weight_push *push, uint32_t phases, sd_error *err) {
    bool paired = w->form == SD_WEIGHT_GEGLU || w->form == SD_WEIGHT_GEGLU_VECTOR;
    uint32_t form = w->form == SD_WEIGHT_UPSAMPLE ? 3
                    : sd_weight_is_matrix(w)      ? 2
                    : w->form == SD_WEIGHT_TABLE  ? 1
                                                  : 0;
    const uint32_t spec[] = {sd_raw_shader_type(type), w->dtype == SD_F16, form, paired};
    uint32_t size[3];
    sd_fold_groups(sd_ceil_div(push->words, 64), size);
    size[2] = phases;
    return sd_upload_dispatch(u, &sd_shader_pack_weight, spec, 4, push, sizeof *push, size, err);
}

/* Rows that fit the scratch at once, at `size` bytes each. */
static uint32_t chunk_rows(uint32_t rows, uint64_t size) {
    return rows * size > SD_UPLOAD_BYTES ? (uint32_t)(SD_UPLOAD_BYTES / size) : rows;
}

/* The file's own blocks, in another order. */
static sd_status pack_blocks(struct sd_upload *u, const sd_weight *w, uint32_t part, const struct sd_raw *raw,
                             sd_error *err) {
    const struct sd_gemm_layout l = sd_gemm_layout(sd_vk_info(u->vk), w);
    uint32_t rows = sd_weight_part_rows(w), groups[3], type = sd_weight_shader_type(w->dtype);
    uint64_t row_bytes = raw->bytes / rows;
    struct pack_quant_push push = {.packed = w->address,
                                   .n = w->n,
                                   .c = w->c,
                                   .column0 = part * rows,
                                   .tile = l.tile,
                                   .tiles = l.tiles,
                                   .paired = w->form == SD_WEIGHT_GEGLU};
    sd_fold_groups(sd_ceil_div(l.tiles * l.tile * sd_ceil_div(w->c, 2 * QUANT_UNIT), 64), groups);
    sd_status status = SD_OK;
    /* Chunks begin at words: blocks have an even number of bytes. */
    uint32_t chunk = chunk_rows(rows, row_bytes) & (rows * row_bytes > SD_UPLOAD_BYTES ? ~1u : ~0u);
    for (; push.row0 < rows && !status; push.row0 += chunk) {
        push.rows = rows - push.row0 < chunk ? rows - push.row0 : chunk;
        status = sd_upload_stage(u, (const char *)raw->data + push.row0 * row_bytes, push.rows * row_bytes,
                                 &push.source, err);
        if (!status)
            status = sd_upload_dispatch(u, &sd_shader_pack_quant, &type, 1, &push, sizeof push, groups, err);
    }
    return status;
}

sd_status sd_weight_pack(struct sd_upload *u, const sd_weight *w, uint32_t part, const struct sd_raw *raw,
                         const sd_edit *edit, sd_error *err) {
    struct sd_gemm_layout l = {
        .tile = 1, .run = 1, .c_padded = 1, .taps = 1, .phases = 1, .words = w->bytes / 4};
    if (sd_dtype_quantised(w->dtype))
        return pack_blocks(u, w, part, raw, err);
    if (sd_weight_is_matrix(w))
        l = sd_gemm_layout(sd_vk_info(u->vk), w);
    uint32_t rows = sd_weight_part_rows(w);
    struct pack_weight_push push = {.packed = w->address,
                                    .n = w->n,
                                    .c = w->c,
                                    .kh = w->kh,
                                    .kw = w->kw,
                                    .column0 = part * rows,
                                    .rows = rows,
                                    .tile = l.tile,
                                    .run = l.run,
                                    .c_padded = l.c_padded,
                                    .taps = l.taps,
                                    .words = (uint32_t)l.words,
                                    .block = l.block};
    if (edit) {
        sd_status status = sd_edit_run(edit, raw, u, &push.source, err);
        return status ? status : dispatch_pack(u, w, SD_F32, &push, l.phases, err);
    }
    sd_dtype staged = sd_upload_dtype(raw->dtype);
    uint64_t row_values = (uint64_t)w->c * w->kh * w->kw;
    uint32_t chunk = chunk_rows(rows, row_values * sd_dtype_size(staged));
    sd_status status = SD_OK;
    for (; push.row0 < rows && !status; push.row0 += chunk) {
        push.rows = rows - push.row0 < chunk ? rows - push.row0 : chunk;
        status =
            sd_upload_stage_values(u, raw, push.row0 * row_values, push.rows * row_values, &push.source, err);
        if (!status)
            status = dispatch_pack(u, w, staged, &push, l.phases, err);
    }
    return status;
}
