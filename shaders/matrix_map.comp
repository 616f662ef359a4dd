#version 450
#extension GL_GOOGLE_include_directive : require
/* An elementwise operation on two f32 matrices, whose rows, columns or blocks may be repeated. The result may be one of
 * the operands when that is read in place. */
#include "shaders/matrix.glsl"

layout(push_constant) uniform Push { matrix_map_push push; };

uint index(uint kind, uint p, uint q, uint r, uint c) {
    uint columns = push.p.columns;
    if (kind == MATRIX_ROW)
        return r;
    if (kind == MATRIX_COLUMN)
        return c / p;
    if (kind == MATRIX_KRON_LEFT)
        return r / p * (columns / q) + c / q;
    if (kind == MATRIX_KRON_RIGHT)
        return r % p * q + c % q;
    if (kind == MATRIX_SHUFFLE)
        r = (r / (p * q) * p + r % p) * q + r / p % q;
    return r * columns + c;
}

void main() {
    matrix_map p = push.p;
    uint at = group_number() * 64 + gl_LocalInvocationID.x, r = at / p.columns, c = at % p.columns;
    if (r >= p.rows)
        return;
    float x = Floats(push.x).d[index(p.x_index, p.x_p, p.x_q, r, c)];
    float y = Floats(push.y).d[index(p.y_index, p.y_p, p.y_q, r, c)], result;
    if (p.op == MATRIX_ADD)
        result = p.beta == 0 ? p.alpha * x : p.alpha * x + p.beta * y;
    else if (p.op == MATRIX_MULTIPLY)
        result = p.alpha * x * y;
    else
        result = p.alpha * x / (y + p.beta);
    Floats(push.to).d[at] = result;
}
