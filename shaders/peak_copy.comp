#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
/* Copies 16 bytes an invocation and round: the bandwidth ceiling of shader loads and stores. */
#include "shaders/peak.h"

layout(local_size_x = 64) in;
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer From { uvec4 d[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer To { uvec4 d[]; };
layout(push_constant) uniform Push { peak_push p; };

void main() {
    uint all = p.words / 4, step = gl_NumWorkGroups.x * 64;
    for (uint i = gl_GlobalInvocationID.x; i < all; i += step)
        To(p.to).d[i] = From(p.from).d[i];
}
