/* Push constants of shaders/group_norm.comp. */
#ifndef SD_SHADERS_GROUP_NORM_H
#define SD_SHADERS_GROUP_NORM_H

#include "shaders/source.h"

#define SD_GROUP_NORM_PARTIALS 0
#define SD_GROUP_NORM_MERGE 1
#define SD_GROUP_NORM_APPLY 2
#define SD_GROUP_NORM_WHOLE 3

#define SD_GROUP_NORM_LANES 256 /* of a workgroup at most */

struct sd_group_norm_push {
    SD_SOURCE x;
    SD_ADDRESS partials;     /* [n][slice][mean, M2][chunks*4] f32 */
    SD_ADDRESS coefficients; /* [n][mean, scale, shift][chunks*4] f32 */
    SD_ADDRESS out_address;
    SD_ADDRESS gamma, beta;
    SD_UINT pixels;               /* of one image */
    SD_UINT slices, slice_pixels; /* an image's pixels in that many runs of that length */
    SD_UINT chunks, columns;      /* vectors of four channels of a pixel; of them in a workgroup */
    SD_UINT group_channels;
    SD_UINT out_pitch;
    float eps;
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_group_norm_push) == 104, "the layout that the shader expects");
#endif

#endif
