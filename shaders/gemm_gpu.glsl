/* What the GEMM kernels for GPUs share: a workgroup's tile of BM rows x BN columns, and where its operands lie. */
#include "shaders/gemm_common.glsl"

layout(constant_id = 4) const bool QUADS = true;
layout(constant_id = 5) const uint BM = 64;
layout(constant_id = 6) const uint BN = 64;
layout(constant_id = 7) const uint STEP = 32;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Quads { uvec4 d[]; };

const uint PACKED = 64; /* columns of a tile of packed weights */

/* The workgroup's place in the result. */
struct Place {
    uint phase, first_row, first_column;
    bool outside; /* the last workgroups of a folded row may have nothing to do */
};

Place find_place() {
    uint phases = flag(GEMM_FLAG_UPSAMPLE) ? 4 : 1;
    uint row_tile = gl_WorkGroupID.z / phases * gl_NumWorkGroups.y + gl_WorkGroupID.y;
    return Place(gl_WorkGroupID.z % phases, row_tile * BM, gl_WorkGroupID.x * BN, row_tile >= p.row_tiles);
}

/* A row of the GEMM: the pixel of the input under the kernel's first tap, which may lie in the padding. */
struct Row {
    int y, x, pixel;
};

Row find_row(uint row, uint phase) {
    uint m = min(row, p.rows - 1);
    Row r;
    r.x = int(m % p.ow * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
    r.y = int(m / p.ow % p.oh * field(GEMM_STRIDE_SHIFT)) - int(field(GEMM_PAD_SHIFT));
    if (flag(GEMM_FLAG_UPSAMPLE)) {
        r.y += int(phase >> 1);
        r.x += int(phase & 1);
    }
    r.pixel = (int(m / p.ow / p.oh * p.h) + r.y) * int(p.w) + r.x;
    return r;
}

/* Walks over K: the taps, and the channels of each in steps of BK. */
struct Slice {
    uint k; /* first channel of the tap */
    int dy, dx;
};

void advance(inout Slice s, uint step) {
    s.k += step;
    if (s.k < p.c_padded)
        return;
    s.k = 0;
    s.dx++;
    if (s.dx == int(field(GEMM_WIDTH_SHIFT))) {
        s.dx = 0;
        s.dy++;
    }
}

bool inside(Row r, Slice s) {
    return uint(r.y + s.dy) < p.h && uint(r.x + s.dx) < p.w;
}

/* Where channel s.k of the row's pixel lies, in elements from `from`. */
uint element(Row r, Slice s, out uvec2 from) {
    bool second = CONCAT && s.k >= p.c1;
    from = second ? p.a2 : p.a;
    uint pixel = uint(r.pixel + s.dy * int(p.w) + s.dx);
    return pixel * (second ? p.pitch2 : p.pitch) + (second ? s.k - p.c1 : s.k);
}

#ifdef QUANT
#ifdef NINE_TAPS
#define NINE_COUNT 8
#define NINE_MOST 8
#define NINE_GRAIN 16
#include "shaders/quant_nine.glsl"
#endif

/* Eight neighbouring k's of a quantised column, from channel s.k + k of the tap on. */
struct QuantEight {
    vec4 low, high;
};

QuantEight quant_eight(Place place, uint column, Slice s, uint k) {
    uint n = place.first_column + column, tiles = (p.columns + PACKED - 1) / PACKED, tile = min(n / PACKED, tiles - 1);
    QuantPlace at = quant_place(W_TYPE, tiles, PACKED, field(GEMM_TAPS_SHIFT) * p.c_padded);
    uint tap = NINE ? s.dy * 3 + s.dx : 0, channel = s.k + k, value = NINE ? channel * QUANT_TAPS + tap : channel;
    uint unit = (tap * p.c_padded + channel) / QUANT_UNIT, first = quant_first(n, at.units);
    QuantGroup g = quant_group(W_TYPE, p.weight, quant_codes_at(W_TYPE, at, tile, unit, n % PACKED), channel / 8 % 4);
    /* Always true, but known only when the pipeline is made: SwiftShader compiles a block of its own four times as fast. */
    const bool block = W_TYPE > WEIGHT_F16;
#ifdef NINE_TAPS
    NineScales scales;
    if (block)
        scales = nine_scales(p.weight, at, tile, n % PACKED, first, value);
#else
    vec2 scale;
    if (block)
        scale = quant_grain(W_TYPE, p.weight, at, tile, n % PACKED, first, value / QUANT_GRAIN(W_TYPE));
#endif
    float v[8];
    [[unroll]] for (uint i = 0; i < 8; i++) {
#ifdef NINE_TAPS
        vec2 scale = nine_scale(scales, value, i);
#endif
        v[i] = scale.x * quant_level(W_TYPE, quant_code(W_TYPE, g, i)) + scale.y;
    }
    return QuantEight(vec4(v[0], v[1], v[2], v[3]), vec4(v[4], v[5], v[6], v[7]));
}
#endif

/* Where the packed column lies, in elements from p.weight; the k's of a step follow. A tile of the result may reach
 * past the last tile of weights: its columns then repeat the first. */
uint weight_column(Place place, uint column) {
    uint n = place.first_column + column, tiles = (p.columns + PACKED - 1) / PACKED;
    uint k_all = field(GEMM_TAPS_SHIFT) * p.c_padded;
    uint tile = place.phase * tiles + min(n / PACKED, tiles - 1);
    return (tile * k_all / STEP * PACKED + n % PACKED) * STEP;
}
