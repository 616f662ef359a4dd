/* How shaders find a tensor, for C and GLSL alike. */
#ifndef SD_SHADERS_SOURCE_H
#define SD_SHADERS_SOURCE_H

#ifdef VULKAN
#define SD_ADDRESS uvec2
#define SD_UINT uint
#define SD_SOURCE sd_source
#else
#include <stdint.h>
#define SD_ADDRESS uint64_t
#define SD_UINT uint32_t
#define SD_SOURCE struct sd_source
#endif

/* An input that may be a slice or a channel concatenation: channels 0..split lie in the first part, the rest
 * in the second. Pitches are elements between pixels. */
struct sd_source {
    SD_ADDRESS part0, part1;
    SD_UINT pitch0, pitch1;
    SD_UINT split; /* all channels when there is one part */
    SD_UINT c;     /* channels of both parts */
};

#ifndef VULKAN
_Static_assert(sizeof(struct sd_source) == 32, "the layout that the shaders expect");
#endif

#endif
