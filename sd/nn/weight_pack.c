/* Rewriting tensors of a checkpoint on the device into the form that kernels read. */
#include "sd/base/checked.h"
#include "sd/nn/op.h"
#include "sd/nn/weight_internal.h"
#include "shaders/pack_matrix.h"
#include "shaders/pack_quant.h"
#include "shaders/pack_rows.h"
#include "shaders/quant.h"
#include "shaders/shaders.h"

/* What lies at `source` for the device: source rows of packed rows first, first + 1, ... of the weight; of a
 * paired weight (GEGLU) the value rows and then the gate rows of them. */
struct staged {
    sd_dtype dtype;
    uint32_t first, rows;
    uint64_t source;
};

static bool is_paired(const sd_weight *w) {
    return w->form == SD_WEIGHT_GEGLU || w->form == SD_WEIGHT_GEGLU_VECTOR;
}

static struct pack_piece piece_of(const sd_weight *w, const struct sd_gemm_layout *l,
                                  const struct staged *s) {
    uint32_t end = s->first + s->rows;
    return (struct pack_piece){.source = s->source,
                               .packed = w->address,
                               .first = s->first,
                               .end = end < w->n ? end : l->tiles * l->tile, /* the padding comes last */
                               .rows = s->rows,
                               .paired = is_paired(w)};
}

static sd_status pack_matrix(struct sd_upload *u, const sd_weight *w, const struct staged *s, sd_error *err) {
    const struct sd_vk_info *info = sd_vk_info(u->vk);
    const struct sd_gemm_layout l = sd_gemm_layout(info, w);
    bool blocked = l.block != 0;
    const struct pack_matrix_push push = {.piece = piece_of(w, &l, s),
                                          .c = w->c,
                                          .c_padded = l.c_padded,
                                          .tile = l.tile,
                                          .run = l.run,
                                          .block = l.block,
                                          .tile_words = (uint32_t)(l.words / l.tiles),
                                          .phase_words = (uint32_t)l.words};
    const uint32_t spec[] = {sd_raw_shader_type(s->dtype),
                             w->dtype == SD_F16,
                             w->kh * w->kw,
                             w->form == SD_WEIGHT_UPSAMPLE,
                             w->c % 4 == 0,
                             blocked,
                             blocked && s->first % 2 == 0 && push.piece.end % 2 == 0};
    uint32_t end = push.piece.end, lanes = blocked ? (end + 1) / 2 - s->first / 2 : end - s->first;
    const uint32_t groups[3] = {sd_ceil_div(lanes, 64), sd_ceil_div(l.c_padded, 4 * PACK_MATRIX_QUADS), 1};
    return sd_upload_dispatch(u, info->int64 ? &sd_shader_pack_matrix_int64 : &sd_shader_pack_matrix, spec, 7,
                              &push, sizeof push, groups, err);
}

sd_status sd_pack_rows(struct sd_upload *u, sd_dtype dtype, bool half, struct pack_rows_push push,
                       sd_error *err) {
    if (!half || push.c % 2 == 0) { /* no row ends inside a word */
        push.c *= push.rows;
        push.rows = 1;
    }
    const uint32_t wide = push.rows == 1 && push.c % 4 == 0 && !push.paired && push.packed % 8 == 0;
    const uint32_t spec[] = {sd_raw_shader_type(dtype), half, wide};
    uint32_t units = wide ? push.c / 4 : push.rows * (half ? (push.c + 1) / 2 : push.c), groups[3];
    sd_fold_groups(sd_ceil_div(units, 64 * PACK_ROWS_QUADS), groups);
    return sd_upload_dispatch(u, sd_vk_info(u->vk)->int64 ? &sd_shader_pack_rows_int64 : &sd_shader_pack_rows,
                              spec, 3, &push, sizeof push, groups, err);
}

