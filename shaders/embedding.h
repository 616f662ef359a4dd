/* Push constants of shaders/embedding.comp. */
#ifndef SD_SHADERS_EMBEDDING_H
#define SD_SHADERS_EMBEDDING_H

#include "shaders/source.h"

struct sd_embedding_push {
    SD_SOURCE table, positions;
    SD_ADDRESS tokens, out_address, extra;
    SD_UINT table_rows, extra_rows, extra_pitch;
    SD_UINT count, sequence; /* tokens of all sequences, and of one */
    SD_UINT chunks;          /* vectors of four channels of a row */
    SD_UINT out_pitch;
    SD_UINT unused;
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_embedding_push) == 120, "the layout that the shader expects");
#endif

#endif
