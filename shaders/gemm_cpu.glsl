/* GEMM and implicit-GEMM convolution for devices that are CPUs: a workgroup is one subgroup, each lane sums R rows x C
 * columns. Loads and stores cost most there, one of 64 bits as much as one of 32, so an activation load takes two
 * channels a lane, whose values all lanes get by shuffles, and a weight load takes two columns; the tile is far larger
 * than the register file. Neither shared memory nor divisions in the loop; what is not wanted of the epilogue must be
 * gone when the pipeline is made, because a branch that is not taken costs as much as one that is. */
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "shaders/gemm_common.glsl"

layout(constant_id = 4) const uint FIXED = 0; /* bits of the flags, GEMM_FIXED_... */

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Pairs { uint64_t d[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) writeonly buffer OutPairs { uint64_t d[]; };

const uint TILE = C * LANES, STEP = 2 * LANES;
const uint RUN = C < 4 ? C : 4; /* neighbouring columns of a lane */
const bool A_WIDE = (FIXED & GEMM_FIXED_A_WIDE) != 0;
const bool OUT_WIDE = (FIXED & GEMM_FIXED_OUT_WIDE) != 0, OUT_HALF = (FIXED & GEMM_FLAG_OUT_HALF) != 0;
const bool GEGLU = (FIXED & GEMM_FLAG_GEGLU) != 0;
const bool VECTOR = (FIXED & GEMM_FLAG_VECTOR) != 0, VECTOR_HALF = (FIXED & GEMM_FLAG_VECTOR_HALF) != 0;
const bool RESIDUAL = (FIXED & GEMM_FLAG_RESIDUAL) != 0, RESIDUAL_HALF = (FIXED & GEMM_FLAG_RESIDUAL_HALF) != 0;
const uint ACT = FIXED >> GEMM_ACT_SHIFT & 7u;
const bool ACT_LAST = (FIXED & GEMM_FLAG_ACT_LAST) != 0;
const bool LINEAR = (FIXED & GEMM_FIXED_LINEAR) != 0, UPSAMPLE = (FIXED & GEMM_FLAG_UPSAMPLE) != 0;
#include "shaders/gemm_cpu_rows.glsl"

/* Two neighbouring channels; `i` is the first one's element. */
vec2 load_two(uvec2 address, bool is_half, bool wide, uint i, bool first, bool second) {
    vec2 v;
    if (is_half)
        v = unpackHalf2x16(Words(address).d[first ? i >> 1 : 0]);
    else if (wide)
        v = uintBitsToFloat(unpackUint2x32(Pairs(address).d[first ? i >> 1 : 0]));
    else
        v = vec2(Floats(address).d[first ? i : 0], Floats(address).d[second ? i + 1 : 0]);
    return vec2(first ? v.x : 0, second ? v.y : 0);
}

/* Two rows of the packed weights, each lane its own columns; `at` counts words of 64 bits. */
void load_weights(uint at, out vec2 b[C]) {
    [[unroll]] for (int c = 0; c < C; c += 2) {
        uint i = at + (c / RUN * RUN * LANES + c % RUN) / 2;
        uvec2 w0 = unpackUint2x32(Pairs(p.weight).d[i]);
        if (W_HALF) {
            b[c] = unpackHalf2x16(w0.x);
            b[c + 1] = unpackHalf2x16(w0.y);
        } else {
            uvec2 w1 = unpackUint2x32(Pairs(p.weight).d[i + TILE / 2]);
            b[c] = uintBitsToFloat(uvec2(w0.x, w1.x));
            b[c + 1] = uintBitsToFloat(uvec2(w0.y, w1.y));
        }
    }
}

void store_pair(uint at, vec2 v, bool both) {
    if (OUT_HALF)
        OutWords(p.result).d[at >> 1] = sd_pack_half(vec2(v.x, both ? v.y : 0));
    else if (OUT_WIDE)
        OutPairs(p.result).d[at >> 1] = packUint2x32(floatBitsToUint(v));
    else {
        OutFloats(p.result).d[at] = v.x;
        if (both)
            OutFloats(p.result).d[at + 1] = v.y;
    }
}

vec2 act_two(vec2 v) {
    if (ACT == 1)
        return vec2(sd_silu(v.x), sd_silu(v.y));
    if (ACT == 2)
        return vec2(sd_gelu(v.x), sd_gelu(v.y));
    if (ACT == 3)
        return vec2(sd_quick_gelu(v.x), sd_quick_gelu(v.y));
    if (ACT == 4)
        return vec2(sd_relu(v.x), sd_relu(v.y));
    if (ACT == 5)
        return vec2(sd_tanh(v.x), sd_tanh(v.y));
    return v;
}

/* The first of the two neighbouring columns c, c + 1 of this lane. */
uint column_of(uint tile, uint c) {
    return tile * TILE + c / RUN * RUN * LANES + gl_SubgroupInvocationID * RUN + c % RUN;
}

/* All columns of one row of the GEMM, which is pixel `row` of the result and belongs to a picture. */
void finish_row(uint tile, uint row, uint picture, vec2 bias[C / 2], float v[C]) {
    [[unroll]] for (uint c = 0; c < C; c += 2) {
        uint n = column_of(tile, c);
        bool some = n < p.columns, both = n + 1 < p.columns;
        vec2 two = vec2(v[c], v[c + 1]) + bias[c / 2];
        if (VECTOR)
            two += load_two(p.vector, VECTOR_HALF, OUT_WIDE, picture * p.vector_pitch + n, some, both);
        vec2 residual = vec2(0);
        if (RESIDUAL)
            residual = load_two(p.residual, RESIDUAL_HALF, OUT_WIDE, row * p.residual_pitch + n, some, both);
        if (GEGLU) {
            two += residual;
            v[c / 2] = two.x * sd_gelu(two.y);
            if (c % 4 == 2 && n - 2 < p.columns)
                store_pair(row * p.result_pitch + n / 2 - 1, vec2(v[c / 2 - 1], v[c / 2]), some);
            continue;
        }
        two = ACT_LAST ? act_two(two + residual) : act_two(two) + residual;
        if (some)
            store_pair(row * p.result_pitch + n, two, both);
    }
}

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint taps = field(GEMM_TAPS_SHIFT);
    uint phases = UPSAMPLE ? 4 : 1, phase = gl_WorkGroupID.z % phases;
    uint row_tile = gl_WorkGroupID.z / phases * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    if (row_tile >= p.row_tiles)
        return;
    uint first = row_tile * R, tile = gl_WorkGroupID.y;
    /* In words of 64 bits; a step of the loop takes STEP rows of the weight's tile. */
    uint w_rows = taps * p.c_padded / (W_HALF ? 2 : 1);
    uint w_at = ((phase * gl_NumWorkGroups.y + tile) * w_rows * TILE + lane * RUN) / 2;
    find_rows(first, phase);
    float acc[C][R];
    [[unroll]] for (int r = 0; r < R; r++)
        [[unroll]] for (int c = 0; c < C; c++) acc[c][r] = 0;
    int ty = 0, tx = 0;
    uint k = 0;
    /* The loops end at their ends: one that ends at its start is run once more, in vain. */
    [[dont_unroll]] while (true) {
        bool second = k >= p.c1;
        uvec2 a = second ? p.a2 : p.a;
        uint pitch = second ? p.pitch2 : p.pitch, channel = (second ? k - p.c1 : k) + 2 * lane;
        bool real0 = k + 2 * lane < p.c, real1 = A_WIDE ? real0 : k + 2 * lane + 1 < p.c;
        int at[ROW_VECTORS];
        [[unroll]] for (uint j = 0; j < ROW_VECTORS; j++) at[j] = pixel(j, ty, tx);
        vec2 av[R];
        [[unroll]] for (int r = 0; r < R; r++) {
            int pixel_index = subgroupShuffle(at[r / LANES], r % LANES);
            bool inside = LINEAR || pixel_index >= 0;
            av[r] = load_two(a, A_HALF, A_WIDE, uint(pixel_index) * pitch + channel, inside && real0, inside && real1);
        }
        /* First the even channels, then the odd ones, as the weights are packed: unrolled, both together would not fit
         * into the instruction cache. */
        uint odd = 0;
        [[dont_unroll]] while (true) {
            [[unroll]] for (uint kk = 0; kk < LANES; kk += 2) {
                vec2 b[C]; /* of lanes kk and kk + 1 */
                load_weights(w_at, b);
                w_at += W_HALF ? TILE / 2 : TILE;
                [[unroll]] for (int r = 0; r < R; r++) {
                    float mine = odd == 0 ? av[r].x : av[r].y;
                    float a0 = subgroupShuffle(mine, kk), a1 = subgroupShuffle(mine, kk + 1);
                    [[unroll]] for (int c = 0; c < C; c++) acc[c][r] = fma(a1, b[c].y, fma(a0, b[c].x, acc[c][r]));
                }
            }
            if (++odd == 2)
                break;
        }
        k += STEP;
        if (LINEAR) {
            if (k >= p.c_padded)
                break;
        } else {
            bool next_tap = k >= p.c_padded;
            k = next_tap ? 0 : k;
            tx += next_tap ? 1 : 0;
            bool next_line = tx == int(field(GEMM_WIDTH_SHIFT));
            tx = next_line ? 0 : tx;
            ty += next_line ? 1 : 0;
            if (ty == int(field(GEMM_WIDTH_SHIFT)))
                break;
        }
    }
    /* Row by row: every load and store written out would cost the driver milliseconds to compile. */
    vec2 bias[C / 2];
    [[unroll]] for (int c = 0; c < C; c += 2) {
        uint n = column_of(tile, c);
        bias[c / 2] = vec2(0);
        if (flag(GEMM_FLAG_BIAS))
            bias[c / 2] = load_two(p.bias, false, OUT_WIDE, n, n < p.columns, n + 1 < p.columns);
    }
    uvec3 at = UPSAMPLE || VECTOR ? place_of(first) : uvec3(0);
    uint r = 0, rows = min(R, p.rows - first);
    [[dont_unroll]] while (true) {
        uint row = UPSAMPLE ? ((at.z * p.oh + at.y) * 2 + (phase >> 1)) * p.ow * 2 + at.x * 2 + (phase & 1) : first + r;
        float v[C];
        /* Selects cost less than memory, which an index unknown to the compiler would mean. */
        [[unroll]] for (int c = 0; c < C; c++) {
            v[c] = 0;
            [[unroll]] for (uint i = 0; i < R; i++) v[c] = r == i ? acc[c][i] : v[c];
        }
        finish_row(tile, row, at.z, bias, v);
        if (++r == rows)
            break;
        bool next_line = ++at.x == p.ow;
        at.x = next_line ? 0 : at.x;
        at.y += next_line ? 1 : 0;
        bool next_picture = at.y == p.oh;
        at.y = next_picture ? 0 : at.y;
        at.z += next_picture ? 1 : 0;
    }
}
