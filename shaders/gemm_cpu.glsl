/* GEMM and implicit-GEMM convolution for devices that are CPUs: a workgroup is one subgroup, each lane sums R rows x C
 * columns; activations come by one load per lane and row, then broadcasts; no shared memory in the loop. Loads cost
 * most there, so the tile is far larger than the register file. */
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "shaders/gemm_common.glsl"

const uint TILE = C * LANES;
const uint ROW_VECTORS = (R + LANES - 1) / LANES;
shared float sums[R * C * LANES];

/* Where the pixels of this tile's rows lie in the input: lane i of vector j knows row j*LANES + i. */
int row_y[ROW_VECTORS], row_x[ROW_VECTORS];
uint row_image[ROW_VECTORS];

void find_rows(uint first) {
    uint lane = gl_SubgroupInvocationID;
    for (uint j = 0; j < ROW_VECTORS; j++) {
        uint m = min(first + j * LANES + lane, p.rows - 1);
        uint x = m % p.ow, y = m / p.ow % p.oh;
        row_x[j] = int(x * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
        row_y[j] = int(y * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
        row_image[j] = m / p.ow / p.oh * p.h;
    }
}

/* Pixel index of row vector j at a tap, or -1 in the padding. */
int pixel(uint j, uint tap, uint phase) {
    int y = row_y[j] + int(tap / field(GEMM_WIDTH_SHIFT)), x = row_x[j] + int(tap % field(GEMM_WIDTH_SHIFT));
    if (flag(GEMM_FLAG_UPSAMPLE)) {
        y += int(phase >> 1);
        x += int(phase & 1);
    }
    bool inside = uint(y) < p.h && uint(x) < p.w;
    return inside ? int((row_image[j] + uint(y)) * p.w + uint(x)) : -1;
}

#ifdef QUANT
/* Quantised weights of a step of LANES k's: scales of the lane's columns, kept while they hold, and codes. */
const uint GROUPS = (LANES + 7) / 8;
vec2 scale[C]; /* mul, add */
QuantGroup codes[C][GROUPS];

void load_codes(QuantPlace place, uint tile, uint k) {
    uint unit = k / QUANT_UNIT, lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint c = 0; c < C; c++) {
        uint column = c * LANES + lane, at = quant_codes_at(W_TYPE, place, tile, unit, column);
        if (k % 16 == 0) {
            QuantScale s = quant_scale_at(W_TYPE, p.weight, place, tile, unit, column);
            scale[c] = vec2(s.mul[k / 16 % 2], s.add[k / 16 % 2]);
        }
        [[unroll]] for (uint g = 0; g < GROUPS; g++)
            codes[c][g] = quant_group(W_TYPE, p.weight, at, k / 8 % 4 + g);
    }
}

/* Value kk of the step that begins at k. */
float quant_value(uint c, uint k, uint kk) {
    uint code = quant_code(W_TYPE, codes[c][kk / 8], (LANES < 8 ? k % 8 : 0) + kk % 8);
    return scale[c].x * quant_level(W_TYPE, code) + scale[c].y;
}
#endif

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint taps = field(GEMM_TAPS_SHIFT);
    uint phases = flag(GEMM_FLAG_UPSAMPLE) ? 4 : 1, phase = gl_WorkGroupID.z % phases;
    uint row_tile = gl_WorkGroupID.z / phases * gl_NumWorkGroups.y + gl_WorkGroupID.y;
    if (row_tile >= p.row_tiles)
        return;
    uint first = row_tile * R, tile = gl_WorkGroupID.x;
    uint k_all = taps * p.c_padded, per_word = W_HALF ? 2 : 1;
    uint w_at = (phase * gl_NumWorkGroups.x + tile) * (k_all / per_word) * TILE + lane;
#ifdef QUANT
    QuantPlace place = quant_place(W_TYPE, gl_NumWorkGroups.x, TILE, k_all);
#endif
    find_rows(first);
    float acc[R][C];
    [[unroll]] for (int r = 0; r < R; r++)
        [[unroll]] for (int c = 0; c < C; c++) acc[r][c] = 0;
    [[dont_unroll]] for (uint tap = 0; tap < taps; tap++) {
        int at[ROW_VECTORS];
        for (uint j = 0; j < ROW_VECTORS; j++)
            at[j] = pixel(j, tap, phase);
        [[dont_unroll]] for (uint k = 0; k < p.c_padded; k += LANES) {
            bool second = CONCAT && k >= p.c1;
            uvec2 a = second ? p.a2 : p.a;
            uint pitch = second ? p.pitch2 : p.pitch, channel = (second ? k - p.c1 : k) + lane;
            bool real = k + lane < p.c;
            float av[R];
            [[unroll]] for (int r = 0; r < R; r++) {
                int pixel_index = subgroupShuffle(at[r / LANES], r % LANES);
                bool ok = pixel_index >= 0 && real;
                uint i = ok ? uint(pixel_index) * pitch + channel : 0;
                float v = value_at(a, A_HALF, i);
                av[r] = ok ? v : 0;
            }
#ifdef QUANT
            load_codes(place, tile, k);
#endif
            [[unroll]] for (uint kk = 0; kk < LANES; kk += 2) {
                vec2 b[C];
                [[unroll]] for (int c = 0; c < C; c++) {
#ifdef QUANT
                    b[c] = vec2(quant_value(c, k, kk), quant_value(c, k, kk + 1));
#else
                    if (W_HALF)
                        b[c] = unpackHalf2x16(Words(p.weight).d[w_at + c * LANES]);
                    else
                        b[c] = vec2(Floats(p.weight).d[w_at + c * LANES], Floats(p.weight).d[w_at + TILE + c * LANES]);
#endif
                }
                w_at += W_HALF ? TILE : 2 * TILE;
                [[unroll]] for (int r = 0; r < R; r++) {
                    float a0 = subgroupShuffle(av[r], kk), a1 = subgroupShuffle(av[r], kk + 1);
                    [[unroll]] for (int c = 0; c < C; c++) acc[r][c] = fma(a1, b[c].y, fma(a0, b[c].x, acc[r][c]));
                }
            }
        }
    }
    [[unroll]] for (int r = 0; r < R; r++)
        [[unroll]] for (int c = 0; c < C; c++) sums[r * TILE + c * LANES + lane] = acc[r][c];
    barrier();
    [[dont_unroll]] for (uint i = lane; i < R * TILE / 4; i += LANES) {
        uint r = i / (TILE / 4), column = i % (TILE / 4) * 4, n = tile * TILE + column, s = r * TILE + column;
        if (first + r < p.rows && n < p.columns)
            finish(first + r, n, phase, vec4(sums[s], sums[s + 1], sums[s + 2], sums[s + 3]));
    }
}
