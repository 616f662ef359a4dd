/* Group normalisation in three dispatches, without atomics, so that results repeat. PARTIALS: every lane owns
 * four channels and runs over pixels of one slice of the image, keeping mean and M2 (sum of squared distances
 * from the mean) of each channel (Welford 1962). MERGE: a workgroup joins the partials of one group (Chan,
 * Golub, LeVeque 1983). APPLY: lanes own channels again and keep their coefficients in registers. Groups thus
 * need not align with vectors of four channels, nor with the parts of a concatenation. WHOLE: small groups in
 * one dispatch; a workgroup reads its group twice, in vectors of 2 or 4 channels that divide it. */
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

layout(constant_id = 8) const uint UNIT = 4;      /* channels of a vector in WHOLE: 2 or 4 */

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

/* Every lane's sums become those of all lanes. The workgroup's size is a power of two. */
void join_lanes(inout float n, inout vec4 mean, inout vec4 m2) {
    shared_mean[lane()] = mean;
    shared_m2[lane()] = m2;
    shared_count[lane()] = n;
    [[dont_unroll]] for (uint width = gl_WorkGroupSize.x / 2; width > 0; width /= 2) {
        barrier();
        if (lane() < width) {
            uint other = lane() + width;
            join(n, mean, m2, shared_count[other], shared_mean[other], shared_m2[other]);
            shared_mean[lane()] = mean;
            shared_m2[lane()] = m2;
            shared_count[lane()] = n;
        }
    }
    barrier();
    mean = shared_mean[0];
    m2 = shared_m2[0];
    n = shared_count[0];
}

vec4 load(uint image, uint pixel, uint channel) {
    return sd_source_load4(p.x, X_F16, ALIGNED, TWO_PARTS, image * p.pixels + pixel, channel);
}

