#include "lora/targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A spelling of a layer: dots and underscores are the same to all namings. */
struct spelling {
    const char *key;
    const struct sd_lora_target *target;
};

struct sd_lora_targets {
    sd_arena arena;
    struct spelling *spellings;
    uint32_t count, capacity;
    struct sd_lora_count all[SD_LORA_PARTS];
    uint32_t context; /* width of the text that cross-attention reads */
};

enum { longest_name = 256 };

/* What stands before a layer's name, dots written as underscores, and where it then is looked for. */
static const struct {
    const char *prefix;
    unsigned parts; /* bits of sd_lora_part */
} prefixes[] = {
    {"lora_unet_", 1u << SD_LORA_UNET},
    {"oft_unet_", 1u << SD_LORA_UNET},
    {"lora_te1_", 1u << SD_LORA_TEXT},
    {"lora_te2_", 1u << SD_LORA_TEXT_2},
    {"lora_te_", 1u << SD_LORA_TEXT | 1u << SD_LORA_TEXT_2},
    {"lycoris_", 7u},
    {"base_model_model_", 7u},
    {"model_diffusion_model_", 1u << SD_LORA_UNET},
    {"diffusion_model_", 1u << SD_LORA_UNET},
    {"unet_", 1u << SD_LORA_UNET},
    {"text_encoder_2_", 1u << SD_LORA_TEXT_2},
    {"text_encoder_", 1u << SD_LORA_TEXT},
    {"clip_l_", 1u << SD_LORA_TEXT},
    {"clip_g_", 1u << SD_LORA_TEXT_2},
    {"", 7u},
};

/* Keys begin with the part's digit. False when the name is too long. */
static bool flatten(char *out, sd_lora_part part, const char *name, size_t length) {
    if (length + 2 > longest_name)
        return false;
    out[0] = (char)('0' + (int)part);
    for (size_t i = 0; i < length; i++)
        out[1 + i] = name[i] == '.' ? '_' : name[i];
    out[1 + length] = 0;
    return true;
}

sd_status sd_lora_targets_create(sd_lora_targets **out, sd_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

void sd_lora_targets_destroy(sd_lora_targets **targets) {
    if (!*targets)
        return;
    sd_arena_clear(&(*targets)->arena);
    free((*targets)->spellings);
    free(*targets);
    *targets = NULL;
}

static bool add_spelling(sd_lora_targets *t, const struct sd_lora_target *target, const char *name) {
    char key[longest_name];
    if (t->count == t->capacity) {
        uint32_t capacity = t->capacity ? t->capacity * 2 : 1024;
        struct spelling *list = realloc(t->spellings, capacity * sizeof *list);
        if (!list)
            return false;
        t->spellings = list;
        t->capacity = capacity;
    }
    char *copy = flatten(key, target->part, name, strlen(name)) ? sd_arena_strdup(&t->arena, key) : NULL;
    if (copy)
        t->spellings[t->count++] = (struct spelling){copy, target};
    return copy;
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), n = strlen(ending);
    return length > n && !strcmp(text + length - n, ending);
}

/* Adds a layer under its name without ".weight", and under its other name where it has one. */
static bool add_layer(sd_lora_targets *t, const struct sd_lora_target *layer, const char *name,
                      bool (*ldm)(const void *user, const char *canonical, char *buffer, size_t size),
                      const void *user) {
    char other[longest_name];
    struct sd_lora_target *target = sd_arena_alloc(&t->arena, sizeof *target);
    char *module = target ? sd_arena_strdup(&t->arena, name) : NULL;
    if (!module)
        return false;
    module[strlen(module) - strlen(".weight")] = 0;
    *target = *layer;
    target->module = module;
    sd_lora_count_target(&t->all[layer->part], layer);
    if (ends_with(name, ".attn2.to_k.weight"))
        t->context = layer->c;
    if (!add_spelling(t, target, module))
        return false;
    if (!ldm || !ldm(user, module, other, sizeof other))
        return true;
    target->ldm = sd_arena_strdup(&t->arena, other);
    return target->ldm && add_spelling(t, target, target->ldm);
}

