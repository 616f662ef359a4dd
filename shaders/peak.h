/* Push constants of peak_arithmetic*.comp and peak_copy*.comp, shared by C and GLSL. Specialization
 * constants: 0 lanes of a workgroup; 1 of the arithmetic: chains of multiply-adds a lane. */
#ifndef PEAK_H
#define PEAK_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define ADDRESS uint64_t
#else
#define ADDRESS uvec2
#endif

#define PEAK_LINKS 64 /* multiply-adds of a chain and round, written out */
#define PEAK_LOADS 4  /* loads of a lane that a copy has under way */

struct peak_push {
    ADDRESS from, to;
    uint words; /* of the copy; a multiple of 4 */
    uint rounds;
};

#ifndef GL_core_profile
#undef uint
#undef ADDRESS
_Static_assert(sizeof(struct peak_push) == 24, "as the shader lays it out");
#endif
#endif