void partials(uint column, uint lane_row, uint width, bool busy) {
    uint slice = gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    uint first = slice * p.slice_pixels, last = first + slice_length(slice);
    vec4 mean = vec4(0), m2 = vec4(0);
    float n = 0.0;
    if (busy) {
        uint pixel = first + lane_row;
        /* Four loads at once hide more of the memory's latency than one. */
        [[dont_unroll]] for (; pixel + 3 * width < last; pixel += 4 * width) {
            vec4 x0 = load(image, pixel, column * 4);
            vec4 x1 = load(image, pixel + width, column * 4);
            vec4 x2 = load(image, pixel + 2 * width, column * 4);
            vec4 x3 = load(image, pixel + 3 * width, column * 4);
            vec4 centre = (x0 + x1 + x2 + x3) * 0.25;
            x0 -= centre;
            x1 -= centre;
            x2 -= centre;
            x3 -= centre;
            join(n, mean, m2, 4.0, centre, x0 * x0 + x1 * x1 + x2 * x2 + x3 * x3);
        }
        [[dont_unroll]] for (; pixel < last; pixel += width) {
            vec4 x = load(image, pixel, column * 4);
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
    join_lanes(n, mean, m2);
    float scale = 1.0 / sqrt(m2.x / n + p.eps);
    [[dont_unroll]] for (uint k = lane(); k < p.group_channels; k += gl_WorkGroupSize.x) {
        uint c = first + k;
        float gamma = p.gamma == uvec2(0) ? 1.0 : sd_floats(p.gamma).v[c];
        float beta = p.beta == uvec2(0) ? 0.0 : sd_floats(p.beta).v[c];
        sd_floats(p.coefficients).v[coefficient_element(image, 0, c)] = mean.x;
        sd_floats(p.coefficients).v[coefficient_element(image, 1, c)] = scale * gamma;
        sd_floats(p.coefficients).v[coefficient_element(image, 2, c)] = beta;
    }
}

void store(uint image, uint pixel, uint channel, vec4 y) {
    if (SILU)
        y = sd_silu(y);
    if (!ALIGNED) /* the padding of an odd f16 pixel: the coefficients have no value there */
        y = mix(vec4(0), y, lessThan(channel + uvec4(0, 1, 2, 3), uvec4(p.x.c)));
    uint element = (image * p.pixels + pixel) * p.out_pitch + channel;
    sd_store4(p.out_address, OUT_F16, ALIGNED, element, channel, p.x.c, y);
}

void apply(uint column, uint lane_row, uint width) {
    uint slice = gl_WorkGroupID.y, image = gl_WorkGroupID.z, channel = column * 4;
    uint first = slice * p.slice_pixels, last = first + slice_length(slice);
    vec4 mean = sd_load4_f32(p.coefficients, coefficient_element(image, 0, channel));
    vec4 scale = sd_load4_f32(p.coefficients, coefficient_element(image, 1, channel));
    vec4 shift = sd_load4_f32(p.coefficients, coefficient_element(image, 2, channel));
    uint pixel = first + lane_row;
    [[dont_unroll]] for (; pixel + 3 * width < last; pixel += 4 * width) {
        vec4 x0 = load(image, pixel, channel);
        vec4 x1 = load(image, pixel + width, channel);
        vec4 x2 = load(image, pixel + 2 * width, channel);
        vec4 x3 = load(image, pixel + 3 * width, channel);
        store(image, pixel, channel, (x0 - mean) * scale + shift);
        store(image, pixel + width, channel, (x1 - mean) * scale + shift);
        store(image, pixel + 2 * width, channel, (x2 - mean) * scale + shift);
        store(image, pixel + 3 * width, channel, (x3 - mean) * scale + shift);
    }
    [[dont_unroll]] for (; pixel < last; pixel += width)
        store(image, pixel, channel, (load(image, pixel, channel) - mean) * scale + shift);
}

/* Pairs stand twice in a vector of four, which leaves mean and variance as they are. */
vec4 load_unit(uint row, uint channel) {
    if (UNIT == 4)
        return sd_source_load4(p.x, X_F16, true, TWO_PARTS, row, channel);
    return sd_source_load2(p.x, X_F16, row, channel).xyxy;
}

vec4 vector_at(uvec2 base, uint channel, float otherwise) {
    if (base == uvec2(0))
        return vec4(otherwise);
    if (UNIT == 4)
        return sd_load4_f32(base, channel);
    return sd_load2(base, false, channel).xyxy;
}

void whole() {
    uint first = gl_WorkGroupID.x * p.group_channels, row0 = gl_WorkGroupID.y * p.pixels;
    uint units = p.group_channels / UNIT, pixel = lane() / units, unit = lane() % units;
    uint step_pixels = gl_WorkGroupSize.x / units, step_units = gl_WorkGroupSize.x % units;
    /* Sums are of distances from one of the values: their mean is small, and its rounding with it. */
    float origin = load_unit(row0, first).x;
    vec4 mean = vec4(0), m2 = vec4(0);
    float n = 0.0;
    [[dont_unroll]] while (pixel < p.pixels) {
        vec4 x = load_unit(row0 + pixel, first + unit * UNIT) - origin;
        n += 1.0;
        vec4 d = x - mean;
        mean += d * (1.0 / n);
        m2 += d * (x - mean);
        pixel += step_pixels;
        unit += step_units;
        if (unit >= units) {
            unit -= units;
            pixel++;
        }
    }
    join_lanes(n, mean, m2);
    float centre = dot(mean, vec4(0.25));
    mean -= centre;
    float scale = 1.0 / sqrt(dot(m2 / n + mean * mean, vec4(0.25)) + p.eps);
    pixel = lane() / units;
    unit = lane() % units;
    [[dont_unroll]] while (pixel < p.pixels) {
        uint channel = first + unit * UNIT, row = row0 + pixel, element = row * p.out_pitch + channel;
        vec4 y = (load_unit(row, channel) - origin - centre) * scale;
        y = y * vector_at(p.gamma, channel, 1.0) + vector_at(p.beta, channel, 0.0);
        if (SILU)
            y = sd_silu(y);
        if (UNIT == 4)
            sd_store4(p.out_address, OUT_F16, true, element, channel, p.x.c, y);
        else
            sd_store2(p.out_address, OUT_F16, element, y.xy);
        pixel += step_pixels;
        unit += step_units;
        if (unit >= units) {
            unit -= units;
            pixel++;
        }
    }
}

void main() {
    if (PASS == SD_GROUP_NORM_WHOLE) {
        whole();
        return;
    }
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
