/* Four channels of a pixel at a time, from and to f32 or f16 memory. `aligned` means that vectors of four
 * elements never straddle parts and are aligned; otherwise elements come one by one and channels behind the
 * last are 0. */
#ifndef SD_SOURCE_GLSL
#define SD_SOURCE_GLSL

#include "shaders/half.glsl"
#include "shaders/source.h"

layout(buffer_reference, std430, buffer_reference_align = 4) buffer sd_floats {
    float v[];
};
layout(buffer_reference, std430, buffer_reference_align = 4) buffer sd_words {
    uint v[];
};
layout(buffer_reference, std430, buffer_reference_align = 16) buffer sd_vec4s {
    vec4 v[];
};
layout(buffer_reference, std430, buffer_reference_align = 8) buffer sd_pairs {
    uvec2 v[];
};
#ifdef SD_INT64
/* A load or store of 64 bits costs llvmpipe what one of 32 bits does. */
layout(buffer_reference, std430, buffer_reference_align = 8) buffer sd_quads {
    uint64_t v[];
};
#endif

/* Two neighbouring words, the first of them at an even place. */
uvec2 sd_load_pair(uvec2 base, uint pair) {
#ifdef SD_INT64
    return unpackUint2x32(sd_quads(base).v[pair]);
#else
    return sd_pairs(base).v[pair];
#endif
}

void sd_store_pair(uvec2 base, uint pair, uvec2 w) {
#ifdef SD_INT64
    sd_quads(base).v[pair] = packUint2x32(w);
#else
    sd_pairs(base).v[pair] = w;
#endif
}

vec4 sd_load4_f32(uvec2 base, uint element) {
#ifdef SD_INT64
    vec2 low = uintBitsToFloat(unpackUint2x32(sd_quads(base).v[element >> 1]));
    vec2 high = uintBitsToFloat(unpackUint2x32(sd_quads(base).v[(element >> 1) + 1]));
    return vec4(low, high);
#else
    return sd_vec4s(base).v[element >> 2];
#endif
}

vec4 sd_load4_f16(uvec2 base, uint element) {
    uvec2 w = sd_load_pair(base, element >> 2);
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}

vec2 sd_load2(uvec2 base, bool f16, uint element) {
    return f16 ? unpackHalf2x16(sd_words(base).v[element >> 1]) : uintBitsToFloat(sd_load_pair(base, element >> 1));
}

void sd_store2(uvec2 base, bool f16, uint element, vec2 x) {
    if (f16)
        sd_words(base).v[element >> 1] = sd_pack_half(x);
    else
        sd_store_pair(base, element >> 1, floatBitsToUint(x));
}

float sd_load1(uvec2 base, bool f16, uint element) {
    if (!f16)
        return sd_floats(base).v[element];
    vec2 pair = unpackHalf2x16(sd_words(base).v[element >> 1]);
    return (element & 1u) == 0u ? pair.x : pair.y;
}

float sd_source_load1(sd_source s, bool f16, uint row, uint channel) {
    bool second = channel >= s.split;
    uint element = row * (second ? s.pitch1 : s.pitch0) + (second ? channel - s.split : channel);
    return sd_load1(second ? s.part1 : s.part0, f16, element);
}

/* Two channels of a pixel that lie in one part at an even element. */
vec2 sd_source_load2(sd_source s, bool f16, uint row, uint channel) {
    bool second = channel >= s.split;
    uint element = row * (second ? s.pitch1 : s.pitch0) + (second ? channel - s.split : channel);
    return sd_load2(second ? s.part1 : s.part0, f16, element);
}

/* Channels channel..channel+3 of a pixel; `channel` is a multiple of 4 below s.c. */
vec4 sd_source_load4(sd_source s, bool f16, bool aligned, bool two_parts, uint row, uint channel) {
    if (aligned) {
        bool second = two_parts && channel >= s.split;
        uint element = row * (second ? s.pitch1 : s.pitch0) + (second ? channel - s.split : channel);
        uvec2 base = second ? s.part1 : s.part0;
        return f16 ? sd_load4_f16(base, element) : sd_load4_f32(base, element);
    }
    vec4 x = vec4(0);
    for (uint i = 0; i < 4; i++)
        if (channel + i < s.c)
            x[i] = sd_source_load1(s, f16, row, channel + i);
    return x;
}

/* The opposite, to a tensor of its own: `element` is that of `channel`, and `c` the tensor's channels. */
void sd_store4(uvec2 base, bool f16, bool aligned, uint element, uint channel, uint c, vec4 x) {
    if (f16) {
        uvec2 w = uvec2(sd_pack_half(x.xy), sd_pack_half(x.zw));
        if (aligned) {
            sd_store_pair(base, element >> 2, w);
            return;
        }
        sd_words(base).v[element >> 1] = w.x;
        if (channel + 2 < c)
            sd_words(base).v[(element >> 1) + 1] = w.y;
    } else if (aligned) {
#ifdef SD_INT64
        sd_quads(base).v[element >> 1] = packUint2x32(floatBitsToUint(x.xy));
        sd_quads(base).v[(element >> 1) + 1] = packUint2x32(floatBitsToUint(x.zw));
#else
        sd_vec4s(base).v[element >> 2] = x;
#endif
    } else {
        for (uint i = 0; i < 4; i++)
            if (channel + i < c)
                sd_floats(base).v[element + i] = x[i];
    }
}

#endif
