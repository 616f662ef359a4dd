#include "vae/config.h"

#include <stdio.h>
#include <string.h>

/* Pairs of spellings of what lies inside one block. */
static const char *const inner[][2] = {
    {"norm1", "norm1"},
    {"conv1", "conv1"},
    {"norm2", "norm2"},
    {"conv2", "conv2"},
    {"conv_shortcut", "nin_shortcut"},
    {"group_norm", "norm"},
    {"to_q", "q"},
    {"to_k", "k"},
    {"to_v", "v"},
    {"to_out.0", "proj_out"},
};

/* Splits "norm1.weight" and translates its first part. */
static bool translate_inner(const char *rest, const char **layer, const char **suffix) {
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        size_t n = strlen(inner[i][0]);
        if (!strncmp(rest, inner[i][0], n) && rest[n] == '.') {
            *layer = inner[i][1];
            *suffix = rest + n;
            return true;
        }
    }
    return false;
}

static bool write_name(char *out, size_t size, const char *half, const char *block, const char *layer,
                       const char *suffix) {
    int n = snprintf(out, size, "%s.%s%s%s%s", half, block, *block && *layer ? "." : "", layer, suffix);
    return n > 0 && (size_t)n < size;
}

bool sd_vae_ldm_name(const struct sd_vae_config *config, const char *canonical, char *out, size_t size) {
    const char *dot = strchr(canonical, '.'), *layer, *suffix, *rest;
    char half[16], block[48];
    unsigned i, j;
    int used = 0;
    if (!strncmp(canonical, "quant_conv.", 11) || !strncmp(canonical, "post_quant_conv.", 16))
        return snprintf(out, size, "%s", canonical) < (int)size;
    if (!dot || dot - canonical != 7)
        return false;
    memcpy(half, canonical, 7);
    half[7] = 0;
    rest = dot + 1;
    if (!strncmp(rest, "conv_in.", 8) || !strncmp(rest, "conv_out.", 9))
        return write_name(out, size, half, rest, "", "");
    if (!strncmp(rest, "conv_norm_out.", 14))
        return write_name(out, size, half, "norm_out", "", rest + 13);
    if (sscanf(rest, "mid_block.resnets.%u.%n", &j, &used) == 1 && used)
        snprintf(block, sizeof block, "mid.block_%u", j + 1);
    else if (!strncmp(rest, "mid_block.attentions.0.", 23)) {
        used = 23;
        strcpy(block, "mid.attn_1");
    } else if (sscanf(rest, "down_blocks.%u.resnets.%u.%n", &i, &j, &used) == 2 && used)
        snprintf(block, sizeof block, "down.%u.block.%u", i, j);
    else if (sscanf(rest, "up_blocks.%u.resnets.%u.%n", &i, &j, &used) == 2 && used && i < config->levels)
        snprintf(block, sizeof block, "up.%u.block.%u", config->levels - 1 - i, j);
    else if (sscanf(rest, "down_blocks.%u.downsamplers.0.conv%n", &i, &used) == 1 && used) {
        snprintf(block, sizeof block, "down.%u.downsample.conv", i);
        return write_name(out, size, half, block, "", rest + used);
    } else if (sscanf(rest, "up_blocks.%u.upsamplers.0.conv%n", &i, &used) == 1 && used &&
               i < config->levels) {
        snprintf(block, sizeof block, "up.%u.upsample.conv", config->levels - 1 - i);
        return write_name(out, size, half, block, "", rest + used);
    } else
        return false;
    return translate_inner(rest + used, &layer, &suffix) && write_name(out, size, half, block, layer, suffix);
}

bool sd_vae_old_name(const char *canonical, char *out, size_t size) {
    static const char *const pairs[][2] = {
        {"to_q.", "query."}, {"to_k.", "key."}, {"to_v.", "value."}, {"to_out.0.", "proj_attn."}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *at = strstr(canonical, pairs[i][0]);
        if (at && strstr(canonical, "mid_block.attentions.")) {
            int n = snprintf(out, size, "%.*s%s%s", (int)(at - canonical), canonical, pairs[i][1],
                             at + strlen(pairs[i][0]));
            return n > 0 && (size_t)n < size;
        }
    }
    return false;
}
