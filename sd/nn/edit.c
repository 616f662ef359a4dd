#include "sd/nn/edit.h"

#include "sd/base/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Indices count elements of at most this many: shaders address them with 32 bits. */
static const uint64_t most_elements = UINT32_MAX;

void sd_edit_fail(sd_edit *e, sd_status status, const char *format, ...) {
    char text[512];
    va_list args;
    if (e->failed)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e->failed = true;
    sd_fail(&e->error, status, "%s", text);
}

sd_status sd_edit_status(const sd_edit *e, sd_error *err) {
    return e->failed ? sd_fail(err, e->error.status, "%s", e->error.message) : SD_OK;
}

/* Makes room for one more element of `size` bytes. */
static void *grown(sd_edit *e, void *list, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity)
        return list;
    uint32_t more = *capacity ? *capacity * 2 : 16;
    void *bigger = realloc(list, more * size);
    if (bigger)
        *capacity = more;
    else
        sd_edit_fail(e, SD_E_MEMORY, "out of memory");
    return bigger;
}

sd_matrix sd_edit_new(sd_edit *e, uint32_t rows, uint32_t columns) {
    if (!e->failed && (!rows || !columns || (uint64_t)rows * columns > most_elements))
        sd_edit_fail(e, SD_E_UNSUPPORTED, "a matrix of %u x %u cannot be edited", rows, columns);
    if (e->failed)
        return (sd_matrix){0};
    sd_matrix *list = grown(e, e->matrices, e->matrix_count, &e->matrix_capacity, sizeof *list);
    if (!list)
        return (sd_matrix){0};
    e->matrices = list;
    list[e->matrix_count] = (sd_matrix){e->matrix_count, rows, columns};
    return list[e->matrix_count++];
}

void sd_edit_begin(sd_edit *e, uint32_t rows, uint32_t columns) {
    *e = (sd_edit){0};
    sd_edit_new(e, rows, columns);
}

void sd_edit_clear(sd_edit *e) {
    sd_arena_clear(&e->arena);
    free(e->steps);
    free(e->matrices);
    *e = (sd_edit){0};
}

sd_matrix sd_edit_weight(const sd_edit *e) {
    return e->failed ? (sd_matrix){0} : e->matrices[0];
}

static struct sd_edit_step *add(sd_edit *e, sd_edit_kind kind, sd_matrix to, uint32_t a, uint32_t b) {
    if (e->failed)
        return NULL;
    struct sd_edit_step *list = grown(e, e->steps, e->step_count, &e->step_capacity, sizeof *list);
    if (!list)
        return NULL;
    e->steps = list;
    list[e->step_count] = (struct sd_edit_step){.kind = kind, .to = to.index, .a = a, .b = b};
    return &list[e->step_count++];
}

sd_matrix sd_edit_load(sd_edit *e, const struct sd_raw *raw, uint32_t rows, uint32_t columns) {
    sd_matrix m = sd_edit_new(e, rows, columns);
    if (!e->failed && raw->bytes != (uint64_t)rows * columns * sd_dtype_size(raw->dtype))
        sd_edit_fail(e, SD_E_FORMAT, "expected %u x %u values, found %llu bytes of %s", rows, columns,
                     (unsigned long long)raw->bytes, sd_dtype_name(raw->dtype));
    struct sd_edit_step *step = add(e, SD_EDIT_LOAD, m, 0, 0);
    if (step)
        step->raw = *raw;
    return e->failed ? (sd_matrix){0} : m;
}

sd_matrix sd_edit_values(sd_edit *e, const float *values, uint32_t rows, uint32_t columns) {
    uint64_t bytes = (uint64_t)rows * columns * sizeof *values;
    float *copy = e->failed || !bytes ? NULL : sd_arena_alloc(&e->arena, bytes);
    if (!copy) {
        sd_edit_fail(e, SD_E_MEMORY, "out of memory");
        return (sd_matrix){0};
    }
    memcpy(copy, values, bytes);
    return sd_edit_load(e, &(struct sd_raw){SD_F32, 2, {rows, columns}, copy, bytes}, rows, columns);
}

/* One past the largest index that a strided block of `count` x `rows` x `columns` reaches. */
static uint64_t reach(uint64_t count, uint64_t stride, uint64_t rows, uint64_t row, uint64_t columns,
                      uint64_t column) {
    return (count - 1) * stride + (rows - 1) * row + (columns - 1) * column + 1;
}

void sd_edit_products(sd_edit *e, sd_matrix to, sd_matrix a, sd_matrix b, const struct matrix_product *p) {
    if (e->failed)
        return;
    bool fits =
        p->m && p->n && p->k && p->batch &&
        reach(p->batch, p->a_batch, p->m, p->a_row, p->k, p->a_column) <= (uint64_t)a.rows * a.columns &&
        reach(p->batch, p->b_batch, p->k, p->b_row, p->n, p->b_column) <= (uint64_t)b.rows * b.columns &&
        reach(p->batch, p->to_batch, p->m, p->to_row, p->n, 1) <= (uint64_t)to.rows * to.columns;
    if (!fits || to.index == a.index || to.index == b.index) {
        sd_edit_fail(e, SD_E_INTERNAL, "a product of %u x %u and %u x %u does not fit %u x %u", a.rows,
                     a.columns, b.rows, b.columns, to.rows, to.columns);
        return;
    }
    struct sd_edit_step *step = add(e, SD_EDIT_PRODUCT, to, a.index, b.index);
    if (step)
        step->product = *p;
}

