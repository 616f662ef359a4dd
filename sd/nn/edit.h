/* Changing a weight on its way to the device, as LoRA and its relatives do: a short program on f32 matrices.
 *
 * Matrix 0 is the weight as PyTorch stores it: rows are outputs, columns inputs times kernel taps. The
 * program's last word is what matrix 0 then holds; it is rounded once, when it is packed. Builders have
 * sticky errors: after a failure they return {0} or do nothing, and sd_edit_status tells. One thread. */
#ifndef SD_NN_EDIT_H
#define SD_NN_EDIT_H

#include "sd/base/arena.h"
#include "sd/nn/weight.h"
#include "shaders/matrix.h"

/* A matrix of an edit, row-major and dense. */
typedef struct sd_matrix {
    uint32_t index, rows, columns;
} sd_matrix;

typedef enum sd_edit_kind { SD_EDIT_LOAD, SD_EDIT_PRODUCT, SD_EDIT_MAP, SD_EDIT_NORM } sd_edit_kind;

/* One instruction: matrices by index, sizes as the shaders of shaders/matrix.h take them. */
struct sd_edit_step {
    sd_edit_kind kind;
    uint32_t to, a, b;
    struct sd_raw raw; /* SD_EDIT_LOAD */
    union {
        struct matrix_product product;
        struct matrix_map map;
        struct matrix_norm norm;
    };
};

typedef struct sd_edit {
    sd_arena arena; /* steps, and values that were copied */
    struct sd_edit_step *steps;
    uint32_t step_count, step_capacity;
    sd_matrix *matrices;
    uint32_t matrix_count, matrix_capacity;
    sd_error error;
    bool failed;
} sd_edit;

/* An edit of a weight of this size; {0} must be cleared too. */
void sd_edit_begin(sd_edit *e, uint32_t rows, uint32_t columns);
void sd_edit_clear(sd_edit *e);
sd_status sd_edit_status(const sd_edit *e, sd_error *err);
void sd_edit_fail(sd_edit *e, sd_status status, const char *format, ...) SD_PRINTF(3, 4);

sd_matrix sd_edit_weight(const sd_edit *e);
/* A matrix with undefined values. */
sd_matrix sd_edit_new(sd_edit *e, uint32_t rows, uint32_t columns);
/* A tensor with rows * columns values: F32, F16, BF16 or F8. Its data is borrowed until the edit has run. */
sd_matrix sd_edit_load(sd_edit *e, const struct sd_raw *raw, uint32_t rows, uint32_t columns);
/* The same from `rows * columns` floats, which are copied. */
sd_matrix sd_edit_values(sd_edit *e, const float *values, uint32_t rows, uint32_t columns);

/* to = alpha a b + beta to */
void sd_edit_product(sd_edit *e, sd_matrix to, sd_matrix a, sd_matrix b, float alpha, float beta);
/* Any batch of products on parts of the matrices; `p` holds sizes and strides in elements. */
void sd_edit_products(sd_edit *e, sd_matrix to, sd_matrix a, sd_matrix b, const struct matrix_product *p);
/* to = alpha a + beta b, element by element; all of one shape. */
void sd_edit_sum(sd_edit *e, sd_matrix to, sd_matrix a, float alpha, sd_matrix b, float beta);
/* to = alpha a * b, element by element. */
void sd_edit_multiply(sd_edit *e, sd_matrix to, sd_matrix a, sd_matrix b, float alpha);
/* Any elementwise operation with rows, columns or blocks repeated; sizes from `to`. */
void sd_edit_map(sd_edit *e, sd_matrix to, sd_matrix x, sd_matrix y, const struct matrix_map *map);
/* to = Euclidean norms: of each row of a (to [rows,1]), or of each group of `group` neighbouring columns over
 * all rows (to [1, columns / group]). */
void sd_edit_row_norms(sd_edit *e, sd_matrix to, sd_matrix a);
void sd_edit_column_norms(sd_edit *e, sd_matrix to, sd_matrix a, uint32_t group);

#endif
