/* Push constants of pack_matrix.comp, shared by C and GLSL. */
#ifndef PACK_MATRIX_H
#define PACK_MATRIX_H

#include "shaders/pack.h"

#define PACK_MATRIX_QUADS 8 /* groups of four inputs that an invocation packs */

struct pack_matrix_push {
    PACK_PIECE piece;
    PACK_UINT c;        /* inputs */
    PACK_UINT c_padded; /* inputs a tap, padded */
    PACK_UINT tile;     /* columns of a tile, a power of two */
    PACK_UINT run;      /* words of a column that lie together, along K */
    PACK_UINT block;    /* inputs of which the even ones come before the odd ones, a power of two; 0: none */
    PACK_UINT tile_words; /* of one phase */
    PACK_UINT phase_words;
};

#ifndef GL_core_profile
_Static_assert(sizeof(struct pack_matrix_push) == 64, "as the shader lays it out");
#endif
#endif
