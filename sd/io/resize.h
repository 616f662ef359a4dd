/* Scaling of pictures. */
#ifndef SD_IO_RESIZE_H
#define SD_IO_RESIZE_H

#include "sd/io/image.h"

/* Lanczos' filter with three lobes, widened when the picture shrinks so that nothing aliases, as Pillow's.
 * `out` is width x height with the channels of `in`; free with sd_image_clear. SD_E_ARGUMENT for sides of 0
 * or more than SD_IMAGE_SIDE. */
sd_status sd_image_resize(const sd_image *in, uint32_t width, uint32_t height, sd_image *out, sd_error *err);

/* One channel of floats, [height][width] to [to_height][to_width]. */
sd_status sd_plane_resize(const float *in, uint32_t width, uint32_t height, float *out, uint32_t to_width,
                          uint32_t to_height, sd_error *err);

#endif
