#include "lora/targets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LDM's order: base, input blocks 0-11, middle, output blocks 0-11. */
enum { base_block, first_input = 1, middle_block = 13, first_output = 14, sides = 12 };

/* The blocks that short lists name: those with attention, in SD 1 and 2 (17) and SDXL (12, 20). */
static const uint8_t blocks_17[] = {0, 2, 3, 5, 6, 8, 9, 13, 17, 18, 19, 20, 21, 22, 23, 24, 25};
static const uint8_t blocks_12[] = {0, 5, 6, 8, 9, 13, 14, 15, 16, 17, 18, 19};
static const uint8_t blocks_20[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22};

void sd_lora_strength_init(struct sd_lora_strength *strength, float unet, float text) {
    strength->unet = unet;
    strength->text = text;
    for (int i = 0; i < SD_LORA_BLOCKS; i++)
        strength->block[i] = 1;
}

static bool number_behind(const char *text, const char *prefix, uint32_t *number) {
    size_t n = strlen(prefix);
    if (strncmp(text, prefix, n))
        return false;
    char *end;
    unsigned long value = strtoul(text + n, &end, 10);
    *number = (uint32_t)value;
    return end != text + n && value < sides;
}

uint32_t sd_lora_block(const struct sd_lora_target *target) {
    uint32_t number;
    if (!target->ldm)
        return base_block;
    if (number_behind(target->ldm, "input_blocks.", &number))
        return first_input + number;
    if (number_behind(target->ldm, "output_blocks.", &number))
        return first_output + number;
    return strncmp(target->ldm, "middle_block.", 13) ? base_block : middle_block;
}

sd_status sd_lora_parse_blocks(struct sd_lora_strength *strength, const char *text, sd_error *err) {
    float values[SD_LORA_BLOCKS];
    size_t count = 0;
    for (const char *at = text;; at++) {
        char *end;
        float value = strtof(at, &end);
        if (end == at || !isfinite(value) || (*end && *end != ',') || count == SD_LORA_BLOCKS)
            return sd_fail(err, SD_E_ARGUMENT,
                           "block weights: expected 12, 17, 20 or 26 numbers with commas, found '%.200s'",
                           text);
        values[count++] = value;
        at = end;
        if (!*at)
            break;
    }
    const uint8_t *map = count == sizeof blocks_17   ? blocks_17
                         : count == sizeof blocks_12 ? blocks_12
                         : count == sizeof blocks_20 ? blocks_20
                                                     : NULL;
    if (!map && count != SD_LORA_BLOCKS)
        return sd_fail(err, SD_E_ARGUMENT, "block weights: expected 12, 17, 20 or 26 numbers, found %zu",
                       count);
    for (size_t i = 0; i < count; i++)
        strength->block[map ? map[i] : i] = values[i];
    return SD_OK;
}
