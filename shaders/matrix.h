/* Push constants of the shaders that edit weights as f32 matrices, shared by C and GLSL. Elements are counted
 * from the matrices' first ones. */
#ifndef MATRIX_H
#define MATRIX_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define MATRIX_ADDRESS uint64_t
#define MATRIX_STRUCT struct
#else
#define MATRIX_ADDRESS uvec2
#define MATRIX_STRUCT
#endif

/* Results of a workgroup of matrix_product.comp. */
#define MATRIX_PRODUCT_ROWS 8
#define MATRIX_PRODUCT_COLUMNS 512

/* matrix_product.comp: to[i] = alpha a[i] b[i] + beta to[i] for every i of a batch; a [m,k], b [k,n], to
 * [m,n]. */
struct matrix_product {
    uint m, n, k, batch;
    uint a_row, a_column, a_batch; /* strides */
    uint b_row, b_column, b_batch;
    uint to_row, to_batch;
    float alpha, beta;
};

/* matrix_map.comp: to = op(x, y) for every row r and column c, each operand read at an index made from r and
 * c. */
#define MATRIX_ADD 0u      /* alpha x + beta y; y is not used where beta is 0 */
#define MATRIX_MULTIPLY 1u /* alpha x y */
#define MATRIX_DIVIDE 2u   /* alpha x / (y + beta) */

#define MATRIX_SAME 0u       /* [rows,columns] */
#define MATRIX_ROW 1u        /* [rows,1] */
#define MATRIX_COLUMN 2u     /* [1, columns / p] */
#define MATRIX_KRON_LEFT 3u  /* the left factor of a Kronecker product whose right one is [p,q] */
#define MATRIX_KRON_RIGHT 4u /* that right factor */
#define MATRIX_SHUFFLE 5u    /* [rows,columns]; row (u q + v) p + w of the result is row (u p + w) q + v */

struct matrix_map {
    uint rows, columns;
    uint op;
    uint x_index, x_p, x_q;
    uint y_index, y_p, y_q;
    float alpha, beta;
};

/* matrix_norm.comp: a workgroup a norm, over `rows` rows with stride `row` and `columns` neighbouring
 * columns; the norms' first elements are `next` apart. */
struct matrix_norm {
    uint norms, rows, row, columns, next;
};

struct matrix_product_push {
    MATRIX_ADDRESS a, b, to;
    MATRIX_STRUCT matrix_product p;
};
struct matrix_map_push {
    MATRIX_ADDRESS x, y, to;
    MATRIX_STRUCT matrix_map p;
};
struct matrix_norm_push {
    MATRIX_ADDRESS a, to;
    MATRIX_STRUCT matrix_norm p;
};

#ifndef GL_core_profile
#undef uint
#undef MATRIX_ADDRESS
#undef MATRIX_STRUCT
_Static_assert(sizeof(struct matrix_product_push) == 80, "as the shader lays it out");
_Static_assert(sizeof(struct matrix_map_push) == 72, "as the shader lays it out");
_Static_assert(sizeof(struct matrix_norm_push) == 40, "as the shader lays it out");
#endif
#endif
