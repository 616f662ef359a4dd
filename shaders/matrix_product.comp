#version 450
#extension GL_GOOGLE_include_directive : require
/* Batched products of f32 matrices with any strides: 32x32 results a workgroup, 4x4 a thread, 16 k's at a time through
 * shared memory. */
#include "shaders/matrix.glsl"

layout(push_constant) uniform Push { matrix_product_push push; };

const uint TILE = 32, STEP = 16;
shared float a_tile[STEP][TILE + 1];
shared float b_tile[STEP][TILE];

void main() {
    matrix_product p = push.p;
    uint id = gl_LocalInvocationID.x, across = (p.n + TILE - 1) / TILE, down = (p.m + TILE - 1) / TILE;
    uint group = group_number(), batch = group / (across * down);
    if (batch >= p.batch)
        return;
    uint row0 = group / across % down * TILE, column0 = group % across * TILE;
    Floats a = Floats(push.a), b = Floats(push.b), to = Floats(push.to);
    float sum[4][4];
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) sum[i][j] = 0;
    [[dont_unroll]] for (uint k0 = 0; k0 < p.k; k0 += STEP) {
        barrier();
        [[dont_unroll]] for (uint i = id; i < TILE * STEP; i += 64) {
            uint row = row0 + i / STEP, k = k0 + i % STEP;
            bool real = row < p.m && k < p.k;
            a_tile[i % STEP][i / STEP] = real ? a.d[batch * p.a_batch + row * p.a_row + k * p.a_column] : 0;
            uint column = column0 + i % TILE;
            k = k0 + i / TILE;
            real = column < p.n && k < p.k;
            b_tile[i / TILE][i % TILE] = real ? b.d[batch * p.b_batch + k * p.b_row + column * p.b_column] : 0;
        }
        barrier();
        [[dont_unroll]] for (uint k = 0; k < STEP; k++)
            [[unroll]] for (uint i = 0; i < 4; i++)
                [[unroll]] for (uint j = 0; j < 4; j++)
                    sum[i][j] = fma(a_tile[k][id / 8 + 8 * i], b_tile[k][id % 8 + 8 * j], sum[i][j]);
    }
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) {
            uint row = row0 + id / 8 + 8 * i, column = column0 + id % 8 + 8 * j;
            uint at = batch * p.to_batch + row * p.to_row + column;
            if (row < p.m && column < p.n)
                to.d[at] = p.beta == 0 ? p.alpha * sum[i][j] : p.alpha * sum[i][j] + p.beta * to.d[at];
        }
}
