/* Push constants of pack_quant.comp, shared by C and GLSL. */
#ifndef PACK_QUANT_H
#define PACK_QUANT_H

#define PACK_QUANT_PAIRS 4 /* pairs of units that an invocation packs */

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define uint2_address uint64_t
#else
#define uint2_address uvec2
#endif

struct pack_quant_push {
    uint2_address source, packed;
    uint first, end; /* packed columns to be made; those behind the source's rows become 0 */
    uint rows;       /* that lie at `source`; with `paired` values and then as many gates */
    uint paired;     /* columns first + 2j, first + 2j+1 are source rows j, rows/2 + j (GEGLU) */
    uint c;          /* inputs */
    uint tile;       /* columns of a tile */
    uint tiles;
};

#ifndef GL_core_profile
#undef uint
#undef uint2_address
_Static_assert(sizeof(struct pack_quant_push) == 48, "as the shader lays it out");
#endif
#endif
