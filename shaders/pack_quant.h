/* Push constants of pack_quant.comp, shared by C and GLSL. */
#ifndef PACK_QUANT_H
#define PACK_QUANT_H

#include "shaders/pack.h"

#define PACK_QUANT_PAIRS 4 /* pairs of units that an invocation packs */

struct pack_quant_push {
    PACK_PIECE piece;
    PACK_UINT c;    /* inputs */
    PACK_UINT tile; /* columns of a tile */
    PACK_UINT tiles;
};

#ifndef GL_core_profile
_Static_assert(sizeof(struct pack_quant_push) == 48, "as the shader lays it out");
#endif
#endif
