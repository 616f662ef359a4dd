/* Sets of LoRAs as they are asked for: by options, by a request, in a prompt. Internal to the sd room. */
#ifndef SD_LORA_USES_H
#define SD_LORA_USES_H

#include "sd/base/arena.h"
#include "sd/context.h"
#include "sd/prompt.h"

/* {0} is the empty set; owns all that it holds. */
struct sd_lora_uses {
    sd_arena arena;
    sd_lora_use *items; /* paths, never names */
    const char *
        *names; /* what each was called: the name in the prompt, or that of the file without extension */
    size_t count;
    bool lenient;
};

/* Copies with paths in place of names. Nothing is left behind after a failure. */
sd_status sd_lora_uses_copy(struct sd_lora_uses *out, const sd_context *context, const sd_lora_use *uses,
                            size_t count, bool lenient, sd_error *err);

/* Those of a prompt. What is not found is an error that names the column, or with `lenient` a warning in the
 * log. */
sd_status sd_lora_uses_read(struct sd_lora_uses *out, const sd_context *context,
                            const struct sd_prompt *prompt, bool lenient, sd_error *err);

void sd_lora_uses_clear(struct sd_lora_uses *uses);

#endif
