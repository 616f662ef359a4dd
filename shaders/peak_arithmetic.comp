#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
/* Independent chains of multiply-adds that stay in registers: the arithmetic ceiling. */
#include "shaders/peak.h"

layout(local_size_x = 64) in;
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Floats { float d[]; };
layout(push_constant) uniform Push { peak_push p; };

const int CHAINS = 16;

void main() {
    float x[CHAINS], a = float(gl_LocalInvocationID.x) * 1e-3 + 0.5, b = 0.25;
    [[unroll]] for (int i = 0; i < CHAINS; i++) x[i] = float(i) + a;
    [[dont_unroll]] for (uint round = 0; round < p.rounds; round++)
        [[unroll]] for (int k = 0; k < 8; k++)
            [[unroll]] for (int i = 0; i < CHAINS; i++) x[i] = x[i] * a + b;
    float sum = 0;
    [[unroll]] for (int i = 0; i < CHAINS; i++) sum += x[i];
    Floats(p.to).d[gl_GlobalInvocationID.x] = sum;
}
