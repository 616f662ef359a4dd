/* Copies words of type WORD, each workgroup its own stretch: the bandwidth ceiling of loads and stores. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/peak.h"

layout(local_size_x_id = 0) in;
layout(buffer_reference, std430, buffer_reference_align = WORD_BYTES) readonly buffer From { WORD d[]; };
layout(buffer_reference, std430, buffer_reference_align = WORD_BYTES) writeonly buffer To { WORD d[]; };
layout(push_constant) uniform Push { peak_push p; };

void main() {
    uint stretch = p.words / (WORD_BYTES / 4) / gl_NumWorkGroups.x, first = gl_WorkGroupID.x * stretch;
    uint lanes = gl_WorkGroupSize.x, end = first + stretch;
    for (uint i = first + gl_LocalInvocationID.x; i < end; i += lanes * PEAK_LOADS) {
        WORD word[PEAK_LOADS];
        [[unroll]] for (uint n = 0; n < PEAK_LOADS; n++) word[n] = From(p.from).d[i + n * lanes];
        [[unroll]] for (uint n = 0; n < PEAK_LOADS; n++) To(p.to).d[i + n * lanes] = word[n];
    }
}
