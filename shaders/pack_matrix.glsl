/* Lays rows of a checkpoint's matrix out for the GEMM kernels (sd/nn/weight_layout.h). An invocation takes four
 * inputs of a column at a time, with all taps, which lie together in the source; where neighbouring columns
 * lie side by side in the packed form, it takes two columns and stores them together. */
#include "shaders/pack_matrix.h"
#include "shaders/pack_source.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 2) const uint TAPS = 1;          /* of the source */
layout(constant_id = 3) const bool UPSAMPLE = false;  /* 3x3 taps become four phases of 2x2 */
layout(constant_id = 4) const bool WIDE = false;      /* the source's rows begin at multiples of four values */
layout(constant_id = 5) const bool BLOCKED = false;   /* p.block is not 0, and p.run is 1 */
layout(constant_id = 6) const bool WHOLE = false;     /* p.piece.first and p.piece.end are even */

layout(push_constant) uniform Push { pack_matrix_push p; };

const uint COLUMNS = BLOCKED ? 2 : 1;

/* Where four inputs lie in a tap of the packed column: words of the first two, and how far on those of the last two
 * are. */
struct Place {
    uint word, next;
};

Place place_of(uint tap, uint channel) {
    uint k = tap * p.c_padded;
    if (BLOCKED) { /* even inputs, and half a block behind them the odd ones */
        uint i = channel & (p.block - 1);
        k += channel - i + (i >> 1);
        return HALF ? Place((k >> 1) * p.tile, (p.block >> 2) * p.tile) : Place(k * p.tile, (p.block >> 1) * p.tile);
    }
    uint word = (k + channel) >> (HALF ? 1 : 0), in_run = word & (p.run - 1);
    return Place((word - in_run) * p.tile + in_run, HALF ? 1 : 2);
}

/* Column `column` of the pair that lies at word `at`; both where the pair is whole. */
void store_columns(uint at, uint column, uint a, uint b) {
    if (WHOLE) {
        sd_store_pair(p.piece.packed, at >> 1, uvec2(a, b));
        return;
    }
    if (column >= p.piece.first)
        sd_words(p.piece.packed).v[at] = a;
    if (column + 1 < p.piece.end)
        sd_words(p.piece.packed).v[at + 1] = b;
}

/* Four inputs of one tap, of one column or of two; `at` is the column's first word. */
void store4(uint at, uint column, Place to, uvec4 x[COLUMNS]) {
    at += to.word;
    if (!BLOCKED) {
        uvec4 v = x[0];
        if (HALF)
            sd_store_pair(p.piece.packed, at >> 1, v.xz | v.yw << 16);
        else {
            sd_store_pair(p.piece.packed, at >> 1, v.xy);
            sd_store_pair(p.piece.packed, (at >> 1) + 1, v.zw);
        }
        return;
    }
    uvec4 v = x[0], w = x[COLUMNS - 1];
    if (HALF) {
        uvec2 a = v.xy | v.zw << 16, b = w.xy | w.zw << 16;
        store_columns(at, column, a.x, b.x);
        store_columns(at + to.next, column, a.y, b.y);
    } else {
        store_columns(at, column, v.x, w.x);
        store_columns(at + p.tile, column, v.z, w.z);
        store_columns(at + to.next, column, v.y, w.y);
        store_columns(at + to.next + p.tile, column, v.w, w.w);
    }
}

/* Source rows of the columns, and whether they exist. */
uint rows[COLUMNS];
bool real[COLUMNS];

void find_rows(uint column) {
    [[unroll]] for (uint i = 0; i < COLUMNS; i++) {
        uint j = column + i - p.piece.first;
        real[i] = column + i >= p.piece.first && j < p.piece.rows;
        rows[i] = real[i] ? (p.piece.paired != 0 ? (j & 1) * (p.piece.rows >> 1) + (j >> 1) : j) : 0;
    }
}

/* Four inputs of the columns with all taps: as bits of the packed form already, unless taps are added up. f16 that stays
 * f16 is not converted. */
