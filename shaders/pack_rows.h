/* Push constants of pack_rows.comp, shared by C and GLSL. */
#ifndef PACK_ROWS_H
#define PACK_ROWS_H

#include "shaders/pack.h"

#define PACK_ROWS_QUADS 8 /* groups of four values that an invocation packs */

struct pack_rows_push {
    PACK_ADDRESS source, packed;
    PACK_UINT rows, c;
    PACK_UINT paired; /* of one row: packed values 2j, 2j+1 are the source's j, c/2+j (GEGLU) */
};

#ifndef GL_core_profile
_Static_assert(sizeof(struct pack_rows_push) == 32, "as the shader lays it out");
#endif
#endif
