/* Rows of a table by token id, those behind its last from a second one, plus rows of a third by position. A
 * workgroup makes one row. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#include "shaders/embedding.h"
#include "shaders/source.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool TABLE_F16 = false;
layout(constant_id = 2) const bool POSITIONS_F16 = false;
layout(constant_id = 3) const bool OUT_F16 = false;
layout(constant_id = 4) const bool ALIGNED = false;
layout(constant_id = 5) const bool POSITIONS = false;
layout(constant_id = 6) const bool EXTRA = false;
layout(constant_id = 7) const bool EXTRA_F16 = false;

layout(push_constant, std430) uniform push_block {
    sd_embedding_push p;
};

void main() {
    uint token = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    if (token >= p.count)
        return;
    uint id = sd_words(p.tokens).v[token]; /* negative ids are large here */
    [[dont_unroll]] for (uint chunk = gl_LocalInvocationID.x; chunk < p.chunks; chunk += gl_WorkGroupSize.x) {
        uint channel = chunk * 4;
        vec4 v = vec4(uintBitsToFloat(0x7fc00000u));
        if (id < p.table_rows)
            v = sd_source_load4(p.table, TABLE_F16, ALIGNED, false, id, channel);
        else if (EXTRA && id - p.table_rows < p.extra_rows) {
            sd_source extra = sd_source(p.extra, p.extra, p.extra_pitch, 0, p.table.c, p.table.c);
            v = sd_source_load4(extra, EXTRA_F16, ALIGNED, false, id - p.table_rows, channel);
        }
        if (POSITIONS)
            v += sd_source_load4(p.positions, POSITIONS_F16, ALIGNED, false, token % p.sequence, channel);
        sd_store4(p.out_address, OUT_F16, ALIGNED, token * p.out_pitch + channel, channel, p.table.c, v);
    }
}
