/* Batched products of f32 matrices with any strides: 8 rows x 512 columns a workgroup, 8x8 a thread. No shared memory:
 * one side is small (a rank), and CPU devices pay dearly for barriers, and for loads and stores by their number. */
#include "shaders/matrix.glsl"
#include "shaders/source.glsl"

/* Rows begin at even elements, and their elements lie side by side: a's k of them, b's and the result's n, a multiple of
 * COLUMNS. */
layout(constant_id = 0) const bool WIDE = false;

layout(push_constant) uniform Push { matrix_product_push push; };

const uint ROWS = MATRIX_PRODUCT_ROWS, COLUMNS = MATRIX_PRODUCT_COLUMNS / 64;
const uint STEP = WIDE ? 2 : 1; /* k's at once */

float sum[ROWS][COLUMNS];
uint a_at[ROWS];

/* Two k's of a row of a, or one. */
vec2 load_left(uint i, uint k) {
    if (WIDE)
        return uintBitsToFloat(sd_load_pair(push.a, (a_at[i] + k) >> 1));
    return vec2(sd_floats(push.a).v[a_at[i] + k * push.p.a_column], 0);
}

/* Two neighbouring columns of b. */
vec2 load_right(uint k, uint column, uint batch) {
    uint at = batch * push.p.b_batch + k * push.p.b_row, last = push.p.n - 1;
    if (WIDE)
        return uintBitsToFloat(sd_load_pair(push.b, (at + column) >> 1));
    return vec2(sd_floats(push.b).v[at + min(column, last) * push.p.b_column],
                sd_floats(push.b).v[at + min(column + 1, last) * push.p.b_column]);
}

void store(uint row, uint column, uint batch, vec2 x) {
    uint at = batch * push.p.to_batch + row * push.p.to_row + column;
    if (WIDE) {
        vec2 y = push.p.alpha * x;
        if (push.p.beta != 0)
            y += push.p.beta * uintBitsToFloat(sd_load_pair(push.to, at >> 1));
        sd_store_pair(push.to, at >> 1, floatBitsToUint(y));
        return;
    }
    [[unroll]] for (uint j = 0; j < 2; j++)
        if (column + j < push.p.n) {
            float y = push.p.alpha * x[j];
            if (push.p.beta != 0)
                y += push.p.beta * sd_floats(push.to).v[at + j];
            sd_floats(push.to).v[at + j] = y;
        }
}

void main() {
    matrix_product p = push.p;
    uint across = (p.n + MATRIX_PRODUCT_COLUMNS - 1) / MATRIX_PRODUCT_COLUMNS, down = (p.m + ROWS - 1) / ROWS;
    uint group = group_number(), batch = group / (across * down);
    uint row0 = group / across % down * ROWS;
    uint column0 = group % across * MATRIX_PRODUCT_COLUMNS + gl_LocalInvocationID.x * COLUMNS;
    if (batch >= p.batch || column0 >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        a_at[i] = batch * p.a_batch + min(row0 + i, p.m - 1) * p.a_row;
        [[unroll]] for (uint j = 0; j < COLUMNS; j++) sum[i][j] = 0;
    }
    [[dont_unroll]] for (uint k = 0; k < p.k; k += STEP) {
        vec2 left[ROWS];
        [[unroll]] for (uint i = 0; i < ROWS; i++) left[i] = load_left(i, k);
        [[unroll]] for (uint s = 0; s < STEP; s++)
            [[unroll]] for (uint j = 0; j < COLUMNS; j += 2) {
                vec2 right = load_right(k + s, column0 + j, batch);
                [[unroll]] for (uint i = 0; i < ROWS; i++) {
                    sum[i][j] = fma(left[i][s], right.x, sum[i][j]);
                    sum[i][j + 1] = fma(left[i][s], right.y, sum[i][j + 1]);
                }
            }
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint j = 0; j < COLUMNS; j += 2)
            if (row0 + i < p.m)
                store(row0 + i, column0 + j, batch, vec2(sum[i][j], sum[i][j + 1]));
}
