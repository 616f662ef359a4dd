/* Group normalisation in three dispatches, without atomics, so that results repeat. PARTIALS: every lane owns
 * four channels and runs over pixels of one slice of the image, keeping mean and M2 (sum of squared distances
 * from the mean) of each channel (Welford 1962). MERGE: a workgroup joins the partials of one group (Chan,
 * Golub, LeVeque 1983). APPLY: lanes own channels again and keep their coefficients in registers. Groups thus
 * need not align with vectors of four channels, nor with the parts of a concatenation. */
#include "shaders/group_norm.h"
#include "shaders/math.glsl"
#include "shaders/source.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint PASS = SD_GROUP_NORM_PARTIALS;
layout(constant_id = 2) const bool X_F16 = false;
layout(constant_id = 3) const bool OUT_F16 = false;
layout(constant_id = 4) const bool ALIGNED = false;
layout(constant_id = 5) const bool TWO_PARTS = false;
layout(constant_id = 6) const bool SILU = false;
layout(constant_id = 7) const bool JOIN = false; /* a workgroup is several pixels wide: join its lanes */

layout(push_constant, std430) uniform push_block {
    sd_group_norm_push p;
};

shared vec4 shared_mean[SD_GROUP_NORM_LANES], shared_m2[SD_GROUP_NORM_LANES];
shared float shared_count[SD_GROUP_NORM_LANES];

uint lane() {
    return gl_LocalInvocationID.x;
}

uint slice_length(uint slice) {
    return min(p.slice_pixels, p.pixels - slice * p.slice_pixels);
}

uint partial_element(uint image, uint slice, uint moment, uint channel) {
    return (((image * p.slices + slice) * 2 + moment) * p.chunks) * 4 + channel;
}

uint coefficient_element(uint image, uint which, uint channel) {
    return (image * 3 + which) * p.chunks * 4 + channel;
}

void join(inout float n, inout vec4 mean, inout vec4 m2, float other_n, vec4 other_mean, vec4 other_m2) {
    if (other_n == 0.0)
        return;
    float total = n + other_n;
    vec4 d = other_mean - mean;
    mean += d * (other_n / total);
    m2 += other_m2 + d * d * (n * other_n / total);
    n = total;
}

void partials(uint column, uint lane_row, uint width, bool busy) {
    uint slice = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    uint first = slice * p.slice_pixels, last = first + slice_length(slice);
    vec4 mean = vec4(0), m2 = vec4(0);
    float n = 0.0;
    if (busy) {
        [[dont_unroll]] for (uint pixel = first + lane_row; pixel < last; pixel += width) {
            vec4 x = sd_source_load4(p.x, X_F16, ALIGNED, TWO_PARTS, image * p.pixels + pixel, column * 4);
            n += 1.0;
            vec4 d = x - mean;
            mean += d * (1.0 / n);
            m2 += d * (x - mean);
        }
    }
    if (JOIN) {
        shared_mean[lane()] = mean;
        shared_m2[lane()] = m2;
        shared_count[lane()] = n;
        barrier();
        busy = busy && lane_row == 0;
        if (busy)
            [[dont_unroll]] for (uint k = lane() + p.columns; k < width * p.columns; k += p.columns)
                join(n, mean, m2, shared_count[k], shared_mean[k], shared_m2[k]);
    }
    if (busy) {
        uint mean_at = partial_element(image, slice, 0, column * 4);
        uint m2_at = partial_element(image, slice, 1, column * 4);
        sd_store4(p.partials, false, true, mean_at, 0, 4, mean);
        sd_store4(p.partials, false, true, m2_at, 0, 4, m2);
    }
}

