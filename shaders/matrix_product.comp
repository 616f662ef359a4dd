#version 450
#extension GL_GOOGLE_include_directive : require
/* Batched products of f32 matrices with any strides: 8 rows x 256 columns a workgroup, 8x4 a thread. No shared memory:
 * one side is small (a rank), and CPU devices pay dearly for barriers. */
#include "shaders/matrix.glsl"

layout(push_constant) uniform Push { matrix_product_push push; };

const uint ROWS = MATRIX_PRODUCT_ROWS, GROUPS = MATRIX_PRODUCT_COLUMNS / 64;

void main() {
    matrix_product p = push.p;
    uint across = (p.n + MATRIX_PRODUCT_COLUMNS - 1) / MATRIX_PRODUCT_COLUMNS, down = (p.m + ROWS - 1) / ROWS;
    uint group = group_number(), batch = group / (across * down);
    if (batch >= p.batch)
        return;
    uint row0 = group / across % down * ROWS;
    uint column0 = group % across * MATRIX_PRODUCT_COLUMNS + gl_LocalInvocationID.x;
    Floats a = Floats(push.a), b = Floats(push.b), to = Floats(push.to);
    float sum[ROWS][GROUPS];
    uint a_at[ROWS], b_at[GROUPS];
    [[unroll]] for (uint i = 0; i < ROWS; i++) a_at[i] = batch * p.a_batch + min(row0 + i, p.m - 1) * p.a_row;
    [[unroll]] for (uint j = 0; j < GROUPS; j++)
        b_at[j] = batch * p.b_batch + min(column0 + 64 * j, p.n - 1) * p.b_column;
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < GROUPS; j++) sum[i][j] = 0;
    [[dont_unroll]] for (uint k = 0; k < p.k; k++) {
        float right[GROUPS];
        [[unroll]] for (uint j = 0; j < GROUPS; j++) right[j] = b.d[b_at[j] + k * p.b_row];
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            float left = a.d[a_at[i] + k * p.a_column];
            [[unroll]] for (uint j = 0; j < GROUPS; j++) sum[i][j] = fma(left, right[j], sum[i][j]);
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < GROUPS; j++) {
            uint row = row0 + i, column = column0 + 64 * j, at = batch * p.to_batch + row * p.to_row + column;
            if (row < p.m && column < p.n)
                to.d[at] = p.beta == 0 ? p.alpha * sum[i][j] : p.alpha * sum[i][j] + p.beta * to.d[at];
        }
}
