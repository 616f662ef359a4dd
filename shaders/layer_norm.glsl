/* Layer normalisation over the channels of each token. ROW_LANES lanes share a token: one on CPUs, whose lanes
 * read memory one after another anyway, many on GPUs. Vectors of four join the running mean and M2 (sum of
 * squared distances from the mean) by Chan, Golub, LeVeque 1983. */
#include "shaders/layer_norm.h"
#include "shaders/source.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROW_LANES = 1; /* a power of two that divides the workgroup */
layout(constant_id = 2) const bool X_F16 = false;
layout(constant_id = 3) const bool OUT_F16 = false;
layout(constant_id = 4) const bool ALIGNED = false;
layout(constant_id = 5) const bool TWO_PARTS = false;

layout(push_constant, std430) uniform push_block {
    sd_layer_norm_push p;
};

shared vec3 moments[SD_LAYER_NORM_LANES]; /* count, mean, M2 */

vec3 join(vec3 a, vec3 b) {
    float n = a.x + b.x, share = n > 0.0 ? b.x / n : 0.0, d = b.y - a.y;
    return vec3(n, a.y + d * share, a.z + b.z + d * d * (a.x * share));
}

vec4 vector_at(uvec2 base, uint channel, float otherwise) {
    if (base == uvec2(0))
        return vec4(otherwise);
    if (ALIGNED)
        return sd_load4_f32(base, channel);
    vec4 v = vec4(0);
    for (uint i = 0; i < 4; i++)
        if (channel + i < p.x.c)
            v[i] = sd_floats(base).v[channel + i];
    return v;
}

vec4 x_at(uint row, uint chunk) {
    return sd_source_load4(p.x, X_F16, ALIGNED, TWO_PARTS, row, chunk * 4);
}

vec3 moments_of(vec4 x, uint chunk) {
    float n = ALIGNED ? 4.0 : float(min(4, p.x.c - chunk * 4));
    float mean = (x.x + x.y + x.z + x.w) * (1.0 / n);
    vec4 d = x - mean;
    if (!ALIGNED)
        d = mix(vec4(0), d, lessThan(vec4(0, 1, 2, 3), vec4(n)));
    return vec3(n, mean, dot(d, d));
}

void main() {
    uint lane = gl_LocalInvocationID.x % ROW_LANES;
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint row = group * (gl_WorkGroupSize.x / ROW_LANES) + gl_LocalInvocationID.x / ROW_LANES;
    bool busy = row < p.rows;
    vec3 m = vec3(0);
    if (busy)
        [[dont_unroll]] for (uint chunk = lane; chunk < p.chunks; chunk += ROW_LANES)
            m = join(m, moments_of(x_at(row, chunk), chunk));
    if (ROW_LANES > 1) {
        moments[gl_LocalInvocationID.x] = m;
        [[dont_unroll]] for (uint width = ROW_LANES / 2; width > 0; width /= 2) {
            barrier();
            if (lane < width) {
                m = join(m, moments[gl_LocalInvocationID.x + width]);
                moments[gl_LocalInvocationID.x] = m;
            }
        }
        barrier();
        m = moments[gl_LocalInvocationID.x - lane];
    }
    if (!busy)
        return;
    float scale = 1.0 / sqrt(m.z / float(p.x.c) + p.eps);
    [[dont_unroll]] for (uint chunk = lane; chunk < p.chunks; chunk += ROW_LANES) {
        uint channel = chunk * 4;
        vec4 y = (x_at(row, chunk) - m.y) * scale;
        y = y * vector_at(p.gamma, channel, 1.0) + vector_at(p.beta, channel, 0.0);
        sd_store4(p.out_address, OUT_F16, ALIGNED, row * p.out_pitch + channel, channel, p.x.c, y);
    }
}
