/* Independent chains of multiply-adds that stay in registers: the arithmetic ceiling. REAL is the type of a link. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/peak.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const int CHAINS = 12;
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Floats { float d[]; };
layout(push_constant) uniform Push { peak_push p; };

void main() {
    /* Below 1, so that the chains converge and never reach infinity. */
    REAL x[CHAINS], a = REAL(float(gl_LocalInvocationID.x % 64) * 4e-3 + 0.5), b = REAL(0.25);
    [[unroll]] for (int i = 0; i < CHAINS; i++) x[i] = REAL(float(i)) + a;
    [[dont_unroll]] for (uint round = 0; round < p.rounds; round++)
        [[unroll]] for (int k = 0; k < PEAK_LINKS; k++)
            [[unroll]] for (int i = 0; i < CHAINS; i++) x[i] = fma(x[i], a, b);
    REAL sum = REAL(0);
    [[unroll]] for (int i = 0; i < CHAINS; i++) sum += x[i];
    Floats(p.to).d[gl_GlobalInvocationID.x] = FIRST(sum);
}
