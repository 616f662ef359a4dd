#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
/* Lays the blocks of a quantised matrix out for the GEMM kernels (shaders/quant.h). An invocation moves a pair of units of
 * a column, because two of them share a word of fine scales. Offsets in blocks are those of sd/base/quant.h. */
#include "shaders/pack_quant.h"
#include "shaders/quant.h"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = WEIGHT_Q4_0;
layout(constant_id = 1) const bool NINE = false; /* taps */

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint d[]; };
layout(push_constant) uniform Push { pack_quant_push p; };
#include "shaders/quant.glsl"

uint byte_at(uint at) {
    return Words(p.piece.source).d[at >> 2] >> 8 * (at & 3) & 0xFF;
}

uint half_at(uint at) {
    return byte_at(at) | byte_at(at + 1) << 8;
}

uint block_bytes() {
    return TYPE == WEIGHT_Q4_0 || TYPE == WEIGHT_IQ4_NL ? 18
           : TYPE == WEIGHT_Q4_1                        ? 20
           : TYPE == WEIGHT_Q5_0                        ? 22
           : TYPE == WEIGHT_Q5_1                        ? 24
           : TYPE == WEIGHT_Q8_0                        ? 34
           : TYPE == WEIGHT_Q2_K                        ? 84
           : TYPE == WEIGHT_Q3_K                        ? 110
           : TYPE == WEIGHT_Q4_K                        ? 144
           : TYPE == WEIGHT_Q5_K                        ? 176
           : TYPE == WEIGHT_Q6_K                        ? 210
                                                        : 136;
}

/* Four neighbouring bytes. */
uint word_at(uint at) {
    uint shift = 8 * (at & 3), low = Words(p.piece.source).d[at >> 2], high = Words(p.piece.source).d[(at + 3) >> 2];
    return shift == 0 ? low : low >> shift | high << 32 - shift;
}

/* Four neighbouring bits as the lowest ones of four bytes. */
uint spread(uint bits) {
    return bits & 1 | (bits & 2) << 7 | (bits & 4) << 14 | (bits & 8) << 21;
}

/* Codes i..i+3 of unit s of the block at `at`, one in each byte; i is a multiple of 4. */
uint codes(uint at, uint s, uint i) {
    uint low, high = 0, shift = 4 * (i / 16);
    if (TYPE == WEIGHT_Q8_0)
        return word_at(at + 2 + i);
    if (TYPE == WEIGHT_Q4_0 || TYPE == WEIGHT_IQ4_NL)
        low = word_at(at + 2 + i % 16);
    else if (TYPE == WEIGHT_Q4_1)
        low = word_at(at + 4 + i % 16);
    else if (TYPE == WEIGHT_Q5_0 || TYPE == WEIGHT_Q5_1) {
        uint d = TYPE == WEIGHT_Q5_0 ? 2 : 4;
        low = word_at(at + d + 4 + i % 16);
        high = spread(byte_at(at + d + i / 8) >> i % 8);
    } else if (TYPE == WEIGHT_Q2_K) {
        low = word_at(at + 16 + 32 * (s / 4) + i);
        shift = 2 * (s % 4);
    } else if (TYPE == WEIGHT_Q3_K) {
        low = word_at(at + 32 + 32 * (s / 4) + i);
        shift = 2 * (s % 4);
        high = word_at(at + i) >> s & 0x01010101;
    } else if (TYPE == WEIGHT_Q4_K) {
        low = word_at(at + 16 + 32 * (s / 2) + i);
        shift = 4 * (s % 2);
    } else if (TYPE == WEIGHT_Q5_K) {
        low = word_at(at + 48 + 32 * (s / 2) + i);
        shift = 4 * (s % 2);
        high = word_at(at + 16 + i) >> s & 0x01010101;
    } else if (TYPE == WEIGHT_Q6_K) {
        low = word_at(at + 64 * (s / 4) + s % 2 * 32 + i);
        shift = 4 * (s / 2 % 2);
        high = word_at(at + 128 + 32 * (s / 4) + i) >> 2 * (s % 4) & 0x03030303;
    } else
        low = word_at(at + 8 + 16 * s + i % 16);
    const uint bits = QUANT_LOW_BITS(TYPE);
    return low >> shift & 0x01010101 * ((1u << bits) - 1) | high << bits;
}

/* The `bits` bits above bit `from` of each of four bytes, side by side. */
uint gather(uint four, uint from, uint bits) {
    uint mask = (1u << bits) - 1, all = 0;
    [[unroll]] for (uint k = 0; k < 4; k++) all |= (four >> 8 * k + from & mask) << k * bits;
    return all;
}

/* Q3_K's scale of sub-block t (0..15), less 32, in 8 bits. */
uint scale_q3(uint at, uint t) {
    uint low = byte_at(at + 96 + t % 8) >> 4 * (t / 8) & 15, high = byte_at(at + 104 + t % 4) >> 2 * (t / 4) & 3;
    return (low + 16 * high - 32) & 0xFF;
}

