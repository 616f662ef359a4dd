/* Push constants of the attention shaders, the same bytes in C and GLSL. Pitches and strides count 32-bit
 * words of the activations: elements where they are f32, pairs of elements where they are f16. */
#ifndef ATTENTION_H
#define ATTENTION_H

#ifdef __STDC__
#include <stdint.h>
#define ATTENTION_ADDRESS(type) uint64_t
#define ATTENTION_UINT uint32_t
#else
#ifndef ATTENTION_ADDRESS
#define ATTENTION_ADDRESS(type) type
#endif
#define ATTENTION_UINT uint
#endif

struct sd_attention_push {
    ATTENTION_ADDRESS(Words) q;
    ATTENTION_ADDRESS(Words) k;
    ATTENTION_ADDRESS(Words) v;
    ATTENTION_ADDRESS(Result) o;
    ATTENTION_UINT queries, keys;                      /* tokens of one image */
    ATTENTION_UINT q_pitch, k_pitch, v_pitch, o_pitch; /* from a token to the next */
    ATTENTION_UINT heads;
    float scale; /* of the dot products, times log2(e) */
};

#ifdef __STDC__
_Static_assert(sizeof(struct sd_attention_push) == 64, "the layout is shared with the shaders");
#endif
#endif
