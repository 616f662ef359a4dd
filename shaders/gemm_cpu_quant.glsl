/* Linear layers with quantised weights for devices that are CPUs: a workgroup is one subgroup, each lane sums R rows x C
 * columns; activations come by one load per lane and row, then by shuffles; codes of eight k's come by one load a column
 * for most types. */
#define QUANT
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "shaders/gemm_common.glsl"

const uint TILE = C * LANES;
const uint GROUPS = (LANES + 7) / 8; /* of codes in a step of LANES k's */
shared float sums[R * C * LANES];

vec2 scale[C]; /* mul and add of the lane's columns, for 16 k's */
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
float value(uint c, uint k, uint kk) {
    uint code = quant_code(W_TYPE, codes[c][kk / 8], (LANES < 8 ? k % 8 : 0) + kk % 8);
    return scale[c].x * quant_level(W_TYPE, code) + scale[c].y;
}

void main() {
    uint lane = gl_SubgroupInvocationID, tile = gl_WorkGroupID.y;
    uint row_tile = gl_WorkGroupID.z * gl_NumWorkGroups.x + gl_WorkGroupID.x, first = row_tile * R;
    if (row_tile >= p.row_tiles)
        return;
    QuantPlace place = quant_place(W_TYPE, gl_NumWorkGroups.y, TILE, p.c_padded);
    float acc[R][C];
    [[unroll]] for (int r = 0; r < R; r++)
        [[unroll]] for (int c = 0; c < C; c++) acc[r][c] = 0;
    [[dont_unroll]] for (uint k = 0; k < p.c_padded; k += LANES) {
        bool second = CONCAT && k >= p.c1;
        uvec2 a = second ? p.a2 : p.a;
        uint pitch = second ? p.pitch2 : p.pitch, channel = (second ? k - p.c1 : k) + lane;
        float av[R];
        [[unroll]] for (int r = 0; r < R; r++)
            av[r] = value_at(a, A_HALF, min(first + r, p.rows - 1) * pitch + channel);
        load_codes(place, tile, k);
        [[unroll]] for (uint kk = 0; kk < LANES; kk += 2) {
            vec2 b[C];
            [[unroll]] for (int c = 0; c < C; c++) b[c] = vec2(value(c, k, kk), value(c, k, kk + 1));
            [[unroll]] for (int r = 0; r < R; r++) {
                float a0 = subgroupShuffle(av[r], kk), a1 = subgroupShuffle(av[r], kk + 1);
                [[unroll]] for (int c = 0; c < C; c++) acc[r][c] = fma(a1, b[c].y, fma(a0, b[c].x, acc[r][c]));
            }
        }
    }
    [[unroll]] for (int r = 0; r < R; r++)
        [[unroll]] for (int c = 0; c < C; c++) sums[r * TILE + c * LANES + lane] = acc[r][c];
    barrier();
    [[dont_unroll]] for (uint i = lane; i < R * TILE / 4; i += LANES) {
        uint r = i / (TILE / 4), column = i % (TILE / 4) * 4, n = tile * TILE + column, s = r * TILE + column;
        if (first + r < p.rows && n < p.columns)
            finish(first + r, n, 0, vec4(sums[s], sums[s + 1], sums[s + 2], sums[s + 3]));
    }
}
