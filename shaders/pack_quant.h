/* Push constants of pack_quant.comp, shared by C and GLSL. */
#ifndef PACK_QUANT_H
#define PACK_QUANT_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define uint2_address uint64_t
#else
#define uint2_address uvec2
#endif

struct pack_quant_push {
    uint2_address source, packed;
    uint n, c;       /* rows and columns of the packed matrix */
    uint column0;    /* packed row that source row 0 of this part is */
    uint row0, rows; /* source rows that lie at `source` now */
    uint tile;       /* columns of a tile */
    uint tiles;
    uint paired; /* packed rows 2j, 2j+1 are source rows j, n/2+j (GEGLU) */
};

#ifndef GL_core_profile
#undef uint
#undef uint2_address
_Static_assert(sizeof(struct pack_quant_push) == 48, "as the shader lays it out");
#endif
#endif
