/* Attention for devices that are CPUs: flash attention (Dao et al. 2022, Milakov and Gimelshein 2018) with
 * no barrier, no shared memory and no reduction across lanes.
 *
 * A workgroup is one subgroup. A lane owns RN query rows: their queries, their running maximum and sum and
 * their output stay in its registers (which such a device keeps on its stack). Tiles of BN keys and then of BN
 * values are loaded by all lanes together, consecutive words each, and every value is broadcast to all lanes
 * where it is used: loads through addresses are the dear thing there, arithmetic is not. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint S = 8;    /* lanes of the subgroup */
layout(constant_id = 1) const uint D = 64;   /* head size, a multiple of 8 */
layout(constant_id = 2) const uint RN = 4;   /* query rows of a lane */
layout(constant_id = 3) const uint BN = 8;   /* keys of a tile */
layout(constant_id = 4) const bool HALF = false;
layout(constant_id = 5) const bool CAUSAL = false;

#ifdef WIDE
const uint W = 2; /* words of one load */
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Words { uint64_t d[]; };
#define UNPACK(x) unpackUint2x32(x)
#define PACK(words) packUint2x32(uvec2(words[0], words[1]))
layout(buffer_reference, std430, buffer_reference_align = 8) writeonly buffer Result { uint64_t d[]; };
#else
const uint W = 1;
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint d[]; };
#define UNPACK(x) uvec2(x, 0)
#define PACK(words) words[0]
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Result { uint d[]; };
#endif

#include "shaders/attention.h"
#include "shaders/half.glsl"
layout(push_constant) uniform Push { sd_attention_push p; };

const uint E = HALF ? 2 : 1;                     /* values of a word */
const uint WORDS = D / E;                        /* of one head of a token */
const uint LOADS = (BN * WORDS + S * W - 1) / (S * W); /* of a tile */
const float LOWEST = -1.7e38;                    /* finite, so that maximum - maximum is 0 */

/* 2^x for x <= 0 or NaN, relative error 2e-7; 0 below the normal numbers. Drivers' exp2 loses NaNs and, on
 * CPUs, digits. Minimax polynomial of 2^f on [-0.5, 0.5]. */
float power(float x) {
    float whole = floor(x + 0.5), f = x - whole;
    float y = fma(f, fma(f, fma(f, fma(f, fma(f, 1.326472439e-3, 9.671513239e-3), 5.550733756e-2), 2.402224207e-1),
                         6.931469776e-1),
                  1.0);
    return x < -126.0 ? 0.0 : y * uintBitsToFloat(uint(int(whole) + 127) << 23);
}

vec2 values(uint word) {
    return HALF ? unpackHalf2x16(word) : vec2(uintBitsToFloat(word), 0.0);
}

/* The tile's words one after the other, W a lane and load; tokens beyond the last are zeros, because their
 * weight of 0 times an infinity would be a NaN. */
#define LOAD(source, base, pitch)                                                                           \
    [[unroll]] for (uint i = 0; i < LOADS; i++) {                                                           \
        uint word = (i * S + lane) * W;                                                                     \
        uint token = k0 + word / WORDS;                                                                     \
        uvec2 pair = UNPACK(source.d[(base + min(token, p.keys - 1) * pitch + word % WORDS) / W]);          \
        pair = token < p.keys ? pair : uvec2(0);                                                            \
        [[unroll]] for (uint w = 0; w < W; w++) {                                                           \
            vec2 both = values(pair[w]);                                                                    \
            [[unroll]] for (uint e = 0; e < E; e++)                                                         \
                tile[(i * W + w) * E + e] = both[e];                                                        \
        }                                                                                                   \
    }