uint values[COLUMNS][4 * TAPS];
const bool AS_STORED = TYPE == 1 && HALF && !UPSAMPLE, LATER = UPSAMPLE || !HALF;

void load_wide(uint i, uint at, bool inside) {
    [[unroll]] for (uint j = 0; j < TAPS; j++) {
        uvec4 v;
        if (AS_STORED) {
            uvec2 w = sd_load_pair(p.piece.source, (at >> 2) + j);
            v = uvec4(w.x & 0xFFFF, w.x >> 16, w.y & 0xFFFF, w.y >> 16);
        } else {
            vec4 x = pack_load4(p.piece.source, at + 4 * j);
            [[unroll]] for (uint k = 0; k < 4; k++) v[k] = LATER ? floatBitsToUint(x[k]) : sd_half_bits(x[k]);
        }
        [[unroll]] for (uint k = 0; k < 4; k++) values[i][4 * j + k] = inside ? v[k] : 0;
    }
}

void load_narrow(uint i, uint at, uint left) {
    [[dont_unroll]] for (uint e = 0; e < 4 * TAPS; e++) {
        float x = e < left ? pack_load1(p.piece.source, at + e) : 0;
        values[i][e] = LATER ? floatBitsToUint(x) : sd_half_bits(x);
    }
}

void load_values(uint channel) {
    [[unroll]] for (uint i = 0; i < COLUMNS; i++) {
        bool inside = real[i] && channel < p.c;
        uint at = inside ? (rows[i] * p.c + channel) * TAPS : 0;
        if (WIDE)
            load_wide(i, at, inside);
        else
            load_narrow(i, at, inside ? (p.c - channel) * TAPS : 0);
    }
}

/* Upsampling repeats each pixel, so the source's taps that fall on the same pixel of the small picture add up: tap t
 * (0..3) of a phase stands for those of two lines or one, and of two columns or one. */
uint phase_sum(uint i, uint k, uint phase, uint t) {
    uint a = phase >> 1, b = phase & 1;
    bool upper = t < 2, left = (t & 1) == 0;
    float sum = 0;
    [[unroll]] for (uint y = 0; y < 3; y++)
        [[unroll]] for (uint x = 0; x < 3; x++)
            if (y < a + 1 == upper && x < b + 1 == left)
                sum += uintBitsToFloat(values[i][k * 9 + y * 3 + x]);
    /* 0 + -0 is 0, but llvmpipe drops additions of 0 */
    return pack_bits(floatBitsToUint(sum) == 0x80000000u ? 0 : sum);
}

void pack(uint at, uint column, uint channel) {
    const uint phases = UPSAMPLE ? 4 : 1, taps = UPSAMPLE ? 4 : TAPS;
    uvec4 x[COLUMNS];
    load_values(channel);
    [[unroll]] for (uint phase = 0; phase < phases; phase++)
        [[unroll]] for (uint tap = 0; tap < taps; tap++) {
            [[unroll]] for (uint i = 0; i < COLUMNS; i++)
                [[unroll]] for (uint k = 0; k < 4; k++)
                    x[i][k] = UPSAMPLE ? phase_sum(i, k, phase, tap) : values[i][k * TAPS + tap];
            store4(at + phase * p.phase_words, column, place_of(tap, channel), x);
        }
}

void main() {
    uint lane = gl_WorkGroupID.x * 64 + gl_LocalInvocationID.x;
    uint column = (BLOCKED ? p.piece.first & ~1u : p.piece.first) + COLUMNS * lane;
    if (column >= p.piece.end)
        return;
    find_rows(column);
    uint in_tile = column & (p.tile - 1), at = ((column - in_tile) >> findLSB(p.tile)) * p.tile_words + in_tile * p.run;
    uint channel = gl_WorkGroupID.y * 4 * PACK_MATRIX_QUADS, end = min(channel + 4 * PACK_MATRIX_QUADS, p.c_padded);
    [[dont_unroll]] for (; channel < end; channel += 4)
        pack(at, column, channel);
}
