/* GEMM and implicit-GEMM convolution for GPUs without matrix hardware: both operands are staged as f32 in shared memory,
 * 16 k's at a time; each of LANES threads sums 8 rows x 4*GROUPS columns. No subgroup operations. */
#include "shaders/gemm_gpu.glsl"

const uint BK = 16, ROWS = 8, ACROSS = 16; /* ACROSS threads share a row of the tile */
const uint GROUPS = BN / 4 / ACROSS;

shared vec4 a_tile[BK][BM / 4];
shared vec4 b_tile[BK][BN / 4];

/* Eight neighbouring k's of one row or column, on their way to shared memory. */
struct Eight {
    vec4 low, high;
};

Eight unpack(uvec4 q) {
    return Eight(vec4(unpackHalf2x16(q.x), unpackHalf2x16(q.y)), vec4(unpackHalf2x16(q.z), unpackHalf2x16(q.w)));
}

Eight load_quads(uvec2 from, bool is_half, uint at) {
    if (is_half)
        return unpack(Quads(from).d[at / 8]);
    return Eight(uintBitsToFloat(Quads(from).d[at / 4]), uintBitsToFloat(Quads(from).d[at / 4 + 1]));
}

Eight load_a(Row r, Slice s, uint k) {
    Eight e = Eight(vec4(0), vec4(0));
    if (!inside(r, s) || s.k + k >= p.c)
        return e;
    uvec2 from;
    uint at = element(r, s, from) + k;
    if (QUADS)
        return load_quads(from, A_HALF, at);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        if (s.k + k + i < p.c)
            e.low[i] = value_at(from, A_HALF, at + i);
        if (s.k + k + 4 + i < p.c)
            e.high[i] = value_at(from, A_HALF, at + 4 + i);
    }
    return e;
}

Eight load_b(Place place, Slice s, uint column, uint at, uint k) {
#ifdef QUANT
    QuantEight e = quant_eight(place, column, s, k);
    return Eight(e.low, e.high);
#else
    return load_quads(p.weight, W_HALF, at);
#endif
}

/* The columns of a thread's group g. */
uint column_of(uint thread, uint g) {
    return g * ACROSS * 4 + thread % ACROSS * 4;
}

void main() {
    uint id = gl_LocalInvocationID.x;
    Place place = find_place();
    if (place.outside)
        return;
    uint row = id % BM, a_k = id / BM * 8, column = id % BN, b_k = id / BN * 8;
    bool stages_b = b_k < BK;
    Row r = find_row(place.first_row + row, place.phase);
    uint slices = field(GEMM_TAPS_SHIFT) * p.c_padded / BK, b_at = weight_column(place, column) + b_k;
    Slice s = Slice(0, 0, 0);
    Eight a = load_a(r, s, a_k), b = a;
    if (stages_b)
        b = load_b(place, s, column, b_at, b_k);
    vec4 acc[ROWS][GROUPS];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint g = 0; g < GROUPS; g++) acc[i][g] = vec4(0);
    [[dont_unroll]] for (uint slice = 1; slice <= slices; slice++) {
        barrier();
        [[unroll]] for (uint i = 0; i < 4; i++) {
            a_tile[a_k + i][row / 4][row % 4] = a.low[i];
            a_tile[a_k + 4 + i][row / 4][row % 4] = a.high[i];
            if (stages_b) {
                b_tile[b_k + i][column / 4][column % 4] = b.low[i];
                b_tile[b_k + 4 + i][column / 4][column % 4] = b.high[i];
            }
        }
        barrier();
        if (slice < slices) { /* the loads arrive while the sums go on */
            advance(s, BK);
            a = load_a(r, s, a_k);
            b_at += slice * BK % STEP == 0 ? STEP * PACKED - (STEP - BK) : BK;
            if (stages_b)
                b = load_b(place, s, column, b_at, b_k);
        }
        [[unroll]] for (uint k = 0; k < BK; k++) {
            vec4 a0 = a_tile[k][id / ACROSS * 2], a1 = a_tile[k][id / ACROSS * 2 + 1];
            [[unroll]] for (uint g = 0; g < GROUPS; g++) {
                vec4 w = b_tile[k][column_of(id, g) / 4];
                [[unroll]] for (uint i = 0; i < 4; i++) {
                    acc[i][g] = fma(vec4(a0[i]), w, acc[i][g]);
                    acc[i + 4][g] = fma(vec4(a1[i]), w, acc[i + 4][g]);
                }
            }
        }
    }
    /* A loop over rows with the row picked out of the registers: unrolled, the epilogue would be most of the code. */
    [[dont_unroll]] for (uint i = 0; i < ROWS; i++)
        [[unroll]] for (uint g = 0; g < GROUPS; g++) {
            vec4 sum = acc[0][g];
            [[unroll]] for (uint j = 1; j < ROWS; j++) sum = mix(sum, acc[j][g], bvec4(i == j));
            uint m = place.first_row + id / ACROSS * ROWS + i, n = place.first_column + column_of(id, g);
            if (m < p.rows && n < p.columns)
                finish(m, n, place.phase, sum);
        }
}
