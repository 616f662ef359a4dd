/* Push constants of pack_rows.comp, shared by C and GLSL. */
#ifndef PACK_ROWS_H
#define PACK_ROWS_H

#define PACK_ROWS_QUADS 8 /* groups of four values that an invocation packs */

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define uint2_address uint64_t
#else
#define uint2_address uvec2
#endif

struct pack_rows_push {
    uint2_address source, packed;
    uint rows, c;
    uint paired; /* of one row: packed values 2j, 2j+1 are the source's j, c/2+j (GEGLU) */
};

#ifndef GL_core_profile
#undef uint
#undef uint2_address
_Static_assert(sizeof(struct pack_rows_push) == 32, "as the shader lays it out");
#endif
#endif
