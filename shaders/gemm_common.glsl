/* What all GEMM kernels share: constants, loads and the epilogue. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require

#include "shaders/gemm.h"
#include "shaders/half.glsl"
#include "shaders/math.glsl"
#include "shaders/quant.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const bool A_HALF = false;
layout(constant_id = 2) const uint W_TYPE = 1;
layout(constant_id = 3) const bool CONCAT = false;

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Floats { float d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer OutFloats { float d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer OutWords { uint d[]; };
layout(push_constant) uniform Push { gemm_push p; };

/* Quantised weights have shaders of their own, which define QUANT, and NINE_TAPS for nine taps instead of one: drivers take
 * long enough for the others. */
const bool W_HALF = W_TYPE == WEIGHT_F16;
#ifdef QUANT
#include "shaders/quant.glsl"
#ifdef NINE_TAPS
const bool NINE = true;
#else
const bool NINE = false;
#endif
#endif

bool flag(uint bit) {
    return (p.flags & bit) != 0;
}

uint field(uint shift) {
    return p.flags >> shift & 15u;
}

float half_at(uvec2 address, uint i) {
    vec2 two = unpackHalf2x16(Words(address).d[i >> 1]);
    return (i & 1) == 0 ? two.x : two.y;
}

float value_at(uvec2 address, bool is_half, uint i) {
    if (is_half)
        return half_at(address, i);
    return Floats(address).d[i];
}

float activate(float x) {
    uint act = p.flags >> GEMM_ACT_SHIFT & 7u;
    if (act == 1)
        x = sd_silu(x);
    else if (act == 2)
        x = sd_gelu(x);
    else if (act == 3)
        x = sd_quick_gelu(x);
    else if (act == 4)
        x = sd_relu(x);
    else if (act == 5)
        x = sd_tanh(x);
    return x;
}

/* Position in the result of GEMM row m: behind an upsampling, rows are pixels of the small picture. */
uint result_row(uint m, uint phase) {
    if (!flag(GEMM_FLAG_UPSAMPLE))
        return m;
    uint x = m % p.ow, y = m / p.ow % p.oh, n = m / p.ow / p.oh;
    return ((n * p.oh + y) * 2 + (phase >> 1)) * p.ow * 2 + x * 2 + (phase & 1);
}

/* One or two neighbouring values; f16 rows have an even pitch, so a lone value owns its whole word. */
void store_two(uint at, float first, float second, bool both) {
    if (flag(GEMM_FLAG_OUT_HALF))
        OutWords(p.result).d[at >> 1] = sd_pack_half(vec2(first, both ? second : 0));
    else {
        OutFloats(p.result).d[at] = first;
        if (both)
            OutFloats(p.result).d[at + 1] = second;
    }
}

/* Four neighbouring values, of which `count` exist. f16 values start at an even index. */
vec4 four_at(uvec2 address, bool is_half, uint at, uint count) {
    vec4 v;
    if (is_half) {
        Words words = Words(address);
        return vec4(unpackHalf2x16(words.d[at >> 1]), unpackHalf2x16(words.d[(at >> 1) + uint(count > 2)]));
    }
    [[unroll]] for (uint i = 0; i < 4; i++) v[i] = Floats(address).d[at + min(i, count - 1)];
    return v;
}

#ifdef QUANT
/* Units of column n's first octet that belong to the row before. */
uint quant_first(uint n, uint units) {
    return QUANT_FIRST(flag(GEMM_FLAG_GEGLU) ? n / 2 : n, units);
}
#endif

/* Four neighbouring sums of row m, columns n..n+3, of which those below p.columns count. */
void finish(uint m, uint n, uint phase, vec4 v) {
    uint row = result_row(m, phase), count = p.columns - n;
    if (flag(GEMM_FLAG_BIAS))
        v += four_at(p.bias, false, n, count);
    if (flag(GEMM_FLAG_VECTOR))
        v += four_at(p.vector, flag(GEMM_FLAG_VECTOR_HALF), m / (p.oh * p.ow) * p.vector_pitch + n, count);
    vec4 residual = vec4(0);
    if (flag(GEMM_FLAG_RESIDUAL))
        residual = four_at(p.residual, flag(GEMM_FLAG_RESIDUAL_HALF), row * p.residual_pitch + n, count);
    if (flag(GEMM_FLAG_ACT_LAST))
        v += residual;
    if (flag(GEMM_FLAG_GEGLU)) {
        store_two(row * p.result_pitch + n / 2, v.x * sd_gelu(v.y), v.z * sd_gelu(v.w), count > 2);
        return;
    }
    if ((p.flags >> GEMM_ACT_SHIFT & 7u) != 0)
        [[unroll]] for (uint i = 0; i < 4; i++) v[i] = activate(v[i]);
    if (!flag(GEMM_FLAG_ACT_LAST))
        v += residual;
    uint at = row * p.result_pitch + n;
    store_two(at, v.x, v.y, count > 1);
    if (count > 2)
        store_two(at + 2, v.z, v.w, count > 3);
}