static bool has_tensor(const sd_weights *weights, size_t after, const char *module, size_t length) {
    const sd_weight *next = sd_weights_at(weights, after + 1);
    for (uint32_t i = 0; next && i < next->parts; i++)
        if (!strncmp(next->names[i], module, length) && !strcmp(next->names[i] + length, ".bias"))
            return true;
    return false;
}

sd_status sd_lora_targets_add(sd_lora_targets *t, sd_lora_part part, const sd_weights *weights,
                              const struct sd_weight_source *source,
                              bool (*ldm)(const void *user, const char *canonical, char *buffer, size_t size),
                              const void *user, sd_error *err) {
    for (size_t i = 0; i < sd_weights_count(weights); i++) {
        const sd_weight *w = sd_weights_at(weights, i);
        for (uint32_t k = 0; k < w->parts; k++) {
            const char *name = w->names[k];
            if (!ends_with(name, ".weight"))
                continue;
            struct sd_raw raw;
            const struct sd_lora_target layer = {
                .part = part,
                .n = w->n / w->parts,
                .c = w->c,
                .taps = w->kh * w->kw,
                .has_bias = has_tensor(weights, i, name, strlen(name) - strlen(".weight")),
                .convolution = source->find(source->user, name, &raw) && raw.rank == 4};
            if (!add_layer(t, &layer, name, ldm, user))
                return sd_fail(err, SD_E_MEMORY, "out of memory while naming the model's layers");
        }
    }
    return SD_OK;
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct spelling *)a)->key, ((const struct spelling *)b)->key);
}

sd_status sd_lora_targets_finish(sd_lora_targets *t, sd_error *err) {
    if (!t->count)
        return sd_fail(err, SD_E_INTERNAL, "the model has no layers that could be changed");
    qsort(t->spellings, t->count, sizeof *t->spellings, by_key);
    return SD_OK;
}

static const struct sd_lora_target *look_up(const sd_lora_targets *t, sd_lora_part part, const char *name,
                                            size_t length) {
    char key[longest_name];
    if (!flatten(key, part, name, length))
        return NULL;
    const struct spelling wanted = {key, NULL};
    const struct spelling *found = bsearch(&wanted, t->spellings, t->count, sizeof wanted, by_key);
    return found ? found->target : NULL;
}

struct sd_lora_count sd_lora_targets_count(const sd_lora_targets *t, sd_lora_part part) {
    return t->all[part];
}

uint32_t sd_lora_targets_context(const sd_lora_targets *t) {
    return t->context;
}

void sd_lora_count_target(struct sd_lora_count *count, const struct sd_lora_target *target) {
    if (target->c > 1)
        count->layers++;
    else
        count->norms++;
}

const struct sd_lora_target *sd_lora_targets_named(const sd_lora_targets *t, sd_lora_part part,
                                                   const char *module, size_t length) {
    return look_up(t, part, module, length);
}

/* Libraries write text encoders with and without the wrapper's name. */
static const struct sd_lora_target *look_up_text(const sd_lora_targets *t, sd_lora_part part,
                                                 const char *name) {
    static const char wrapper[] = "text_model_";
    const struct sd_lora_target *found = look_up(t, part, name, strlen(name));
    if (!found && !strncmp(name, wrapper, sizeof wrapper - 1))
        found = look_up(t, part, name + sizeof wrapper - 1, strlen(name) - (sizeof wrapper - 1));
    return found;
}

const struct sd_lora_target *sd_lora_targets_find(const sd_lora_targets *t, const char *module) {
    char flat[longest_name];
    if (!flatten(flat, SD_LORA_UNET, module, strlen(module)))
        return NULL;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i].prefix);
        if (strncmp(flat + 1, prefixes[i].prefix, n))
            continue;
        for (int part = 0; part < SD_LORA_PARTS; part++) {
            const struct sd_lora_target *found =
                prefixes[i].parts >> part & 1 ? look_up_text(t, (sd_lora_part)part, flat + 1 + n) : NULL;
            if (found)
                return found;
        }
    }
    return NULL;
}
