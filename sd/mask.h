/* Masks of pictures that are made anew in part. Planes are [height][width] floats, 1 where the picture is
 * made anew. Internal to the sd room. */
#ifndef SD_MASK_H
#define SD_MASK_H

#include "sd/sd.h"

struct sd_box {
    uint32_t x, y, width, height;
};

/* Luminance of a picture, of which what is transparent has none; `inverted`: one minus that. */
void sd_mask_read(const sd_picture *mask, bool inverted, float *out);

/* A Gaussian blur, cut at 2.5 standard deviations as A1111's; what lies outside is as the edge. */
sd_status sd_mask_blur(float *mask, uint32_t width, uint32_t height, float sigma, sd_error *err);

/* For latents of 8 x 8 pixels: 1 where most of the pixels are made anew, else 0. */
void sd_mask_shrink(const float *mask, uint32_t width, uint32_t height, float *out);

/* What is made anew, `padding` pixels more on each side, and grown to the shape of width : height as far as
 * the picture allows. False when the mask is black. */
bool sd_mask_box(const float *mask, uint32_t of_width, uint32_t of_height, uint32_t padding, uint32_t width,
                 uint32_t height, struct sd_box *out);

/* Fills what the mask makes anew (0.5 and more) from what is around it, smoothly: colours spread over larger
 * and larger distances (pull-push, Gortler et al. 1996, section 3.3). */
sd_status sd_mask_fill(sd_picture *picture, const float *mask, sd_error *err);

#endif
