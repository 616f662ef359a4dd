/* GEMM and implicit-GEMM convolution with cooperative matrices: f16 operands in shared memory, f32 sums. Each subgroup
 * owns WM x WN of the tile in fragments of FM x FN, FK k's an operation. Written in the NV dialect, which glslc 2023.2
 * knows; the build rewrites it to KHR (cmake/coop_khr.c), whose operands carry their role in the type: FM, FN and FK
 * must stay three constants, so that the two operands' types differ. */
#extension GL_NV_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#include "shaders/gemm_gpu.glsl"

layout(constant_id = 8) const uint SUBGROUP = 32;
layout(constant_id = 9) const uint WM = 32;
layout(constant_id = 10) const uint WN = 32;
layout(constant_id = 11) const uint FM = 16;
layout(constant_id = 12) const uint FN = 16;
layout(constant_id = 13) const uint FK = 16;

/* In uvec4s: eight halves, or four floats. The extra one keeps rows apart in the banks. */
const uint LINE = STEP / 8 + 1, SUMS_LINE = WN / 4 + 1;
const uint OPERANDS = (BM + BN) * LINE, SUMS = LANES / SUBGROUP * FM * SUMS_LINE;
const uint A_LOADS = (BM * STEP / 8 + LANES - 1) / LANES, B_LOADS = (BN * STEP / 8 + LANES - 1) / LANES;
const uint DOWN = WM / FM, ACROSS = WN / FN;
shared uvec4 tile[OPERANDS > SUMS ? OPERANDS : SUMS]; /* rows, then columns; at the end the sums */

#define ACCUMULATOR fcoopmatNV<32, gl_ScopeSubgroup, FM, FN>
#define OPERAND_A fcoopmatNV<16, gl_ScopeSubgroup, FM, FK>
#define OPERAND_B fcoopmatNV<16, gl_ScopeSubgroup, FK, FN>

/* Eight channels of load i: STEP/8 neighbouring threads read a row's step. */
uvec4 load_a(Row r, Slice s, uint i) {
    uint k = i % (STEP / 8) * 8;
    if (!inside(r, s) || s.k + k >= p.c)
        return uvec4(0);
    uvec2 from;
    uint at = element(r, s, from) + k;
    return Quads(from).d[at / 8];
}

/* Eight k's of load i's column. */
uvec4 load_b(Place place, Slice s, uint i, uint at) {
#ifdef QUANT
    QuantEight e = quant_eight(place, min(i / (STEP / 8), BN - 1), s, i % (STEP / 8) * 8);
    return uvec4(sd_pack_half(e.low.xy), sd_pack_half(e.low.zw), sd_pack_half(e.high.xy), sd_pack_half(e.high.zw));
#else
    return Quads(p.weight).d[at];
#endif
}

void main() {
    uint id = gl_LocalInvocationIndex;
    Place place = find_place();
    if (place.outside)
        return;
    Row rows[A_LOADS];
    uint b_at[B_LOADS];
    uvec4 a[A_LOADS], b[B_LOADS];
    Slice s = Slice(0, 0, 0);
    [[unroll]] for (uint n = 0; n < A_LOADS; n++) {
        rows[n] = find_row(place.first_row + (id + n * LANES) / (STEP / 8), place.phase);
        a[n] = load_a(rows[n], s, id + n * LANES);
    }
    [[unroll]] for (uint n = 0; n < B_LOADS; n++) {
        uint i = id + n * LANES;
        b_at[n] = weight_column(place, min(i / (STEP / 8), BN - 1)) / 8 + i % (STEP / 8);
        b[n] = load_b(place, s, i, b_at[n]);
    }
    ACCUMULATOR acc[DOWN * ACROSS];
    [[unroll]] for (uint i = 0; i < DOWN * ACROSS; i++) acc[i] = ACCUMULATOR(0.0);
    uint first_row = gl_SubgroupID / (BN / WN) * WM, first_column = gl_SubgroupID % (BN / WN) * WN;
    uint slices = field(GEMM_TAPS_SHIFT) * p.c_padded / STEP;
    [[dont_unroll]] for (uint slice = 1; slice <= slices; slice++) {
        barrier();
        [[unroll]] for (uint n = 0; n < A_LOADS; n++) {
            uint i = id + n * LANES;
            if (i < BM * (STEP / 8))
                tile[i / (STEP / 8) * LINE + i % (STEP / 8)] = a[n];
        }
        [[unroll]] for (uint n = 0; n < B_LOADS; n++) {
            uint i = id + n * LANES;
            if (i < BN * (STEP / 8))
                tile[(BM + i / (STEP / 8)) * LINE + i % (STEP / 8)] = b[n];
        }
        barrier();
        if (slice < slices) { /* the loads arrive while the sums go on */
            advance(s, STEP);
            [[unroll]] for (uint n = 0; n < A_LOADS; n++) a[n] = load_a(rows[n], s, id + n * LANES);
            [[unroll]] for (uint n = 0; n < B_LOADS; n++) {
                b_at[n] += PACKED * STEP / 8;
                b[n] = load_b(place, s, id + n * LANES, b_at[n]);
            }
        }
        [[unroll]] for (uint k = 0; k < STEP / FK; k++) {
            OPERAND_A left[DOWN];
            [[unroll]] for (uint i = 0; i < DOWN; i++)
                coopMatLoadNV(left[i], tile, (first_row + i * FM) * LINE + k * FK / 8, LINE, false);
            [[unroll]] for (uint j = 0; j < ACROSS; j++) {
                OPERAND_B right;
                coopMatLoadNV(right, tile, (BM + first_column + j * FN) * LINE + k * FK / 8, LINE, true);
                [[unroll]] for (uint i = 0; i < DOWN; i++)
                    acc[i * ACROSS + j] = coopMatMulAddNV(left[i], right, acc[i * ACROSS + j]);
            }
        }
    }
    /* A row of fragments at a time through shared memory, so that a thread gets four neighbouring columns. */
    uint strip = gl_SubgroupID * FM * SUMS_LINE;
    [[dont_unroll]] for (uint down = 0; down < DOWN; down++) {
        barrier();
        [[unroll]] for (uint i = 0; i < DOWN; i++)
            if (i == down)
                [[unroll]] for (uint j = 0; j < ACROSS; j++)
                    coopMatStoreNV(acc[i * ACROSS + j], tile, strip + j * FN / 4, SUMS_LINE, false);
        barrier();
        [[dont_unroll]] for (uint i = gl_SubgroupInvocationID; i < FM * WN / 4; i += SUBGROUP) {
            uint row = i / (WN / 4), column = i % (WN / 4);
            uint m = place.first_row + first_row + down * FM + row, n = place.first_column + first_column + column * 4;
            if (m < p.rows && n < p.columns)
                finish(m, n, place.phase, uintBitsToFloat(tile[strip + row * SUMS_LINE + column]));
        }
    }
}
