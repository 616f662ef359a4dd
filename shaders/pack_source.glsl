/* Values of a checkpoint's tensor as the packed form wants them. */
#include "shaders/half.glsl"
#include "shaders/source.glsl"

layout(constant_id = 0) const uint TYPE = 0;     /* of the source: 0 f32, 1 f16, 2 bf16, 3 f8 e4m3, 4 f8 e5m2 */
layout(constant_id = 1) const bool HALF = false; /* of the result */

/* f8 values as halves, which hold all of them: e5m2 is the upper half of an f16, e4m3 one of an exponent that is 8 less. */
uint f8_half(uint bits) {
    return TYPE == 4 ? bits << 8 : (bits & 0x80) << 8 | (bits & 0x7F) << 7;
}

float from_f8_half(float x, uint bits) {
    return TYPE == 4 ? x : (bits & 0x7F) == 0x7F ? uintBitsToFloat(0x7FC00000) : x * 256;
}

/* Value i of the tensor at `base`. */
float pack_load1(uvec2 base, uint i) {
    uint word = sd_words(base).v[TYPE == 0 ? i : TYPE < 3 ? i >> 1 : i >> 2];
    if (TYPE == 0)
        return uintBitsToFloat(word);
    if (TYPE < 3) {
        uint bits = word >> 16 * (i & 1) & 0xFFFF;
        return TYPE == 1 ? unpackHalf2x16(bits).x : uintBitsToFloat(bits << 16);
    }
    uint bits = word >> 8 * (i & 3) & 0xFF;
    return from_f8_half(unpackHalf2x16(f8_half(bits)).x, bits);
}

/* Values i..i+3; i is a multiple of 4. */
vec4 pack_load4(uvec2 base, uint i) {
    if (TYPE == 0)
        return sd_load4_f32(base, i);
    if (TYPE < 3) {
        uvec2 w = sd_load_pair(base, i >> 2);
        return TYPE == 1 ? vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y))
                         : uintBitsToFloat(uvec4(w.x << 16, w.x & 0xFFFF0000, w.y << 16, w.y & 0xFFFF0000));
    }
    uint word = sd_words(base).v[i >> 2];
    vec4 x;
    [[unroll]] for (uint k = 0; k < 4; k++) {
        uint bits = word >> 8 * k & 0xFF;
        x[k] = from_f8_half(unpackHalf2x16(f8_half(bits)).x, bits);
    }
    return x;
}

/* What the packed form holds of a value: 32 bits, or the 16 of an f16. */
uint pack_bits(float x) {
    return HALF ? sd_half_bits(x) : floatBitsToUint(x);
}