/* The fine scales of unit s. */
uint fine(uint at, uint s) {
    if (QUANT_HAS_M(TYPE))
        return half_at(at) | half_at(at + 2) << 16;
    if (!QUANT_IS_K(TYPE))
        return half_at(at);
    if (TYPE == WEIGHT_Q2_K)
        return half_at(at + 2 * s);
    if (TYPE == WEIGHT_Q3_K)
        return scale_q3(at, 2 * s) | scale_q3(at, 2 * s + 1) << 8;
    if (TYPE == WEIGHT_Q6_K)
        return half_at(at + 192 + 2 * s);
    if (TYPE == WEIGHT_IQ4_XS) {
        uint low = byte_at(at + 4 + s / 2) >> 4 * (s % 2) & 15, high = byte_at(at + 2 + s / 4) >> 2 * (s % 4) & 3;
        return ((low + 16 * high - 32) & 0xFF) * 257;
    }
    uint first = byte_at(at + 4 + s), last = byte_at(at + 8 + s), before = byte_at(at + 4 + s % 4);
    if (s < 4)
        return (first & 63) | (last & 63) << 8;
    return ((last & 15) | before >> 6 << 4) | (last >> 4 | first >> 6 << 4) << 8;
}

uint coarse(uint at) {
    uint d = at + (TYPE == WEIGHT_Q2_K ? 80 : TYPE == WEIGHT_Q3_K ? 108 : TYPE == WEIGHT_Q6_K ? 208 : 0);
    bool offset = TYPE == WEIGHT_Q2_K || TYPE == WEIGHT_Q4_K || TYPE == WEIGHT_Q5_K;
    return half_at(d) | (offset ? half_at(d + 2) << 16 : 0);
}

const uint PER_BLOCK = QUANT_IS_K(TYPE) ? QUANT_OCTET : 1; /* units */

/* Codes of four neighbouring channels of a tap, of which `value` counts the first within its row. */
uint codes_apart(uint row_unit, uint value) {
    uint all = 0;
    [[dont_unroll]] for (uint i = 0; i < 4; i++) {
        uint v = value + QUANT_TAPS * i, unit = row_unit + v / QUANT_UNIT;
        uint four = codes(unit / PER_BLOCK * block_bytes(), unit % PER_BLOCK, v % QUANT_UNIT & ~3u);
        all |= (four >> 8 * (v & 3) & 0xFF) << 8 * i;
    }
    return all;
}

QuantPlace place;

/* The codes of a unit of a column; its row begins with unit `row_unit` of what is staged. */
void pack_codes(uint tile, uint column, uint unit, uint row_unit, bool real) {
    uint first = quant_codes_at(TYPE, place, tile, unit, column), low[QUANT_WORDS(TYPE)], at = row_unit + unit;
    uint tap = unit / (p.c / QUANT_UNIT), channel = unit % (p.c / QUANT_UNIT) * QUANT_UNIT;
    const uint bits = QUANT_LOW_BITS(TYPE), more = QUANT_HIGH_BITS(TYPE);
    [[unroll]] for (uint w = 0; w < QUANT_WORDS(TYPE); w++) low[w] = 0;
    [[unroll]] for (uint k = 0; k < QUANT_UNIT; k += 4) {
        uint four = 0;
        if (real)
            four = NINE ? codes_apart(row_unit, (channel + k) * QUANT_TAPS + tap)
                        : codes(at / PER_BLOCK * block_bytes(), at % PER_BLOCK, k);
        low[k * bits / 32] |= gather(four, 0, bits) << k * bits % 32;
        if (more != 0)
            low[bits + k * more / 32] |= gather(four, bits, more) << k * more % 32;
    }
    [[unroll]] for (uint w = 0; w < QUANT_WORDS(TYPE); w++) Words(p.piece.packed).d[first + w] = low[w];
}

/* Units 2 * pair and the next of a column. */
void pack_pair(uint tile, uint column, uint pair, uint row, bool real) {
    Words to = Words(p.piece.packed);
    uint shared_fine = 0, units = place.units, row_unit = row * units, first = QUANT_FIRST(row, units);
    [[dont_unroll]] for (uint unit = 2 * pair; unit < min(2 * pair + 2, units); unit++) {
        uint at = (row_unit + unit) / PER_BLOCK * block_bytes(), s = (row_unit + unit) % PER_BLOCK;
        pack_codes(tile, column, unit, row_unit, real);
        uint f = real ? fine(at, s) : 0, octet = (first + unit) / QUANT_OCTET;
        if (QUANT_HAS_M(TYPE))
            to.d[place.fine + (tile * units + unit) * p.tile + column] = f;
        shared_fine |= f << 16 * (unit & 1);
        if (QUANT_IS_K(TYPE) && (s == 0 || unit == 0))
            to.d[place.coarse + (tile * QUANT_OCTETS(units) + octet) * p.tile + column] = real ? coarse(at) : 0;
    }
    if (!QUANT_HAS_M(TYPE))
        to.d[place.fine + (tile * ((units + 1) / 2) + pair) * p.tile + column] = shared_fine;
}

void main() {
    uint n = p.piece.first + gl_WorkGroupID.x * 64 + gl_LocalInvocationID.x;
    if (n >= p.piece.end)
        return;
    uint j = n - p.piece.first, row = p.piece.paired != 0 ? (j & 1) * (p.piece.rows / 2) + j / 2 : j, tile = n / p.tile;
    place = quant_place(TYPE, p.tiles, p.tile, p.c * (NINE ? QUANT_TAPS : 1));
    uint pairs = (place.units + 1) / 2, pair = gl_WorkGroupID.y * PACK_QUANT_PAIRS;
    uint end = min(pair + PACK_QUANT_PAIRS, pairs);
    [[dont_unroll]] for (; pair < end; pair++)
        pack_pair(tile, n - tile * p.tile, pair, row, j < p.piece.rows);
}
