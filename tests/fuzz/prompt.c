/* Prompts, as they come from users: the text that is left is no longer than the prompt, and every LoRA has a
 * name and finite strengths. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sd/prompt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *prompt = malloc(size + 1);
    struct sd_prompt p;
    sd_error err = {0};
    if (!prompt)
        return 0;
    memcpy(prompt, data, size);
    prompt[size] = 0;
    if (sd_prompt_read(&p, prompt, &err)) {
        if (!err.message[0] || err.status == SD_E_INTERNAL)
            abort();
    } else {
        if (strlen(p.text) > strlen(prompt) || (p.lora_count > 0) != (sd_prompt_lora_column(prompt) > 0))
            abort();
        for (uint32_t i = 0; i < p.lora_count; i++) {
            const struct sd_prompt_lora *l = &p.loras[i];
            if (!*l->name || !isfinite(l->unet) || !isfinite(l->text) || !l->column)
                abort();
        }
    }
    sd_prompt_clear(&p);
    free(prompt);
    return 0;
}
