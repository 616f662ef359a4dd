/* What a request's pictures, init and mask, mean to the networks. Internal to the sd room. */
#ifndef SD_PICTURE_INPUT_H
#define SD_PICTURE_INPUT_H

#include "sd/request.h"
#include "sd/stage.h"

/* Everything channels last; NULL where the request or the model has no such thing. */
struct sd_picture_input {
    float *latent;  /* [h][w][channels] of the init picture, in the UNet's scale */
    float *mask;    /* [h][w] 1 where the latent is made anew, 0 where it is kept */
    float *extra;   /* [h][w][further input channels of the UNet] */
    float *overlay; /* [H][W] the mask, blurred, 0..1 */
};

/* Encodes what the model reads. `params` is a resolved request's. */
sd_status sd_picture_input_prepare(struct sd_picture_input *out, sd_model *model, const sd_params *params,
                                   const struct sd_watch *watch, sd_error *err);
void sd_picture_input_clear(struct sd_picture_input *input);

/* Puts the init picture back where the mask keeps it: RGB bytes [H][W][3], whole pixels unchanged where the
 * overlay is 0. */
void sd_picture_input_restore(const struct sd_picture_input *input, const sd_params *params, uint8_t *pixels);

#endif