/* Channel c of the tile's token j. */
#define TILE(j, c)                                                                                          \
    subgroupShuffle(tile[(((j)*WORDS + (c) / E) / (S * W) * W + (c) / E % W) * E + (c) % E],              \
                      ((j)*WORDS + (c) / E) / W % S)

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint head = gl_WorkGroupID.y % p.heads, image = gl_WorkGroupID.y / p.heads;
    uint row0 = gl_WorkGroupID.x * (S * RN) + lane;
    uint q_base = image * p.queries * p.q_pitch + head * WORDS;
    uint o_base = image * p.queries * p.o_pitch + head * WORDS;
    uint k_base = image * p.keys * p.k_pitch + head * WORDS;
    uint v_base = image * p.keys * p.v_pitch + head * WORDS;

    float q[RN * D], o[RN * D], highest[RN], sum[RN], grown[RN], tile[LOADS * W * E], s[RN * BN];
    [[unroll]] for (uint r = 0; r < RN; r++) {
        [[unroll]] for (uint c = 0; c < D; c++)
            q[r * D + c] = o[r * D + c] = 0.0;
        highest[r] = LOWEST;
        sum[r] = 0.0;
    }
    /* Rows one by one, here and at the end: every load and store written out would cost the driver milliseconds to
     * compile, selects do not. */
    uint row = 0;
    [[dont_unroll]] while (true) {
        uint from = q_base + min(row0 + row * S, p.queries - 1) * p.q_pitch;
        [[unroll]] for (uint i = 0; i < WORDS / W; i++) {
            uvec2 pair = UNPACK(p.q.d[from / W + i]);
            [[unroll]] for (uint w = 0; w < W; w++) {
                vec2 both = values(pair[w]) * p.scale;
                [[unroll]] for (uint e = 0; e < E; e++)
                    [[unroll]] for (uint r = 0; r < RN; r++) {
                        uint to = r * D + (i * W + w) * E + e;
                        q[to] = row == r ? both[e] : q[to];
                    }
            }
        }
        if (++row == RN)
            break;
    }

    uint end = CAUSAL ? min(p.keys, gl_WorkGroupID.x * (S * RN) + S * RN) : p.keys;
    uint k0 = 0;
    /* A loop that ended at its start would be run once more, in vain. */
    [[dont_unroll]] while (true) {
        LOAD(p.k, k_base, p.k_pitch)
        [[unroll]] for (uint i = 0; i < RN * BN; i++) s[i] = 0.0;
            [[unroll]] for (uint c = 0; c < D; c++)
                [[unroll]] for (uint j = 0; j < BN; j++) {
                    float b = TILE(j, c);
                    [[unroll]] for (uint r = 0; r < RN; r++)
                        s[r * BN + j] = fma(q[r * D + c], b, s[r * BN + j]);
                }
        [[unroll]] for (uint r = 0; r < RN; r++) {
            float m = highest[r];
            [[unroll]] for (uint j = 0; j < BN; j++) {
                bool out_of_sight = CAUSAL ? k0 + j > row0 + r * S : false;
                s[r * BN + j] = k0 + j >= p.keys || out_of_sight ? uintBitsToFloat(0xFF800000u) : s[r * BN + j];
                m = max(m, s[r * BN + j]);
            }
            grown[r] = power(highest[r] - m);
            highest[r] = m;
            sum[r] *= grown[r];
            [[unroll]] for (uint j = 0; j < BN; j++) {
                s[r * BN + j] = power(s[r * BN + j] - m);
                sum[r] += s[r * BN + j];
            }
        }
        LOAD(p.v, v_base, p.v_pitch)
        [[unroll]] for (uint c = 0; c < D; c++) {
            [[unroll]] for (uint r = 0; r < RN; r++)
                o[r * D + c] *= grown[r];
            [[unroll]] for (uint j = 0; j < BN; j++) {
                float b = TILE(j, c);
                [[unroll]] for (uint r = 0; r < RN; r++)
                    o[r * D + c] = fma(s[r * BN + j], b, o[r * D + c]);
            }
        }
        k0 += BN;
        if (k0 >= end)
            break;
    }

    row = 0;
    [[dont_unroll]] while (true) {
        float total = 0.0;
        [[unroll]] for (uint r = 0; r < RN; r++) total = row == r ? sum[r] : total;
        [[unroll]] for (uint i = 0; i < WORDS / W; i++) {
            uint words[W];
            [[unroll]] for (uint w = 0; w < W; w++) {
                vec2 both = vec2(0.0);
                [[unroll]] for (uint r = 0; r < RN; r++) {
                    uint from = r * D + (i * W + w) * E;
                    both = row == r ? vec2(o[from], o[from + E - 1]) : both;
                }
                both *= 1.0 / total;
                words[w] = HALF ? sd_pack_half(both) : floatBitsToUint(both.x);
            }
            if (row0 + row * S < p.queries)
                p.o.d[(o_base + (row0 + row * S) * p.o_pitch) / W + i] = PACK(words);
        }
        if (++row == RN)
            break;
    }
}
