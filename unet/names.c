#include "unet/names.h"

#include <stdio.h>
#include <string.h>

struct pair {
    const char *canonical, *ldm;
};

/* Modules outside the blocks. */
static const struct pair outer[] = {
    {"conv_in", "input_blocks.0.0"},
    {"time_embedding.linear_1", "time_embed.0"},
    {"time_embedding.linear_2", "time_embed.2"},
    {"time_embedding.cond_proj", "time_embed.cond_proj"},
    {"add_embedding.linear_1", "label_emb.0.0"},
    {"add_embedding.linear_2", "label_emb.0.2"},
    {"mid_block.attentions.0", "middle_block.1"},
    {"conv_norm_out", "out.0"},
    {"conv_out", "out.2"},
};

/* Modules of a resnet. */
static const struct pair resnet[] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"},
};

enum { OUTER = sizeof outer / sizeof *outer, RESNET = sizeof resnet / sizeof *resnet };

/* The rest of `name` behind `head` when it goes on with a dot or ends there, else NULL. */
static const char *behind(const char *name, const char *head) {
    size_t size = strlen(head);
    return !strncmp(name, head, size) && (name[size] == '.' || !name[size]) ? name + size : NULL;
}

static bool put(char *buffer, size_t size, const char *head, const char *rest) {
    int length = snprintf(buffer, size, "%s%s", head, rest);
    return length >= 0 && (size_t)length < size;
}

/* "HEAD" + translated resnet module + rest; `rest` starts with a dot or is empty (the resnet itself). */
static bool put_resnet(char *buffer, size_t size, const char *head, const char *rest, bool to_ldm) {
    if (!*rest)
        return put(buffer, size, head, rest);
    for (size_t i = 0; i < RESNET; i++) {
        const char *tail = behind(rest + 1, to_ldm ? resnet[i].canonical : resnet[i].ldm);
        char joined[64];
        if (tail && put(joined, sizeof joined, head, ".") &&
            put(joined + strlen(joined), sizeof joined - strlen(joined),
                to_ldm ? resnet[i].ldm : resnet[i].canonical, ""))
            return put(buffer, size, joined, tail);
    }
    return false;
}

/* Reads a number without leading zeros; NULL when there is none or it is above 999. */
static const char *number(const char *text, uint32_t *out) {
    uint32_t value = 0, digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 4; digits++)
        value = 10 * value + (uint32_t)(text[digits] - '0');
    *out = value;
    return digits && digits < 4 && (text[0] != '0' || digits == 1) ? text + digits : NULL;
}

/* Modules of input_blocks before those of a level: the first convolution, then each level's resnets and its
 * downsampling. */
static uint32_t first_input(const struct sd_unet_config *c, uint32_t level) {
    uint32_t first = 1;
    for (uint32_t i = 0; i < level; i++)
        first += c->layers[i] + 1;
    return first;
}

static uint32_t up_layers(const struct sd_unet_config *c, uint32_t block) {
    return c->layers[c->levels - 1 - block] + 1;
}

static uint32_t first_output(const struct sd_unet_config *c, uint32_t block) {
    uint32_t first = 0;
    for (uint32_t i = 0; i < block; i++)
        first += up_layers(c, i);
    return first;
}

/* The two numbers of "resnets.J" and the like: part name, index, rest. */
static const char *part_of(const char *text, const char *part, uint32_t *index) {
    const char *rest = behind(text, part);
    rest = rest && *rest ? number(rest + 1, index) : NULL;
    return rest && (!*rest || *rest == '.') ? rest : NULL;
}

static bool block_to_ldm(const struct sd_unet_config *c, bool down, const char *name, char *buffer,
                         size_t size) {
    uint32_t block, j;
    const char *inner = number(name, &block), *rest;
    char head[64];
    if (!inner || *inner++ != '.' || block >= c->levels)
        return false;
    const char *way = down ? "input_blocks" : "output_blocks";
    uint32_t first = down ? first_input(c, block) : first_output(c, block);
    uint32_t last = down ? first + c->layers[block] : first + up_layers(c, block) - 1;
    if ((rest = part_of(inner, "resnets", &j))) {
        snprintf(head, sizeof head, "%s.%u.0", way, first + j);
        return put_resnet(buffer, size, head, rest, true);
    }
    if ((rest = part_of(inner, "attentions", &j))) {
        snprintf(head, sizeof head, "%s.%u.1", way, first + j);
        return put(buffer, size, head, rest);
    }
    if ((rest = part_of(inner, down ? "downsamplers" : "upsamplers", &j)) && !j) {
        if (*rest && !(rest = behind(rest, ".conv")))
            return false;
        uint32_t place = !down && c->up_depth[block][up_layers(c, block) - 1] ? 2 : 1;
        if (down)
            snprintf(head, sizeof head, "%s.%u.0.op", way, last);
        else
            snprintf(head, sizeof head, "%s.%u.%u.conv", way, last, place);
        return put(buffer, size, head, rest);
    }
    return false;
}

