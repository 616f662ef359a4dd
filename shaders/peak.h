/* Push constants of peak_arithmetic.comp and peak_copy.comp, shared by C and GLSL. */
#ifndef PEAK_H
#define PEAK_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define ADDRESS uint64_t
#else
#define ADDRESS uvec2
#endif

struct peak_push {
    ADDRESS from, to;
    uint words; /* of the copy */
    uint rounds;
};

#ifndef GL_core_profile
#undef uint
#undef ADDRESS
_Static_assert(sizeof(struct peak_push) == 24, "as the shader lays it out");
#endif
#endif
