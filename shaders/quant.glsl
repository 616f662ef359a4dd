/* Expanding quantised weights inside the kernels. `type` is a specialization constant everywhere, so that what the other
 * types need is compiled away. Values are those of sd_dequantise, bit for bit: all products but Q6_K's, Q3_K's and IQ4_XS's,
 * which have no offset, are exact in f32, so that a fused multiply-add changes nothing. Needs the reference type Words. */
#include "shaders/quant.h"

/* Where the weights' regions begin, in words from their address. */
struct QuantPlace {
    uint units, columns; /* of a tile */
    uint fine, coarse;
};

QuantPlace quant_place(uint type, uint tiles, uint columns, uint k_all) {
    QuantPlace p;
    p.units = k_all / QUANT_UNIT;
    p.columns = columns;
    p.fine = tiles * p.units * columns * QUANT_WORDS(type);
    p.coarse = p.fine + tiles * ((p.units + 1) / 2) * columns;
    return p;
}

/* A unit's scales: value = mul (code - zero) + add, for each half of 16 k's. */
struct QuantScale {
    vec2 mul, add;
};

/* The words of a unit: fine[half] as it stands in memory, and the coarse word of its octet. */
QuantScale quant_scale(uint type, uint fine, uint coarse) {
    QuantScale s;
    s.add = vec2(0);
    vec2 c = unpackHalf2x16(coarse);
    float a = float(fine & 0xFF), b = float(fine >> 8 & 0xFF);
    if (QUANT_HAS_M(type)) {
        vec2 d = unpackHalf2x16(fine);
        s.mul = d.xx;
        s.add = d.yy;
    } else if (!QUANT_IS_K(type))
        s.mul = unpackHalf2x16(fine).xx;
    else if (type == WEIGHT_Q4_K || type == WEIGHT_Q5_K) { /* scale, offset */
        s.mul = vec2(c.x * a);
        s.add = vec2(-(c.y * b));
    } else if (type == WEIGHT_Q2_K) { /* scale and offset of 4 bits each, for both halves */
        s.mul = c.x * vec2(fine & 15, fine >> 8 & 15);
        s.add = -(c.y * vec2(fine >> 4 & 15, fine >> 12 & 15));
    } else { /* a signed scale for both halves */
        s.mul = c.x * vec2(bitfieldExtract(int(fine), 0, 8), bitfieldExtract(int(fine), 8, 8));
    }
    return s;
}

const float quant_levels[16] = float[16](-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/* What a code stands for before scaling. */
float quant_level(uint type, uint code) {
    if (type == WEIGHT_IQ4_NL || type == WEIGHT_IQ4_XS)
        return quant_levels[code];
    if (type == WEIGHT_Q8_0)
        return float(bitfieldExtract(int(code), 0, 8));
    float zero = type == WEIGHT_Q4_0   ? 8
                 : type == WEIGHT_Q5_0 ? 16
                 : type == WEIGHT_Q3_K ? 4
                 : type == WEIGHT_Q6_K ? 32
                                       : 0;
    return float(code) - zero;
}

/* The words that hold eight neighbouring codes. */
struct QuantGroup {
    uint low0, low1, high;
};

/* Group g (0..3) of the unit whose codes begin at word `at`. */
QuantGroup quant_group(uint type, uvec2 weight, uint at, uint g) {
    QuantGroup q = QuantGroup(0, 0, 0);
    Words words = Words(weight);
    if (QUANT_LOW_BITS(type) == 8) {
        q.low0 = words.d[at + 2 * g];
        q.low1 = words.d[at + 2 * g + 1];
    } else if (QUANT_LOW_BITS(type) == 4)
        q.low0 = words.d[at + g];
    else
        q.low0 = words.d[at + g / 2] >> 16 * (g & 1);
    if (QUANT_HIGH_BITS(type) == 1)
        q.high = words.d[at + QUANT_LOW_BITS(type)] >> 8 * g;
    else if (QUANT_HIGH_BITS(type) == 2)
        q.high = words.d[at + QUANT_LOW_BITS(type) + g / 2] >> 16 * (g & 1);
    return q;
}

/* Code k (0..7) of the group. */
uint quant_code(uint type, QuantGroup q, uint k) {
    if (QUANT_LOW_BITS(type) == 8)
        return (k < 4 ? q.low0 : q.low1) >> 8 * (k & 3) & 0xFF;
    uint code = q.low0 >> QUANT_LOW_BITS(type) * k & ((1u << QUANT_LOW_BITS(type)) - 1);
    if (QUANT_HIGH_BITS(type) != 0)
        code |= (q.high >> QUANT_HIGH_BITS(type) * k & ((1u << QUANT_HIGH_BITS(type)) - 1)) << QUANT_LOW_BITS(type);
    return code;
}

/* Scale and offset (mul, add) of a grain of a column's row in the file, which begins `first` units into an octet. */
vec2 quant_grain(uint type, uvec2 weight, QuantPlace p, uint tile, uint column, uint first, uint grain) {
    Words words = Words(weight);
    uint fine, coarse = 0, unit = grain * QUANT_GRAIN(type) / QUANT_UNIT;
    if (QUANT_HAS_M(type))
        fine = words.d[p.fine + (tile * p.units + unit) * p.columns + column];
    else
        fine = words.d[p.fine + (tile * ((p.units + 1) / 2) + unit / 2) * p.columns + column] >> 16 * (unit & 1) & 0xFFFF;
    if (QUANT_IS_K(type))
        coarse = words.d[p.coarse + (tile * QUANT_OCTETS(p.units) + (first + unit) / QUANT_OCTET) * p.columns + column];
    QuantScale s = quant_scale(type, fine, coarse);
    uint half_unit = QUANT_GRAIN(type) == 16 ? grain & 1 : 0;
    return vec2(s.mul[half_unit], s.add[half_unit]);
}

/* The word where a unit's codes begin. */
uint quant_codes_at(uint type, QuantPlace p, uint tile, uint unit, uint column) {
    return ((tile * p.units + unit) * p.columns + column) * QUANT_WORDS(type);
}
