/* Push constants of shaders/timestep_embedding.comp. */
#ifndef SD_SHADERS_TIMESTEP_EMBEDDING_H
#define SD_SHADERS_TIMESTEP_EMBEDDING_H

#include "shaders/source.h"

struct sd_timestep_embedding_push {
    SD_ADDRESS t, out_address;
    SD_UINT t_pitch;
    SD_UINT rows, dim;
    SD_UINT cos_first;
    float shift;
    SD_UINT unused;
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_timestep_embedding_push) == 40, "the layout that the shader expects");
#endif

#endif
