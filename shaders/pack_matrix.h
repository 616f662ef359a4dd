/* Push constants of pack_matrix.comp, shared by C and GLSL. */
#ifndef PACK_MATRIX_H
#define PACK_MATRIX_H

#define PACK_MATRIX_QUADS 8 /* groups of four inputs that an invocation packs */

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define uint2_address uint64_t
#else
#define uint2_address uvec2
#endif

struct pack_matrix_push {
    uint2_address source, packed;
    uint first, end; /* packed columns to be made; those behind the source's rows become 0 */
    uint rows;       /* that lie at `source`; with `paired` values and then as many gates */
    uint paired;     /* columns first + 2j, first + 2j+1 are source rows j, rows/2 + j (GEGLU) */
    uint c;          /* inputs */
    uint c_padded;   /* inputs a tap, padded */
    uint tile;       /* columns of a tile, a power of two */
    uint run;        /* words of a column that lie together, along K */
    uint block;      /* inputs of which the even ones come before the odd ones, a power of two; 0: none */
    uint tile_words; /* of one phase */
    uint phase_words;
};

#ifndef GL_core_profile
#undef uint
#undef uint2_address
_Static_assert(sizeof(struct pack_matrix_push) == 64, "as the shader lays it out");
#endif
#endif
