/* Sinusoids of a number (Vaswani et al. 2017, as in Ho et al. 2020): half of the channels sines, half cosines. A
 * workgroup makes one row. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/math.glsl"
#include "shaders/source.glsl"
#include "shaders/timestep_embedding.h"

layout(local_size_x_id = 0) in;

layout(push_constant, std430) uniform push_block {
    sd_timestep_embedding_push p;
};

/* (sin x, cos x), error 3e-7 for |x| <= 10000: drivers' own lose digits at a thousand radians. x = k pi/2 + r,
 * pi/2 in three parts of which the first two times k are exact; then the series of sine and cosine. */
vec2 sine_cosine(float x) {
    float k = floor(x * 0.63661977 + 0.5);
    precise float r = x - k * 1.5703125;
    r = r - k * 4.837512969970703e-4;
    r = r - k * 7.549789949e-8;
    float z = r * r;
    float s = r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880))));
    float c = 1.0 + z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 - z * (1.0 / 3628800)))));
    int quarter = int(k) & 3;
    vec2 v = (quarter & 1) == 0 ? vec2(s, c) : vec2(c, -s);
    return quarter >= 2 ? -v : v;
}

void main() {
    uint row = gl_WorkGroupID.x, half_dim = p.dim / 2;
    float t = sd_floats(p.t).v[row * p.t_pitch];
    [[dont_unroll]] for (uint i = gl_LocalInvocationID.x; i < half_dim; i += gl_WorkGroupSize.x) {
        vec2 v = sine_cosine(t * sd_exp(-9.21034037 * float(i) / (float(half_dim) - p.shift)));
        uint first = row * p.dim + i;
        sd_floats(p.out_address).v[first] = p.cos_first != 0 ? v.y : v.x;
        sd_floats(p.out_address).v[first + half_dim] = p.cos_first != 0 ? v.x : v.y;
    }
    if (p.dim % 2 != 0 && gl_LocalInvocationID.x == 0)
        sd_floats(p.out_address).v[row * p.dim + p.dim - 1] = 0.0;
}
