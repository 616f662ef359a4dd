/* What the packing shaders' push constants share, for C and GLSL alike. */
#ifndef PACK_H
#define PACK_H

#ifndef GL_core_profile
#include <stdint.h>
#define PACK_UINT uint32_t
#define PACK_ADDRESS uint64_t
#define PACK_PIECE struct pack_piece
#else
#define PACK_UINT uint
#define PACK_ADDRESS uvec2
#define PACK_PIECE pack_piece
#endif

/* Source rows of a matrix that make some of its packed columns. */
struct pack_piece {
    PACK_ADDRESS source, packed;
    PACK_UINT first, end; /* packed columns to be made; those behind the source's rows become 0 */
    PACK_UINT rows;       /* that lie at `source`; with `paired` values and then as many gates */
    PACK_UINT paired;     /* columns first + 2j, first + 2j+1 are source rows j, rows/2 + j (GEGLU) */
};

#endif
