#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require

/* Fills packed weights with random values for benchmarks. */
#include "shaders/half.glsl"
#include "shaders/random_weight.h"

layout(local_size_x = 64) in;
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Packed { uint d[]; };
layout(push_constant) uniform Push { random_weight_push p; };

/* PCG output permutation (O'Neill 2014) as a hash. */
float random(uint i) {
    uint state = i * 747796405u + 2891336453u;
    uint word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
    return p.mean + p.range * (float((word >> 22) ^ word) * (2.0 / 4294967296.0) - 1.0);
}

void main() {
    uint word = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (word >= p.words)
        return;
    uint at = word * 2 + p.seed;
    Packed(p.packed).d[word] = p.half_words != 0 ? sd_pack_half(vec2(random(at), random(at + 1))) : floatBitsToUint(random(at));
}
