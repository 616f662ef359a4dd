#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The number behind the last colon; false when there is none, or something that is no number stands there. */
static bool cut_number(char *text, float *number) {
    char *colon = strrchr(text, ':'), *end;
    if (!colon || !colon[1])
        return false;
    float value = strtof(colon + 1, &end);
    if (*end || !isfinite(value))
        return false;
    *colon = 0;
    *number = value;
    return true;
}

int cli_add_lora(struct cli_loras *loras, const char *value) {
    float first, second;
    if (loras->count == CLI_LORAS)
        return cli_usage("--lora: expected at most %d, found more", CLI_LORAS);
    char *path = strdup(value);
    if (!path)
        return cli_usage("out of memory");
    sd_lora_use *use = &loras->uses[loras->count++];
    *use = (sd_lora_use){.path = path, .unet = 1, .text = 1};
    if (cut_number(path, &second)) {
        use->unet = use->text = second;
        if (cut_number(path, &first))
            use->unet = first;
    }
    return *path ? EXIT_OK : cli_usage("--lora: expected NAME[:STRENGTH[:TEXT]], found '%s'", value);
}

int cli_set_lora_blocks(struct cli_loras *loras, const char *value) {
    if (!loras->count)
        return cli_usage("--lora-blocks: expected a --lora before it");
    loras->uses[loras->count - 1].blocks = value;
    return EXIT_OK;
}

void cli_free_loras(struct cli_loras *loras) {
    for (size_t i = 0; i < loras->count; i++)
        free((char *)loras->uses[i].path);
    loras->count = 0;
}

void cli_report_loras(const sd_model *model, bool in_prompt, FILE *out) {
    sd_lora_info lora;
    sd_model_info about;
    sd_model_get_info(model, &about);
    for (size_t i = 0; sd_model_lora(model, i, &lora); i++) {
        if (lora.in_prompt != in_prompt)
            continue;
        fprintf(out, "LoRA %s at %g", lora.name, (double)lora.unet);
        if (lora.text != lora.unet)
            fprintf(out, " (text %g)", (double)lora.text);
        fprintf(out, ": %s", lora.kinds);
        if (lora.rank_max)
            fprintf(out, lora.rank_min == lora.rank_max ? " of rank %u" : " of rank %u to %u", lora.rank_min,
                    lora.rank_max);
        fprintf(out, ", %u of %u modules", lora.matched, lora.modules);
        if (about.lora_mode == SD_LORA_RUNTIME)
            fprintf(out, ", %u tensors kept apart, %u merged", lora.apart, lora.merged);
        if (lora.trigger)
            fprintf(out, ", trigger words: %s", lora.trigger);
        if (lora.method)
            fprintf(out, ", %s: unless given, sampler %s, %u steps, cfg scale %g", lora.method, lora.sampler,
                    lora.steps, (double)lora.cfg_scale);
        fputc('\n', out);
        for (size_t k = 0; lora.unmatched[k]; k++)
            fprintf(out, "LoRA %s: not used: %s\n", lora.name, lora.unmatched[k]);
    }
}
