/* What a prompt asks for beside its words: tags in angle brackets. Internal to the sd room. */
#ifndef SD_PROMPT_H
#define SD_PROMPT_H

#include "sd/base/arena.h"
#include "sd/base/status.h"

#include <stddef.h>
#include <stdint.h>

/* <lora:NAME[:unet[:te]]>; <lyco:...> is the same. Values may also be named, as A1111 and its block-weight
 * extension do: unet=, te= and lbw= (sd_lora_parse_blocks). */
struct sd_prompt_lora {
    const char *name;
    float unet, text;   /* one number is for both; the default is 1 */
    const char *blocks; /* NULL: all 1 */
    uint32_t column;    /* where its tag begins: characters of the prompt, from 1 */
};

/* A prompt taken apart. {0} is empty; free with sd_prompt_clear. */
struct sd_prompt {
    sd_arena arena;
    const char *text; /* without the tags */
    struct sd_prompt_lora *loras;
    uint32_t lora_count;
};

/* SD_E_ARGUMENT names the column of a malformed tag; SD_E_UNSUPPORTED that of a hypernetwork. Angle brackets
 * with anything else in them are text. */
sd_status sd_prompt_read(struct sd_prompt *out, const char *prompt, sd_error *err);
void sd_prompt_clear(struct sd_prompt *prompt);

/* The column of the first tag of a LoRA, well-formed or not; 0 when there is none. */
uint32_t sd_prompt_lora_column(const char *prompt);

#endif