void sd_edit_product(sd_edit *e, sd_matrix to, sd_matrix a, sd_matrix b, float alpha, float beta) {
    if (!e->failed && (a.columns != b.rows || to.rows != a.rows || to.columns != b.columns))
        sd_edit_fail(e, SD_E_FORMAT, "expected factors of a %u x %u matrix, found %u x %u and %u x %u",
                     to.rows, to.columns, a.rows, a.columns, b.rows, b.columns);
    const struct matrix_product p = {.m = a.rows,
                                     .n = b.columns,
                                     .k = a.columns,
                                     .batch = 1,
                                     .a_row = a.columns,
                                     .a_column = 1,
                                     .b_row = b.columns,
                                     .b_column = 1,
                                     .to_row = to.columns,
                                     .alpha = alpha,
                                     .beta = beta};
    sd_edit_products(e, to, a, b, &p);
}

/* Elements that an operand of a map must have. */
static uint64_t needed(sd_matrix to, uint32_t index, uint32_t p, uint32_t q) {
    uint64_t rows = to.rows, columns = to.columns;
    switch (index) {
    case MATRIX_ROW:
        return rows;
    case MATRIX_COLUMN:
        return p && columns % p == 0 ? columns / p : UINT64_MAX;
    case MATRIX_KRON_LEFT:
        return p && q && rows % p == 0 && columns % q == 0 ? rows / p * (columns / q) : UINT64_MAX;
    case MATRIX_KRON_RIGHT:
        return p && q ? (uint64_t)p * q : UINT64_MAX;
    case MATRIX_SHUFFLE:
        return p && q && rows % ((uint64_t)p * q) == 0 ? rows * columns : UINT64_MAX;
    default:
        return rows * columns;
    }
}

void sd_edit_map(sd_edit *e, sd_matrix to, sd_matrix x, sd_matrix y, const struct matrix_map *map) {
    if (e->failed)
        return;
    bool fits = needed(to, map->x_index, map->x_p, map->x_q) == (uint64_t)x.rows * x.columns &&
                needed(to, map->y_index, map->y_p, map->y_q) == (uint64_t)y.rows * y.columns;
    bool in_place = (to.index != x.index || map->x_index == MATRIX_SAME) &&
                    (to.index != y.index || map->y_index == MATRIX_SAME);
    if (!fits || !in_place) {
        sd_edit_fail(e, SD_E_FORMAT, "expected parts of a %u x %u matrix, found %u x %u and %u x %u", to.rows,
                     to.columns, x.rows, x.columns, y.rows, y.columns);
        return;
    }
    struct sd_edit_step *step = add(e, SD_EDIT_MAP, to, x.index, y.index);
    if (step) {
        step->map = *map;
        step->map.rows = to.rows;
        step->map.columns = to.columns;
    }
}

void sd_edit_sum(sd_edit *e, sd_matrix to, sd_matrix a, float alpha, sd_matrix b, float beta) {
    sd_edit_map(e, to, a, b, &(struct matrix_map){.op = MATRIX_ADD, .alpha = alpha, .beta = beta});
}

void sd_edit_multiply(sd_edit *e, sd_matrix to, sd_matrix a, sd_matrix b, float alpha) {
    sd_edit_map(e, to, a, b, &(struct matrix_map){.op = MATRIX_MULTIPLY, .alpha = alpha});
}

static void add_norms(sd_edit *e, sd_matrix to, sd_matrix a, const struct matrix_norm *norm) {
    if (!e->failed && (uint64_t)to.rows * to.columns != norm->norms)
        sd_edit_fail(e, SD_E_INTERNAL, "expected room for %u norms, found %u x %u", norm->norms, to.rows,
                     to.columns);
    struct sd_edit_step *step = add(e, SD_EDIT_NORM, to, a.index, 0);
    if (step)
        step->norm = *norm;
}

void sd_edit_row_norms(sd_edit *e, sd_matrix to, sd_matrix a) {
    add_norms(e, to, a, &(struct matrix_norm){a.rows, 1, 0, a.columns, a.columns});
}

void sd_edit_column_norms(sd_edit *e, sd_matrix to, sd_matrix a, uint32_t group) {
    if (!e->failed && (!group || a.columns % group))
        sd_edit_fail(e, SD_E_INTERNAL, "%u columns are not groups of %u", a.columns, group);
    if (!e->failed)
        add_norms(e, to, a, &(struct matrix_norm){a.columns / group, a.rows, a.columns, group, group});
}
