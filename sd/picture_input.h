/* What a request's pictures, init and mask, mean to the networks. Internal to the sd room. */
#ifndef SD_PICTURE_INPUT_H
#define SD_PICTURE_INPUT_H

#include "sd/mask.h"
#include "sd/request.h"
#include "sd/stage.h"

/* Everything channels last; NULL where the request or the model has no such thing. */
struct sd_picture_input {
    sd_picture
        init; /* what is rendered over: the init picture, or the masked part of it, at the size of the run */
    float *overlay; /* [H][W] of it: the mask, blurred */
    float *latent;  /* [h][w][channels], in the UNet's scale */
    float *mask;    /* [h][w] 1 where the latent is made anew, 0 where it is kept */
    float *extra;   /* [h][w][further input channels of the UNet] */
    /* With mask_area "masked". */
    struct sd_box box; /* of the init picture; width 0: all of it */
    float *whole;      /* the mask of the init picture in its own size, blurred */
};

/* Scales, cuts out and encodes what the model reads. `params` is a resolved request's. */
sd_status sd_picture_input_prepare(struct sd_picture_input *out, sd_model *model, const sd_params *params,
                                   const struct sd_watch *watch, sd_error *err);
void sd_picture_input_clear(struct sd_picture_input *input);

/* Puts the init picture back where the mask keeps it, whole pixels unchanged where the mask is black. With
 * mask_area "masked" `picture` becomes as large as the init picture. */
sd_status sd_picture_input_restore(const struct sd_picture_input *input, const sd_params *params,
                                   sd_picture *picture, sd_error *err);

#endif
