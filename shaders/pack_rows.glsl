/* Rewrites rows of a checkpoint's tensor in their order: vectors, tables. Rows of f16 end at words. */
#include "shaders/pack_rows.h"
#include "shaders/pack_source.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 2) const bool WIDE = false; /* one row of a multiple of four values, not paired */

layout(push_constant) uniform Push { pack_rows_push p; };

void pack_wide(uint quad) {
    vec4 x = pack_load4(p.source, 4 * quad);
    uvec4 v;
    [[unroll]] for (uint k = 0; k < 4; k++) v[k] = pack_bits(x[k]);
    if (HALF)
        sd_store_pair(p.packed, quad, v.xz | v.yw << 16);
    else {
        sd_store_pair(p.packed, 2 * quad, v.xy);
        sd_store_pair(p.packed, 2 * quad + 1, v.zw);
    }
}

uint value_bits(uint row, uint i) {
    if (p.paired != 0)
        i = (i & 1) * (p.c / 2) + i / 2;
    return i < p.c ? pack_bits(pack_load1(p.source, row * p.c + i)) : 0;
}

/* One word. */
void pack_narrow(uint word) {
    uint row_words = HALF ? (p.c + 1) / 2 : p.c, row = word / row_words, i = word - row * row_words;
    sd_words(p.packed).v[word] = HALF ? value_bits(row, 2 * i) | value_bits(row, 2 * i + 1) << 16 : value_bits(row, i);
}

void main() {
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint count = WIDE ? p.c / 4 : p.rows * (HALF ? (p.c + 1) / 2 : p.c);
    uint i = group * 64 * PACK_ROWS_QUADS + gl_LocalInvocationID.x;
    uint end = min(i + 64 * PACK_ROWS_QUADS, count);
    [[dont_unroll]] for (; i < end; i += 64)
        if (WIDE)
            pack_wide(i);
        else
            pack_narrow(i);
}
