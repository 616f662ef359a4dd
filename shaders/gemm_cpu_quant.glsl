/* Linear layers and convolutions with quantised weights for devices that are CPUs: a workgroup is one subgroup, each lane
 * sums R rows x C columns; activations come by one load per lane and row, then by shuffles; codes of eight k's come by one
 * load a column for most types. */
#define QUANT
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "shaders/gemm_common.glsl"

const uint TILE = C * LANES;
const uint GROUPS = (LANES + 7) / 8; /* of codes in a step of LANES k's */
const bool LINEAR = !NINE, UPSAMPLE = false;
#include "shaders/gemm_cpu_rows.glsl"
shared float sums[R * C * LANES];

#ifdef NINE_TAPS
#define NINE_COUNT LANES
#define NINE_MOST 16
#define NINE_GRAIN QUANT_GRAIN(W_TYPE)
#include "shaders/quant_nine.glsl"
NineScales scale[C]; /* of the lane's columns */
#else
vec2 scale[C];
#endif
QuantGroup codes[C][GROUPS];

/* The step of LANES channels of a tap from channel k on, the first of which is number `first_value` of the row. */
void load_step(QuantPlace place, uint tile, uint tap, uint k, uint first_value) {
    uint unit = (tap * p.c_padded + k) / QUANT_UNIT, lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint c = 0; c < C; c++) {
        uint column = c * LANES + lane, at = quant_codes_at(W_TYPE, place, tile, unit, column);
        uint first = quant_first(tile * TILE + column, place.units);
#ifdef NINE_TAPS
        scale[c] = nine_scales(p.weight, place, tile, column, first, first_value);
#else
        if (k % QUANT_GRAIN(W_TYPE) == 0)
            scale[c] = quant_grain(W_TYPE, p.weight, place, tile, column, first, k / QUANT_GRAIN(W_TYPE));
#endif
        [[unroll]] for (uint g = 0; g < GROUPS; g++)
            codes[c][g] = quant_group(W_TYPE, p.weight, at, k / 8 % 4 + g);
    }
}

/* Value kk of the step that begins at k. */
float value(uint c, uint k, uint kk, uint first_value) {
    uint code = quant_code(W_TYPE, codes[c][kk / 8], (LANES < 8 ? k % 8 : 0) + kk % 8);
#ifdef NINE_TAPS
    vec2 s = nine_scale(scale[c], first_value, kk);
#else
    vec2 s = scale[c];
#endif
    return s.x * quant_level(W_TYPE, code) + s.y;
}

void main() {
    uint lane = gl_SubgroupInvocationID, tile = gl_WorkGroupID.y;
    uint row_tile = gl_WorkGroupID.z * gl_NumWorkGroups.x + gl_WorkGroupID.x, first = row_tile * R;
    if (row_tile >= p.row_tiles)
        return;
    const uint taps = NINE ? QUANT_TAPS : 1;
    QuantPlace place = quant_place(W_TYPE, gl_NumWorkGroups.y, TILE, taps * p.c_padded);
    find_rows(first, 0);
    float acc[R][C];
    [[unroll]] for (int r = 0; r < R; r++)
        [[unroll]] for (int c = 0; c < C; c++) acc[r][c] = 0;
    [[dont_unroll]] for (uint tap = 0; tap < taps; tap++) {
        int at[ROW_VECTORS];
        [[unroll]] for (uint j = 0; j < ROW_VECTORS; j++) at[j] = pixel(j, int(tap / 3), int(tap % 3));
        [[dont_unroll]] for (uint k = 0; k < p.c_padded; k += LANES) {
            bool second = CONCAT && k >= p.c1;
            uvec2 a = second ? p.a2 : p.a;
            uint pitch = second ? p.pitch2 : p.pitch, channel = (second ? k - p.c1 : k) + lane;
            float av[R];
            [[unroll]] for (int r = 0; r < R; r++) {
                int pixel_index = subgroupShuffle(at[r / LANES], r % LANES);
                bool inside = LINEAR || pixel_index >= 0;
                float v = value_at(a, A_HALF, inside ? uint(pixel_index) * pitch + channel : 0);
                av[r] = inside ? v : 0;
            }
            uint first_value = NINE ? k * QUANT_TAPS + tap : k;
            load_step(place, tile, tap, k, first_value);
            [[unroll]] for (uint kk = 0; kk < LANES; kk += 2) {
                vec2 b[C];
                [[unroll]] for (int c = 0; c < C; c++)
                    b[c] = vec2(value(c, k, kk, first_value), value(c, k, kk + 1, first_value));
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
            finish(first + r, n, 0, vec4(sums[s], sums[s + 1], sums[s + 2], sums[s + 3]));
    }
}
