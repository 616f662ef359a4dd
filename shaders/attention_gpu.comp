#version 450
/* Attention for GPUs: flash attention (Dao 2023) with shared memory, whatever the subgroups' size.
 *
 * A workgroup of 8 x TY threads owns BR = TY*RN query rows and walks over the keys in tiles of BN. Thread
 * (x, y) has the scores of rows y + TY*r and keys x + 8*j, then the results of the same rows and of every
 * eighth group of channels. Heads wider than DC channels pass through shared memory DC at a time. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint D = 64;        /* head size, a multiple of 8 */
layout(constant_id = 2) const uint RN = 4;        /* rows of a thread */
layout(constant_id = 3) const uint BN = 32;       /* keys of a tile, a multiple of 8 */
layout(constant_id = 4) const bool HALF = false;
layout(constant_id = 5) const bool CAUSAL = false;
layout(constant_id = 6) const uint DC = 64;       /* channels at a time: D or an eighth at least */
layout(constant_id = 7) const bool QUADS = false; /* addresses and pitches are multiples of 16 bytes */

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint d[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Quads { uvec4 d[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Result { uint d[]; };

/* SwiftShader cannot turn a reference to words into one to quads, but makes both from an address. */
#define ATTENTION_ADDRESS(type) uvec2
#include "shaders/attention.h"
#include "shaders/half.glsl"
layout(push_constant) uniform Push { sd_attention_push p; };

const uint TX = 8, TY = THREADS / TX;
const uint BR = TY * RN;
const uint CN = BN / TX;
const uint CHUNKS = D / DC;
const uint E = HALF ? 2 : 1;                          /* values of a word */
const uint LINE = DC + 4;                             /* of a tile; lets 8 lines be read without conflicts */
const uint P_LINE = BN + 4;
const uint VN = DC % 32 == 0 ? 4 : DC % 16 == 0 ? 2 : 1; /* neighbouring channels of a thread */
const uint ON = DC / TX;                              /* channels of a thread in a chunk */
const uint AHEAD = 4;
const float LOWEST = -1.7e38;                         /* finite, so that maximum - maximum is 0 */

shared float tile[(BR + BN) * LINE]; /* queries, then keys or values */
shared float weights[BR * P_LINE];
shared float partial[BR * (TX + 1)];

const uint KEYS = BR * LINE; /* where keys and values start in `tile` */

/* 2^x for x <= 0 or NaN, which some drivers' exp2 loses; 0 below the normal numbers. */
float power(float x) {
    bool nan = (floatBitsToUint(x) & 0x7FFFFFFFu) > 0x7F800000u;
    return x < -126.0 ? 0.0 : nan ? x : exp2(x);
}

void put(uint at, uint word, float scale) {
    if (HALF) {
        vec2 pair = unpackHalf2x16(word) * scale;
        tile[at] = pair.x;
        tile[at + 1] = pair.y;
    } else {
        tile[at] = uintBitsToFloat(word) * scale;
    }
}

/* Channels of one chunk of tokens first..first+count, zeros beyond the last token, to tile[at..]. A thread asks
 * for AHEAD words or quads before it waits for them. */
void load(uvec2 from, uint base, uint pitch, uint first, uint count, uint tokens, uint at, float scale) {
    const uint step = QUADS ? 4 : 1, line = DC / E / step;
    [[dont_unroll]] for (uint i0 = gl_LocalInvocationIndex; i0 < count * line; i0 += THREADS * AHEAD) {
        uvec4 quad[AHEAD];
        [[unroll]] for (uint n = 0; n < AHEAD; n++) {
            uint i = i0 + n * THREADS, token = first + i / line;
            uint index = base + min(token, tokens - 1) * pitch + i % line * step;
            quad[n] = QUADS ? Quads(from).d[index / 4] : uvec4(Words(from).d[index], 0, 0, 0);
            quad[n] = token < tokens ? quad[n] : uvec4(0);
        }
        [[unroll]] for (uint n = 0; n < AHEAD; n++) {
            uint i = i0 + n * THREADS, to = at + i / line * LINE + i % line * step * E;
            if (i < count * line)
                [[unroll]] for (uint w = 0; w < step; w++)
                    put(to + w * E, quad[n][w], scale);
        }
    }
}

/* Channel of a chunk that is number i of thread column x. */
uint channel(uint x, uint i) {
    return (x + TX * (i / VN)) * VN + i % VN;
}

/* Written out eight times, because drivers do not unroll a loop round other loops, and `o` must stay in
 * registers. */
#define EACH_CHUNK(step)                                                                                   \
    { step(0) }                                                                                            \
    if (CHUNKS > 1) { step(1) }                                                                            \
    if (CHUNKS > 2) { step(2) }                                                                            \
    if (CHUNKS > 3) { step(3) }                                                                            \
    if (CHUNKS > 4) { step(4) }                                                                            \
    if (CHUNKS > 5) { step(5) }                                                                            \
    if (CHUNKS > 6) { step(6) }                                                                            \
    if (CHUNKS > 7) { step(7) }

#define ACCUMULATE(chunk)                                                                                  \
    barrier();                                                                                             \
    load(p.v, v_base + chunk * (DC / E), p.v_pitch, k0, BN, p.keys, KEYS, 1.0);                            \
    barrier();                                                                                             \
    [[dont_unroll]] for (uint j = 0; j < BN; j += 4) {                                                     \
        float w[RN * 4];                                                                                   \
        [[unroll]] for (uint i = 0; i < RN * 4; i++)                                                       \
            w[i] = weights[(y + TY * (i / 4)) * P_LINE + j + i % 4];                                       \
        [[unroll]] for (uint jj = 0; jj < 4; jj++) {                                                       \
            [[unroll]] for (uint i = 0; i < ON; i++) {                                                     \
                float v = tile[KEYS + (j + jj) * LINE + channel(x, i)];                                    \
                [[unroll]] for (uint r = 0; r < RN; r++)                                                   \
                    o[(r * CHUNKS + chunk) * ON + i] = fma(w[r * 4 + jj], v, o[(r * CHUNKS + chunk) * ON + i]);\
            }                                                                                              \
        }                                                                                                  \
    }

#define STORE(chunk)                                                                                       \
    barrier();                                                                                             \
    [[unroll]] for (uint r = 0; r < RN; r++)                                                               \
        [[unroll]] for (uint i = 0; i < ON; i++)                                                           \
            tile[(y + TY * r) * LINE + channel(x, i)] = o[(r * CHUNKS + chunk) * ON + i] / sum[r];         \
    barrier();                                                                                             \
    [[dont_unroll]] for (uint i = gl_LocalInvocationIndex; i < BR * (DC / E); i += THREADS) {              \
        uint row = row0 + i / (DC / E), word = i % (DC / E), from = i / (DC / E) * LINE + word * E;        \
        if (row < p.queries)                                                                               \
            Result(p.o).d[o_base + row * p.o_pitch + chunk * (DC / E) + word] =                                    \
                HALF ? sd_pack_half(vec2(tile[from], tile[from + E - 1])) : floatBitsToUint(tile[from]);   \
    }

void main() {
    uint x = gl_LocalInvocationIndex % TX, y = gl_LocalInvocationIndex / TX;
    uint head = gl_WorkGroupID.y % p.heads, image = gl_WorkGroupID.y / p.heads;
    uint row0 = gl_WorkGroupID.x * BR;
    uint q_base = image * p.queries * p.q_pitch + head * (D / E);
    uint k_base = image * p.keys * p.k_pitch + head * (D / E);
    uint v_base = image * p.keys * p.v_pitch + head * (D / E);

    float o[RN * CHUNKS * ON], highest[RN], sum[RN];
    [[unroll]] for (uint i = 0; i < RN * CHUNKS * ON; i++)
        o[i] = 0.0;
    [[unroll]] for (uint r = 0; r < RN; r++) {
        highest[r] = LOWEST;
        sum[r] = 0.0;
    }
    if (CHUNKS == 1)
        load(p.q, q_base, p.q_pitch, row0, BR, p.queries, 0, p.scale);

    uint end = CAUSAL ? min(p.keys, row0 + BR) : p.keys;
    [[dont_unroll]] for (uint k0 = 0; k0 < end; k0 += BN) {
        float s[RN * CN];
        [[unroll]] for (uint i = 0; i < RN * CN; i++)
            s[i] = 0.0;
        [[dont_unroll]] for (uint chunk = 0; chunk < CHUNKS; chunk++) {
            barrier();
            if (CHUNKS > 1)
                load(p.q, q_base + chunk * (DC / E), p.q_pitch, row0, BR, p.queries, 0, p.scale);
            load(p.k, k_base + chunk * (DC / E), p.k_pitch, k0, BN, p.keys, KEYS, 1.0);
            barrier();
            [[dont_unroll]] for (uint c = 0; c < DC; c += 4) {
                float q[RN * 4];
                [[unroll]] for (uint i = 0; i < RN * 4; i++)
                    q[i] = tile[(y + TY * (i / 4)) * LINE + c + i % 4];
                [[unroll]] for (uint j = 0; j < CN; j++) {
                    float k[4];
                    [[unroll]] for (uint i = 0; i < 4; i++)
                        k[i] = tile[KEYS + (x + TX * j) * LINE + c + i];
                    [[unroll]] for (uint i = 0; i < RN * 4; i++)
                        s[i / 4 * CN + j] = fma(q[i], k[i % 4], s[i / 4 * CN + j]);
                }
            }
        }

        float grown[RN];
        [[unroll]] for (uint r = 0; r < RN; r++) {
            float m = highest[r];
            [[unroll]] for (uint j = 0; j < CN; j++) {
                uint key = k0 + x + TX * j;
                bool out_of_sight = key >= p.keys || (CAUSAL && key > row0 + y + TY * r);
                s[r * CN + j] = out_of_sight ? uintBitsToFloat(0xFF800000u) : s[r * CN + j];
                m = max(m, s[r * CN + j]);
            }
            partial[(y + TY * r) * (TX + 1) + x] = m;
        }
        barrier();
        [[unroll]] for (uint r = 0; r < RN; r++) {
            float m = highest[r];
            [[unroll]] for (uint i = 0; i < TX; i++)
                m = max(m, partial[(y + TY * r) * (TX + 1) + i]);
            grown[r] = power(highest[r] - m);
            highest[r] = m;
            sum[r] *= grown[r];
            [[unroll]] for (uint j = 0; j < CN; j++) {
                float weight = power(s[r * CN + j] - m);
                sum[r] += weight;
                weights[(y + TY * r) * P_LINE + x + TX * j] = weight;
            }
            [[unroll]] for (uint i = 0; i < CHUNKS * ON; i++)
                o[r * CHUNKS * ON + i] *= grown[r];
        }

        EACH_CHUNK(ACCUMULATE)
    }

    barrier();
    [[unroll]] for (uint r = 0; r < RN; r++)
        partial[(y + TY * r) * (TX + 1) + x] = sum[r];
    barrier();
    [[unroll]] for (uint r = 0; r < RN; r++) {
        sum[r] = 0.0;
        [[unroll]] for (uint i = 0; i < TX; i++)
            sum[r] += partial[(y + TY * r) * (TX + 1) + i];
    }
    uint o_base = image * p.queries * p.o_pitch + head * (D / E);
    EACH_CHUNK(STORE)
}
