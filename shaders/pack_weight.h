/* Push constants of pack_weight.comp, shared by C and GLSL. */
#ifndef PACK_WEIGHT_H
#define PACK_WEIGHT_H

#ifndef GL_core_profile
#include <stdint.h>
#define uint uint32_t
#define uint2_address uint64_t
#else
#define uint2_address uvec2
#endif

struct pack_weight_push {
    uint2_address source, packed;
    uint n;          /* rows of the packed matrix */
    uint c, kh, kw;  /* row shape in the source */
    uint column0;    /* packed row that source row 0 of this part is */
    uint row0, rows; /* source rows that lie at `source` now */
    uint tile;       /* columns of a tile */
    uint run;        /* words of a column that lie together, along K */
    uint c_padded;   /* inputs a tap, padded */
    uint taps;       /* of the packed matrix; 4 per phase for upsampling */
    uint words;      /* of the packed matrix (one phase) */
    uint block;      /* inputs of which the even ones come before the odd ones; 0: all in their order */
};

#ifndef GL_core_profile
#undef uint
#undef uint2_address
_Static_assert(sizeof(struct pack_weight_push) == 72, "as the shader lays it out");
#endif
#endif
