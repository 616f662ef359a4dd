/* Colours of latents without a decoder: an affine map of each latent pixel and its eight neighbours, fitted
 * by least squares. Internal to the sd room. */
#ifndef SD_LATENT_MAP_H
#define SD_LATENT_MAP_H

#include "sd/base/status.h"

#include <stdint.h>

/* {0}: not fitted. */
struct sd_latent_map {
    uint32_t channels;
    float *weights; /* [9 * channels + 1][3]: neighbours row by row, then the constant */
};

/* latent [h][w][channels], colours [h][w][3] in levels of 0..255; 1 to 64 channels -> a map, to be cleared.
 * SD_E_MEMORY. */
sd_status sd_latent_map_fit(struct sd_latent_map *out, const float *latent, const float *colours, uint32_t h,
                            uint32_t w, uint32_t channels, sd_error *err);
void sd_latent_map_clear(struct sd_latent_map *map);

/* latent [h][w][channels] of a fitted map -> colours [h][w][3], cut off at 0 and 255. */
void sd_latent_map_apply(const struct sd_latent_map *map, const float *latent, uint32_t h, uint32_t w,
                         float *colours);

#endif