/* The file's own blocks, in another order. */
static sd_status pack_blocks(struct sd_upload *u, const sd_weight *w, const struct staged *s, sd_error *err) {
    const struct sd_gemm_layout l = sd_gemm_layout(sd_vk_info(u->vk), w);
    const struct pack_quant_push push = {
        .piece = piece_of(w, &l, s), .c = w->c, .tile = l.tile, .tiles = l.tiles};
    const uint32_t spec[] = {sd_weight_shader_type(w->dtype), l.taps == QUANT_TAPS},
                   groups[3] = {sd_ceil_div(push.piece.end - s->first, 64),
                                sd_ceil_div(w->c * l.taps, 2 * QUANT_UNIT * PACK_QUANT_PAIRS), 1};
    return sd_upload_dispatch(u, &sd_shader_pack_quant, spec, 2, &push, sizeof push, groups, err);
}

static sd_status pack_staged(struct sd_upload *u, const sd_weight *w, const struct staged *s, sd_error *err) {
    if (sd_dtype_quantised(w->dtype))
        return pack_blocks(u, w, s, err);
    if (sd_weight_is_matrix(w))
        return pack_matrix(u, w, s, err);
    bool half = w->dtype == SD_F16;
    uint64_t row_words = half ? sd_ceil_div(w->c, 2) : w->c;
    const struct pack_rows_push push = {.source = s->source,
                                        .packed = w->address + s->first * row_words * 4,
                                        .rows = is_paired(w) ? 1 : s->rows,
                                        .c = is_paired(w) ? s->rows : w->c,
                                        .paired = is_paired(w)};
    return sd_pack_rows(u, s->dtype, half, push, err);
}

/* Rows that can be staged at once, at `size` bytes each: when not all, an even number, since two lie side by
 * side in the packed form, and of quantised ones so many that each half of them ends with its octet. */
static uint32_t chunk_rows(const sd_weight *w, uint32_t rows, uint64_t size) {
    uint32_t step = sd_dtype_quantised(w->dtype) ? 2 * QUANT_OCTET : 2;
    return rows * size > SD_UPLOAD_BYTES ? (uint32_t)(SD_UPLOAD_BYTES / size) / step * step : rows;
}

/* Stages a chunk of a part's rows, from packed row s->first on; `column0` is the part's first. */
static sd_status stage_rows(struct sd_upload *u, const sd_weight *w, uint32_t column0,
                            const struct sd_raw *raw, struct staged *s, sd_error *err) {
    uint64_t row = sd_weight_inputs(w), row0 = s->first - column0;
    const struct sd_upload_span all = {row0 * row, s->rows * row},
                                two[] = {{row0 / 2 * row, s->rows / 2 * row},
                                         {(w->n / 2 + row0 / 2) * row, s->rows / 2 * row}};
    bool paired = is_paired(w), expand = !sd_dtype_quantised(w->dtype);
    return sd_upload_stage(u, raw, expand, paired ? two : &all, paired ? 2 : 1, &s->source, err);
}

sd_status sd_weight_pack(struct sd_upload *u, const sd_weight *w, uint32_t part, const struct sd_raw *raw,
                         const sd_edit *edit, sd_error *err) {
    uint32_t rows = sd_weight_part_rows(w), column0 = part * rows;
    struct staged s = {SD_F32, column0, rows, 0};
    if (edit) {
        sd_status status = sd_edit_run(edit, raw, u, &s.source, err);
        return status ? status : pack_staged(u, w, &s, err);
    }
    s.dtype = sd_dtype_quantised(w->dtype) ? w->dtype : sd_upload_dtype(raw->dtype);
    const sd_dtype_block block = sd_dtype_block_of(s.dtype);
    uint64_t row = sd_weight_inputs(w), row_bytes = (row * block.bytes - 1) / block.values + 1;
    uint32_t chunk = chunk_rows(w, rows, row_bytes);
    sd_status status = SD_OK;
    for (; s.first < column0 + rows && !status; s.first += chunk) {
        uint32_t left = column0 + rows - s.first;
        s.rows = left < chunk ? left : chunk;
        status = stage_rows(u, w, column0, raw, &s, err);
        if (!status)
            status = pack_staged(u, w, &s, err);
    }
    return status;
}
