/* Pictures of a run that is under way. Internal to the sd room. */
#ifndef SD_PREVIEW_H
#define SD_PREVIEW_H

#include "sd/latent.h"

/* What the latent [h][w][channels] of a request (the estimate of the clean one, in the UNet's scale) would
 * decode to, small: the decoder runs on the latent averaged down to at most 16 pixels a side, or 64 with a
 * TAESD. That is 9 % of a guided step of SD 1.5 at 512 x 512, by operations. Free with sd_picture_free. */
sd_status sd_preview(sd_model *model, const sd_params *params, const struct sd_watch *watch,
                     const float *latent, sd_picture *out, sd_error *err);

#endif
