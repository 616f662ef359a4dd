/* Prompts to what the UNet reads. Internal to the sd room. */
#ifndef SD_TEXT_H
#define SD_TEXT_H

#include "sd/embeddings.h"
#include "sd/model.h"
#include "sd/stage.h"

/* Encoded prompts, host memory. */
struct sd_conditioning {
    uint32_t prompts, tokens, width; /* context [prompts][tokens][width] */
    float *context;
    uint32_t pooled_width; /* pooled [prompts][pooled_width]; 0 without */
    float *pooled;
};

/* Encodes `count` prompts (1 or 2, the negative one first) to the same number of chunks, with the vectors of
 * embeddings where their names stand. `clip_skip` 0 means the model's own. */
sd_status sd_text_encode(sd_model *model, const char *const *prompts, uint32_t count, uint32_t clip_skip,
                         struct sd_embeddings *embeddings, const struct sd_watch *watch,
                         struct sd_conditioning *out, sd_error *err);
void sd_conditioning_clear(struct sd_conditioning *c);

#endif
