/* Nearest resize: a workgroup copies one pixel. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/resize_nearest.h"
#include "shaders/source.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool F16 = false;
layout(constant_id = 2) const bool ALIGNED = false;
layout(constant_id = 3) const bool TWO_PARTS = false;

layout(push_constant, std430) uniform push_block {
    sd_resize_nearest_push p;
};

void main() {
    uint pixel = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    if (pixel >= p.pixels)
        return;
    uint x = pixel % p.out_w, y = pixel / p.out_w % p.out_h, image = pixel / p.out_w / p.out_h;
    uint row = (image * p.in_h + y * p.in_h / p.out_h) * p.in_w + x * p.in_w / p.out_w;
    [[dont_unroll]] for (uint chunk = gl_LocalInvocationID.x; chunk < p.chunks; chunk += gl_WorkGroupSize.x) {
        vec4 v = sd_source_load4(p.x, F16, ALIGNED, TWO_PARTS, row, chunk * 4);
        sd_store4(p.out_address, F16, ALIGNED, pixel * p.out_pitch + chunk * 4, chunk * 4, p.x.c, v);
    }
}