void merge() {
    uint first = gl_WorkGroupID.x * p.group_channels, image = gl_WorkGroupID.y;
    vec4 mean = vec4(0), m2 = vec4(0); /* only x is used */
    float n = 0.0;
    uint slice = lane() / p.group_channels, channel = lane() % p.group_channels;
    uint step_slices = gl_WorkGroupSize.x / p.group_channels;
    uint step_channels = gl_WorkGroupSize.x % p.group_channels;
    [[dont_unroll]] while (slice < p.slices) {
        float other_mean = sd_floats(p.partials).v[partial_element(image, slice, 0, first + channel)];
        float other_m2 = sd_floats(p.partials).v[partial_element(image, slice, 1, first + channel)];
        join(n, mean, m2, float(slice_length(slice)), vec4(other_mean), vec4(other_m2));
        slice += step_slices;
        channel += step_channels;
        if (channel >= p.group_channels) {
            channel -= p.group_channels;
            slice++;
        }
    }
    shared_mean[lane()].x = mean.x;
    shared_m2[lane()].x = m2.x;
    shared_count[lane()] = n;
    [[dont_unroll]] for (uint width = gl_WorkGroupSize.x / 2; width > 0; width /= 2) {
        barrier();
        if (lane() < width) {
            uint other = lane() + width;
            join(n, mean, m2, shared_count[other], shared_mean[other].xxxx, shared_m2[other].xxxx);
            shared_mean[lane()].x = mean.x;
            shared_m2[lane()].x = m2.x;
            shared_count[lane()] = n;
        }
    }
    barrier();
    float centre = shared_mean[0].x;
    float scale = 1.0 / sqrt(shared_m2[0].x / (float(p.pixels) * float(p.group_channels)) + p.eps);
    [[dont_unroll]] for (uint k = lane(); k < p.group_channels; k += gl_WorkGroupSize.x) {
        uint c = first + k;
        float gamma = p.gamma == uvec2(0) ? 1.0 : sd_floats(p.gamma).v[c];
        float beta = p.beta == uvec2(0) ? 0.0 : sd_floats(p.beta).v[c];
        sd_floats(p.coefficients).v[coefficient_element(image, 0, c)] = centre;
        sd_floats(p.coefficients).v[coefficient_element(image, 1, c)] = scale * gamma;
        sd_floats(p.coefficients).v[coefficient_element(image, 2, c)] = beta;
    }
}

void apply(uint column, uint lane_row, uint width) {
    uint slice = gl_WorkGroupID.y, image = gl_WorkGroupID.z, channel = column * 4;
    uint first = slice * p.slice_pixels, last = first + slice_length(slice);
    vec4 mean = sd_load4_f32(p.coefficients, coefficient_element(image, 0, channel));
    vec4 scale = sd_load4_f32(p.coefficients, coefficient_element(image, 1, channel));
    vec4 shift = sd_load4_f32(p.coefficients, coefficient_element(image, 2, channel));
    [[dont_unroll]] for (uint pixel = first + lane_row; pixel < last; pixel += width) {
        uint row = image * p.pixels + pixel;
        vec4 y = (sd_source_load4(p.x, X_F16, ALIGNED, TWO_PARTS, row, channel) - mean) * scale + shift;
        if (SILU)
            y = sd_silu(y);
        if (!ALIGNED) /* the padding of an odd f16 pixel: the coefficients have no value there */
            y = mix(vec4(0), y, lessThan(channel + uvec4(0, 1, 2, 3), uvec4(p.x.c)));
        sd_store4(p.out_address, OUT_F16, ALIGNED, row * p.out_pitch + channel, channel, p.x.c, y);
    }
}

void main() {
    if (PASS == SD_GROUP_NORM_MERGE) {
        merge();
        return;
    }
    uint column = gl_WorkGroupID.x * p.columns + lane() % p.columns;
    uint lane_row = lane() / p.columns, width = gl_WorkGroupSize.x / p.columns;
    bool busy = lane_row < width && column < p.chunks;
    if (PASS == SD_GROUP_NORM_PARTIALS)
        partials(column, lane_row, width, busy);
    else if (busy)
        apply(column, lane_row, width);
}
