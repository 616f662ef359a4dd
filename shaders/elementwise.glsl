/* Elementwise ops over tensors of the same shape: slices, concatenations, f32 and f16 in any mixture. An item is
 * four channels of a pixel; tensors without gaps are one long pixel. */
#include "shaders/elementwise.h"
#include "shaders/math.glsl"
#include "shaders/source.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ITEMS = 4; /* of each lane */
layout(constant_id = 2) const uint OP = SD_ELEMENTWISE_COPY;
layout(constant_id = 3) const bool A_F16 = false;
layout(constant_id = 4) const bool B_F16 = false;
layout(constant_id = 5) const bool OUT_F16 = false;
layout(constant_id = 6) const bool ALIGNED = false;
layout(constant_id = 7) const bool A_TWO = false;
layout(constant_id = 8) const bool B_TWO = false;

layout(push_constant, std430) uniform push_block {
    sd_elementwise_push p;
};

vec4 compute(vec4 a, uint row, uint channel) {
    if (OP == SD_ELEMENTWISE_AFFINE)
        return a * p.s + p.t;
    if (OP == SD_ELEMENTWISE_SILU)
        return sd_silu(a);
    if (OP == SD_ELEMENTWISE_GELU)
        return sd_gelu(a);
    if (OP == SD_ELEMENTWISE_QUICK_GELU)
        return sd_quick_gelu(a);
    if (OP == SD_ELEMENTWISE_RELU)
        return sd_relu(a);
    if (OP == SD_ELEMENTWISE_TANH)
        return sd_tanh(a);
    if (OP == SD_ELEMENTWISE_ADD)
        return a + sd_source_load4(p.b, B_F16, ALIGNED, B_TWO, row, channel);
    if (OP == SD_ELEMENTWISE_LERP)
        return a + p.t * (sd_source_load4(p.b, B_F16, ALIGNED, B_TWO, row, channel) - a);
    return a;
}

void main() {
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint item = group * gl_WorkGroupSize.x * ITEMS + gl_LocalInvocationID.x;
    uint row = item / p.chunks, chunk = item % p.chunks;
    [[dont_unroll]] for (uint i = 0; i < ITEMS; i++) {
        if (row >= p.rows)
            break;
        uint channel = chunk * 4;
        vec4 a = sd_source_load4(p.a, A_F16, ALIGNED, A_TWO, row, channel);
        sd_store4(p.out_address, OUT_F16, ALIGNED, row * p.out_pitch + channel, channel, p.a.c,
                  compute(a, row, channel));
        chunk += p.step_chunks;
        row += p.step_rows;
        if (chunk >= p.chunks) {
            chunk -= p.chunks;
            row++;
        }
    }
}
