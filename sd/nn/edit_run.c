#include "sd/nn/edit_run.h"

#include "sd/base/checked.h"
#include "sd/nn/op.h"
#include "shaders/shaders.h"

#include <stdlib.h>

enum { threads = 64 };

/* Device addresses of an edit's matrices. */
struct places {
    struct sd_upload *u;
    uint64_t *at;
};

uint32_t sd_raw_shader_type(sd_dtype dtype) {
    return dtype == SD_F16 ? 1 : dtype == SD_BF16 ? 2 : dtype == SD_F8_E4M3 ? 3 : dtype == SD_F8_E5M2 ? 4 : 0;
}

/* Puts the matrices one behind the other into the workspace, which grows when it is too small. */
static sd_status place(const sd_edit *e, struct places *p, sd_error *err) {
    struct sd_upload *u = p->u;
    uint64_t size = 0;
    if (!(p->at = calloc(e->matrix_count, sizeof *p->at)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < e->matrix_count; i++) {
        uint64_t bytes = (uint64_t)e->matrices[i].rows * e->matrices[i].columns * sizeof(float);
        p->at[i] = size;
        size += (bytes + SD_UPLOAD_ALIGNMENT - 1) & ~(uint64_t)(SD_UPLOAD_ALIGNMENT - 1);
    }
    if (!u->workspace || u->workspace->size < size) {
        sd_status status = sd_upload_flush(u, err); /* which may still read the old one */
        sd_vk_buffer_destroy(u->vk, &u->workspace);
        if (status ||
            (status = sd_vk_buffer_create(u->vk, &u->workspace, size, SD_VK_LOCAL, "edited weights", err)))
            return status;
    }
    for (uint32_t i = 0; i < e->matrix_count; i++)
        p->at[i] += u->workspace->address;
    return SD_OK;
}

static sd_status expand(struct sd_upload *u, const struct sd_raw *raw, uint64_t to, sd_error *err) {
    const sd_dtype_block block = sd_dtype_block_of(raw->dtype);
    uint64_t count = raw->bytes / block.bytes * block.values, most = SD_UPLOAD_BYTES / sizeof(float);
    sd_status status = SD_OK;
    for (uint64_t first = 0; first < count && !status; first += most) {
        const struct sd_upload_span span = {first, count - first < most ? count - first : most};
        struct pack_rows_push push = {
            .packed = to + first * sizeof(float), .rows = 1, .c = (uint32_t)span.count};
        status = sd_upload_stage(u, raw, true, &span, 1, &push.source, err);
        if (!status)
            status = sd_pack_rows(u, sd_upload_dtype(raw->dtype), false, push, err);
    }
    return status;
}

/* Whether rows can be read and written two values at a time (WIDE of shaders/matrix_product.glsl). */
static bool is_wide(const struct matrix_product *p) {
    const uint32_t columns = MATRIX_PRODUCT_COLUMNS / threads;
    return p->a_column == 1 && p->b_column == 1 && p->n % columns == 0 &&
           (p->k | p->a_row | p->a_batch | p->b_row | p->b_batch | p->to_row | p->to_batch) % 2 == 0;
}

static sd_status run_product(const struct places *p, const struct sd_edit_step *s, sd_error *err) {
    const struct matrix_product_push push = {p->at[s->a], p->at[s->b], p->at[s->to], s->product};
    const uint32_t wide = is_wide(&s->product);
    uint32_t groups[3];
    sd_fold_groups(sd_ceil_div(s->product.m, MATRIX_PRODUCT_ROWS) *
                       sd_ceil_div(s->product.n, MATRIX_PRODUCT_COLUMNS) * s->product.batch,
                   groups);
    return sd_upload_dispatch(
        p->u, sd_vk_info(p->u->vk)->int64 ? &sd_shader_matrix_product_int64 : &sd_shader_matrix_product,
        &wide, 1, &push, sizeof push, groups, err);
}

static sd_status run_map(const struct places *p, const struct sd_edit_step *s, sd_error *err) {
    const struct matrix_map_push push = {p->at[s->a], p->at[s->b], p->at[s->to], s->map};
    uint32_t groups[3];
    sd_fold_groups(sd_ceil_div(s->map.rows * s->map.columns, threads), groups);
    return sd_upload_dispatch(p->u, &sd_shader_matrix_map, NULL, 0, &push, sizeof push, groups, err);
}

static sd_status run_norm(const struct places *p, const struct sd_edit_step *s, sd_error *err) {
    const struct matrix_norm_push push = {p->at[s->a], p->at[s->to], s->norm};
    uint32_t groups[3];
    sd_fold_groups(s->norm.norms, groups);
    return sd_upload_dispatch(p->u, &sd_shader_matrix_norm, NULL, 0, &push, sizeof push, groups, err);
}

static sd_status run_step(const struct places *p, const struct sd_edit_step *s, sd_error *err) {
    switch (s->kind) {
    case SD_EDIT_LOAD:
        return expand(p->u, &s->raw, p->at[s->to], err);
    case SD_EDIT_PRODUCT:
        return run_product(p, s, err);
    case SD_EDIT_MAP:
        return run_map(p, s, err);
    default:
        return run_norm(p, s, err);
    }
}

sd_status sd_edit_run(const sd_edit *e, const struct sd_raw *raw, struct sd_upload *u, uint64_t *address,
                      sd_error *err) {
    struct places p = {.u = u};
    sd_status status = sd_edit_status(e, err);
    if (!status && !(status = place(e, &p, err)) && !(status = sd_upload_barrier(u, err)))
        status = expand(u, raw, p.at[0], err);
    for (uint32_t i = 0; i < e->step_count && !status; i++)
        if (!(status = sd_upload_barrier(u, err)))
            status = run_step(&p, &e->steps[i], err);
    if (!status)
        status = sd_upload_barrier(u, err);
    *address = status ? 0 : p.at[0];
    free(p.at);
    return status;
}
