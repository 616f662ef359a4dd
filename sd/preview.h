/* Pictures of a run that is under way. Internal to the sd room. */
#ifndef SD_PREVIEW_H
#define SD_PREVIEW_H

#include "sd/latent.h"

/* What previews of a model are made with; made at its first preview, and kept by it. */
struct sd_previews;
void sd_previews_close(struct sd_previews **previews, sd_vk *vk);
/* On the device. NULL-safe. */
uint64_t sd_previews_bytes(const struct sd_previews *previews);

/* What the latent [h][w][channels] of a request (the estimate of the clean one, in the UNet's scale) would
 * decode to, small. With a TAESD, the model's or that of the context's model folder, it is the TAESD's
 * picture of the latent averaged down to at most 64 a side. Otherwise it has a pixel a latent, averaged down
 * to at most 128 a side, by a map (sd/latent_map.h) that is fitted once to what the model's decoder makes of
 * fixed latents: it does not depend on the request. A TAESD of the model folder that cannot be used is one
 * warning. Free with sd_picture_free. */
sd_status sd_preview(sd_model *model, const sd_params *params, const struct sd_watch *watch,
                     const float *latent, sd_picture *out, sd_error *err);

#endif
