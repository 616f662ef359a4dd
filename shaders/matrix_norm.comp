#version 450
#extension GL_GOOGLE_include_directive : require
/* Euclidean norms of parts of an f32 matrix, a workgroup each. */
#include "shaders/matrix.glsl"

layout(push_constant) uniform Push { matrix_norm_push push; };
shared float partial[64];

void main() {
    matrix_norm p = push.p;
    uint id = gl_LocalInvocationID.x, norm = group_number();
    float sum = 0;
    if (norm < p.norms)
        [[dont_unroll]] for (uint i = id; i < p.rows * p.columns; i += 64) {
            float v = Floats(push.a).d[norm * p.next + i / p.columns * p.row + i % p.columns];
            sum = fma(v, v, sum);
        }
    partial[id] = sum;
    [[dont_unroll]] for (uint other = 32; other > 0; other /= 2) {
        barrier();
        if (id < other)
            partial[id] += partial[id + other];
    }
    if (norm < p.norms && id == 0)
        Floats(push.to).d[norm] = sqrt(partial[0]);
}
