/* Textual inversions (Gal et al., "An Image is Worth One Word", 2022): learned vectors that take the place of
 * a word's rows of the token table. */
#ifndef CLIP_INVERSION_H
#define CLIP_INVERSION_H

#include <stddef.h>
#include <stdint.h>

#include "sd/base/status.h"

enum { SD_INVERSION_VECTORS = 75 }; /* as many as a chunk has places */

/* {0} is empty. Owned by the caller. */
typedef struct sd_inversion {
    uint32_t vectors;  /* 1 to SD_INVERSION_VECTORS */
    uint32_t encoders; /* 1, or 2 for SDXL's pair */
    /* [encoders]: of the one text encoder, or of CLIP-L and of OpenCLIP bigG. */
    uint32_t width[2];
    float *rows[2]; /* [vectors][width] each */
} sd_inversion;

/* Reads a safetensors file or one of torch.save's, whichever the content is:
 * - one tensor of any name, [width] or [vectors,width]: diffusers' "<token>", kohya's "emb_params",
 * - "string_to_param" with one tensor: A1111,
 * - "clip_l" and "clip_g": SDXL.
 * Values are F64, F32, F16 or BF16, and finite. SD_E_FORMAT and SD_E_UNSUPPORTED name the tensor, what was
 * expected and what was found. */
sd_status sd_inversion_open(sd_inversion *out, const char *path, sd_error *err);

/* The same from bytes that are not used after the call; `label` begins the messages. */
sd_status sd_inversion_parse(sd_inversion *out, const char *label, const void *data, size_t size,
                             sd_error *err);

void sd_inversion_clear(sd_inversion *inversion);

#endif
