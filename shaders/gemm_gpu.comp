#version 450
#extension GL_GOOGLE_include_directive : require
/* GEMM and implicit-GEMM convolution for GPUs without matrix hardware: 64 rows x 64 columns a workgroup of 128, 8x4 sums
 * an invocation, both operands staged as f32 in shared memory, 16 k's at a time. No subgroup operations. */
#include "shaders/gemm_common.glsl"

const uint TILE_M = 64, TILE_N = 64, STEP = 16, THREADS = 128;
shared vec4 a_tile[STEP][TILE_M / 4 + 1];
shared vec4 b_tile[STEP][TILE_N / 4];

/* The row that an invocation stages: pixel position in the input. */
int row_y, row_x;
uint row_image;

int pixel(uint tap, uint phase) {
    int y = row_y + int(tap / field(GEMM_WIDTH_SHIFT)), x = row_x + int(tap % field(GEMM_WIDTH_SHIFT));
    if (flag(GEMM_FLAG_UPSAMPLE)) {
        y += int(phase >> 1);
        x += int(phase & 1);
    }
    bool inside = uint(y) < p.h && uint(x) < p.w;
    return inside ? int((row_image + uint(y)) * p.w + uint(x)) : -1;
}

void stage_a(uint id, uint k, int pixel_index) {
    bool second = CONCAT && k >= p.c1;
    uvec2 a = second ? p.a2 : p.a;
    uint pitch = second ? p.pitch2 : p.pitch, base = second ? k - p.c1 : k, row = id % TILE_M;
    for (uint n = 0; n < 8; n++) {
        uint i = id / TILE_M * 8 + n;
        bool ok = pixel_index >= 0 && k + i < p.c;
        float v = value_at(a, A_HALF, ok ? uint(pixel_index) * pitch + base + i : 0);
        a_tile[i][row / 4][row % 4] = ok ? v : 0;
    }
}

/* Column id % 64, eight k's. */
void stage_b(uint id, uint w_at) {
    uint column = id % TILE_N;
    for (uint n = 0; n < 8; n += 2) {
        uint i = id / TILE_N * 8 + n;
        vec2 two;
        if (W_HALF)
            two = unpackHalf2x16(Words(p.weight).d[w_at + i / 2 * TILE_N + column]);
        else
            two = vec2(Floats(p.weight).d[w_at + i * TILE_N + column], Floats(p.weight).d[w_at + (i + 1) * TILE_N + column]);
        b_tile[i][column / 4][column % 4] = two.x;
        b_tile[i + 1][column / 4][column % 4] = two.y;
    }
}

void main() {
    uint id = gl_LocalInvocationID.x;
    uint taps = field(GEMM_TAPS_SHIFT);
    uint phases = flag(GEMM_FLAG_UPSAMPLE) ? 4 : 1, phase = gl_WorkGroupID.z % phases;
    uint row_tile = gl_WorkGroupID.z / phases * gl_NumWorkGroups.y + gl_WorkGroupID.y;
    if (row_tile >= p.row_tiles)
        return;
    uint first = row_tile * TILE_M, tile = gl_WorkGroupID.x;
    uint m = min(first + id % TILE_M, p.rows - 1);
    row_x = int(m % p.ow * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
    row_y = int(m / p.ow % p.oh * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
    row_image = m / p.ow / p.oh * p.h;
    uint step_words = STEP * TILE_N / (W_HALF ? 2 : 1);
    uint w_at = (phase * gl_NumWorkGroups.x + tile) * (taps * p.c_padded / STEP) * step_words;
    uint my_row = id / 16 * 2, my_column = id % 16; /* in vec4s: 8 rows, 4 columns */
    vec4 acc[8];
    [[unroll]] for (int i = 0; i < 8; i++) acc[i] = vec4(0);
    [[dont_unroll]] for (uint tap = 0; tap < taps; tap++) {
        int pixel_index = pixel(tap, phase);
        [[dont_unroll]] for (uint k = 0; k < p.c_padded; k += STEP) {
            barrier();
            stage_a(id, k, pixel_index);
            stage_b(id, w_at);
            w_at += step_words;
            barrier();
            [[unroll]] for (uint kk = 0; kk < STEP; kk++) {
                vec4 b = b_tile[kk][my_column], a0 = a_tile[kk][my_row], a1 = a_tile[kk][my_row + 1];
                [[unroll]] for (int i = 0; i < 4; i++) {
                    acc[i] = fma(vec4(a0[i]), b, acc[i]);
                    acc[i + 4] = fma(vec4(a1[i]), b, acc[i + 4]);
                }
            }
        }
    }
    uint n = tile * TILE_N + my_column * 4;
    [[unroll]] for (int i = 0; i < 8; i++) {
        uint row = first + my_row * 4 + i;
        if (row < p.rows && n < p.columns)
            finish(row, n, phase, acc[i]);
    }
}