bool sd_unet_ldm_name(const struct sd_unet_config *c, const char *name, char *buffer, size_t size) {
    const char *rest;
    uint32_t j;
    for (size_t i = 0; i < OUTER; i++)
        if ((rest = behind(name, outer[i].canonical)))
            return put(buffer, size, outer[i].ldm, rest);
    if ((rest = behind(name, "down_blocks")) && *rest)
        return block_to_ldm(c, true, rest + 1, buffer, size);
    if ((rest = behind(name, "up_blocks")) && *rest)
        return block_to_ldm(c, false, rest + 1, buffer, size);
    if ((rest = behind(name, "mid_block")) && *rest && (rest = part_of(rest + 1, "resnets", &j)) && j < 2)
        return put_resnet(buffer, size, j ? "middle_block.2" : "middle_block.0", rest, true);
    return false;
}

/* input_blocks.INDEX.PLACE, rest behind it. */
static bool input_to_canonical(const struct sd_unet_config *c, uint32_t index, uint32_t place,
                               const char *rest, char *buffer, size_t size) {
    char head[64];
    for (uint32_t i = 0; i < c->levels; i++) {
        uint32_t first = first_input(c, i), j = index - first;
        if (index < first || j > c->layers[i])
            continue;
        if (j == c->layers[i]) {
            const char *tail = behind(rest, ".op");
            snprintf(head, sizeof head, "down_blocks.%u.downsamplers.0.conv", i);
            return i + 1 < c->levels && !place && tail && put(buffer, size, head, tail);
        }
        snprintf(head, sizeof head, "down_blocks.%u.%s.%u", i, place ? "attentions" : "resnets", j);
        if (place)
            return place == 1 && c->down_depth[i][j] && put(buffer, size, head, rest);
        return put_resnet(buffer, size, head, rest, false);
    }
    return false;
}

static bool output_to_canonical(const struct sd_unet_config *c, uint32_t index, uint32_t place,
                                const char *rest, char *buffer, size_t size) {
    char head[64];
    for (uint32_t i = 0; i < c->levels; i++) {
        uint32_t first = first_output(c, i), count = up_layers(c, i), j = index - first;
        if (index < first || j >= count)
            continue;
        if (!place) {
            snprintf(head, sizeof head, "up_blocks.%u.resnets.%u", i, j);
            return put_resnet(buffer, size, head, rest, false);
        }
        bool attends = c->up_depth[i][j];
        if (attends && place == 1) {
            snprintf(head, sizeof head, "up_blocks.%u.attentions.%u", i, j);
            return put(buffer, size, head, rest);
        }
        const char *tail = behind(rest, ".conv");
        snprintf(head, sizeof head, "up_blocks.%u.upsamplers.0.conv", i);
        return place == 1u + attends && j + 1 == count && i + 1 < c->levels && tail &&
               put(buffer, size, head, tail);
    }
    return false;
}

bool sd_unet_canonical_name(const struct sd_unet_config *c, const char *name, char *buffer, size_t size) {
    const char *rest, *tail;
    uint32_t index, place;
    for (size_t i = 0; i < OUTER; i++)
        if ((rest = behind(name, outer[i].ldm)))
            return put(buffer, size, outer[i].canonical, rest);
    if ((rest = part_of(name, "middle_block", &index)))
        return (!index || index == 2) &&
               put_resnet(buffer, size, index ? "mid_block.resnets.1" : "mid_block.resnets.0", rest, false);
    bool down = (rest = part_of(name, "input_blocks", &index)) != NULL;
    if (!down)
        rest = part_of(name, "output_blocks", &index);
    if (!rest || !*rest || !(tail = number(rest + 1, &place)) || (*tail && *tail != '.'))
        return false;
    return down ? input_to_canonical(c, index, place, tail, buffer, size)
                : output_to_canonical(c, index, place, tail, buffer, size);
}

static bool find_ldm(void *user, const char *name, struct sd_raw *out) {
    const struct sd_unet_ldm *ldm = user;
    char buffer[256];
    const char *prefix = ldm->prefix ? ldm->prefix : SD_UNET_LDM_PREFIX;
    size_t length = strlen(prefix);
    if (length >= sizeof buffer)
        return false;
    memcpy(buffer, prefix, length);
    return sd_unet_ldm_name(ldm->config, name, buffer + length, sizeof buffer - length) &&
           ldm->file->find(ldm->file->user, buffer, out);
}

struct sd_weight_source sd_unet_ldm_source(struct sd_unet_ldm *ldm) {
    return (struct sd_weight_source){.label = ldm->file->label, .user = ldm, .find = find_ldm};
}
