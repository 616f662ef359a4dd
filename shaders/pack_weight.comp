#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require

/* Rewrites a tensor of a checkpoint into the form that kernels read. One invocation makes one 32-bit word: an f32
 * value, or two f16 values that are neighbours along K (matrices) or along the row (tables). */

#include "shaders/half.glsl"
#include "shaders/pack_weight.h"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint TYPE = 0;   /* of the source: 0 f32, 1 f16, 2 bf16, 3 f8 e4m3, 4 f8 e5m2 */
layout(constant_id = 1) const bool HALF = false; /* of the result */
layout(constant_id = 2) const uint FORM = 0;   /* 0 vector, 1 table, 2 matrix, 3 upsampling filters */
layout(constant_id = 3) const bool PAIRED = false; /* packed rows 2j, 2j+1 are source rows j, n/2+j (GEGLU) */

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Packed { uint d[]; };
layout(push_constant) uniform Push { pack_weight_push p; };

float f8(uint bits, uint exponent_bits) {
    uint mantissa_bits = 7 - exponent_bits, bias = (1u << (exponent_bits - 1)) - 1;
    uint exponent = (bits >> mantissa_bits) & ((1u << exponent_bits) - 1), mantissa = bits & ((1u << mantissa_bits) - 1);
    float sign = (bits & 0x80) != 0 ? -1 : 1;
    bool nan = exponent_bits == 4 ? (bits & 0x7F) == 0x7F : exponent == 31 && mantissa != 0;
    if (nan)
        return uintBitsToFloat(0x7FC00000);
    if (exponent_bits == 5 && exponent == 31)
        return sign * uintBitsToFloat(0x7F800000);
    if (exponent == 0) /* exp2 need not be exact */
        return sign * float(mantissa) * uintBitsToFloat((128 - bias - mantissa_bits) << 23);
    return uintBitsToFloat((bits & 0x80) << 24 | (exponent + 127 - bias) << 23 | mantissa << (23 - mantissa_bits));
}

float source(uint i) {
    Words s = Words(p.source);
    if (TYPE == 0)
        return uintBitsToFloat(s.d[i]);
    if (TYPE == 1) {
        vec2 two = unpackHalf2x16(s.d[i >> 1]);
        return (i & 1) == 0 ? two.x : two.y;
    }
    if (TYPE == 2)
        return uintBitsToFloat((i & 1) == 0 ? s.d[i >> 1] << 16 : s.d[i >> 1] & 0xFFFF0000);
    return f8(s.d[i >> 2] >> (8 * (i & 3)) & 0xFF, TYPE == 3 ? 4 : 5);
}

/* Sums the source taps that tap `t` (0..3) of phase `phase` stands for; upsampling repeats each pixel, so taps that
 * fall on the same pixel of the small picture add up. */
float phase_sum(uint at, uint phase, uint t) {
    uint a = phase >> 1, b = phase & 1, ty = t >> 1, tx = t & 1;
    uint y0 = ty == 0 ? 0 : a + 1, y1 = ty == 0 ? a + 1 : 3, x0 = tx == 0 ? 0 : b + 1, x1 = tx == 0 ? b + 1 : 3;
    float sum = 0;
    for (uint y = y0; y < y1; y++)
        for (uint x = x0; x < x1; x++)
            sum += source(at + y * 3 + x);
    return sum;
}

/* Element k of source row `row` (already relative to what is loaded). */
float element(uint row, uint k, uint phase) {
    uint tap = k / p.c_padded, channel = k % p.c_padded;
    if (p.block != 0) {
        uint i = channel % p.block, half_block = p.block / 2;
        channel += (i < half_block ? 2 * i : 2 * (i - half_block) + 1) - i;
    }
    if (channel >= p.c || tap >= p.taps)
        return 0;
    uint at = (row * p.c + channel) * p.kh * p.kw;
    return FORM == 3 ? phase_sum(at, phase, tap) : source(at + tap);
}

void matrix(uint word, uint phase) {
    uint k_words = p.taps * p.c_padded / (HALF ? 2 : 1);
    uint column = word / p.run % p.tile, rest = word / p.run / p.tile, runs = k_words / p.run, tile = rest / runs;
    uint k = rest % runs * p.run + word % p.run;
    uint n = tile * p.tile + column;
    uint row = n - p.column0;
    if (PAIRED)
        row = (n & 1) * (p.n / 2) + n / 2;
    bool real = n < p.n;
    if (real && (n < p.column0 || row < p.row0 || row - p.row0 >= p.rows))
        return;
    if (!real && p.row0 != 0)
        return;
    row -= p.row0;
    Packed o = Packed(p.packed);
    uint to = phase * p.words + word;
    if (HALF)
        o.d[to] = real ? sd_pack_half(vec2(element(row, 2 * k, phase), element(row, 2 * k + 1, phase))) : 0;
    else
        o.d[to] = real ? floatBitsToUint(element(row, k, phase)) : 0;
}

void main() {
    uint word = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (word >= p.words)
        return;
    Packed o = Packed(p.packed);
    if (FORM == 0) { /* `n` values; rows are single values */
        uint row = PAIRED ? (word & 1) * (p.n / 2) + word / 2 : word - p.column0;
        if ((PAIRED || word >= p.column0) && row >= p.row0 && row - p.row0 < p.rows)
            o.d[word] = floatBitsToUint(source(row - p.row0));
    } else if (FORM == 1) {
        uint row_words = HALF ? (p.c + 1) / 2 : p.c, row = word / row_words, i = word % row_words;
        if (row < p.row0 || row - p.row0 >= p.rows)
            return;
        uint at = (row - p.row0) * p.c;
        if (HALF)
            o.d[word] = sd_pack_half(vec2(source(at + 2 * i), 2 * i + 1 < p.c ? source(at + 2 * i + 1) : 0));
        else
            o.d[word] = floatBitsToUint(source(at + i));
    } else
        matrix(word, gl_WorkGroupID.z);
}
