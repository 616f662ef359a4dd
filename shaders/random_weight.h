/* Push constants of random_weight.comp, shared by C and GLSL. */
#ifndef RANDOM_WEIGHT_H
#define RANDOM_WEIGHT_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define ADDRESS uint64_t
#else
#define ADDRESS uvec2
#endif

struct random_weight_push {
    ADDRESS packed;
    uint words, half_words; /* half_words 1: two f16 a word */
    uint seed;
    float mean, range; /* uniform in mean +- range */
};

#ifndef GL_core_profile
#undef uint
#undef ADDRESS
_Static_assert(sizeof(struct random_weight_push) == 32,
               "as the shader lays it out, with the tail padding of C");
#endif
#endif
