/* The text that AUTOMATIC1111's web UI keeps in a picture under "parameters", and that its relatives read:
 * the prompt, a line "Negative prompt: ...", and a last line of "Key: value" pairs. The form is known from
 * what those programs write and accept; there is no specification. */
#ifndef SD_IO_INFOTEXT_H
#define SD_IO_INFOTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "sd/base/arena.h"
#include "sd/base/status.h"
#include "sd/base/str.h"

typedef struct sd_infotext_field {
    const char *key;   /* two or more letters, digits, spaces, '_', '-', '/' */
    const char *value; /* any UTF-8; quoted as JSON where the form needs it */
} sd_infotext_field;

/* What sdvk writes. A NULL text and a 0 size, step count or CFG scale leave their field out. */
typedef struct sd_infotext_params {
    const char *prompt, *negative;
    uint32_t steps;
    const char *sampler, *schedule; /* as A1111 names them: "Euler a", "Karras" */
    double cfg_scale;
    uint64_t seed;
    uint32_t width, height; /* pixels */
    const char *model_hash; /* the short one */
    const char *model;
    const sd_infotext_field *extra; /* [extra_count], between Model and Version */
    size_t extra_count;
    const char *version; /* "sdvk 0.1.0" */
} sd_infotext_params;

/* Appends the text; out->failed when memory runs out. Reading it back gives the same texts unless a line of
 * the prompt itself begins with "Negative prompt:". */
void sd_infotext_write(sd_str *out, const sd_infotext_params *params);

/* The same from a ready list of fields. With fewer than three of them readers take the line for prompt. */
void sd_infotext_format(sd_str *out, const char *prompt, const char *negative,
                        const sd_infotext_field *fields, size_t count);

/* A text taken apart. {0} is empty; free with sd_infotext_clear. */
typedef struct sd_infotext {
    sd_arena arena;
    char *prompt, *negative;   /* never NULL after a successful parse */
    sd_infotext_field *fields; /* [count], in their order; a key may come twice */
    size_t count;
} sd_infotext;

/* Takes apart what A1111, Forge, SD.Next or sdvk wrote. Any UTF-8 is accepted: a text without a line of
 * fields is all prompt. SD_E_FORMAT when it is not UTF-8. */
sd_status sd_infotext_parse(const char *text, sd_infotext *out, sd_error *err);
void sd_infotext_clear(sd_infotext *info);

/* The first value of this key, or NULL. */
const char *sd_infotext_find(const sd_infotext *info, const char *key);

#endif
