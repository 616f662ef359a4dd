/* Two floats as halves, x in the low bits, rounded to nearest even: packHalf2x16 may round towards zero (AMD),
 * and SwiftShader's does not saturate to infinity. NaN stays NaN. unpackHalf2x16 is exact everywhere. */
#ifndef SD_HALF_GLSL
#define SD_HALF_GLSL

uint sd_half_bits(float x) {
    uint u = floatBitsToUint(x), a = u & 0x7fffffffu;
    /* Below 2^-14 adding 1/2 moves the half's last bit (2^-24) to the float's last bit, which rounds. */
    uint small = floatBitsToUint(uintBitsToFloat(a) + 0.5) - 0x3f000000u;
    uint normal = (a + 0xc8000fffu + ((a >> 13) & 1u)) >> 13;
    uint h = a < 0x38800000u ? small : min(normal, 0x7c00u);
    h = a > 0x7f800000u ? 0x7e00u : h;
    return h | ((u >> 16) & 0x8000u);
}

uint sd_pack_half(vec2 v) {
    return sd_half_bits(v.x) | (sd_half_bits(v.y) << 16);
}

#endif
