#include "sd/context.h"

#include "sd/library.h"
#include "sd/nn/self_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *sd_version(void) {
    return SD_VERSION;
}

static const char *kind_name(sd_vk_kind kind) {
    static const char *const names[] = {
        [SD_VK_OTHER] = "other",       [SD_VK_INTEGRATED] = "integrated",
        [SD_VK_DISCRETE] = "discrete", [SD_VK_VIRTUAL] = "virtual",
        [SD_VK_CPU] = "cpu",
    };
    return names[kind];
}

static void describe(const struct sd_vk_info *info, sd_device *out) {
    *out = (sd_device){.kind = kind_name(info->kind),
                       .memory = info->memory,
                       .subgroup_min = info->subgroup_min,
                       .subgroup_max = info->subgroup_max,
                       .f16_arithmetic = info->f16_arithmetic,
                       .f16_storage = info->f16_storage,
                       .coop_matrix = info->coop.m > 0};
    memcpy(out->name, info->name, sizeof out->name);
    memcpy(out->driver, info->driver, sizeof out->driver);
    memcpy(out->uuid, info->uuid, sizeof out->uuid);
}

sd_status sd_devices(sd_device *out, size_t capacity, size_t *count, sd_error *err) {
    struct sd_vk_info *infos = calloc(capacity + 1, sizeof *infos);
    if (!infos)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = sd_vk_list(infos, capacity, count, err);
    for (size_t i = 0; !status && i < capacity && i < *count; i++)
        describe(&infos[i], &out[i]);
    free(infos);
    return status;
}

/* The XDG Base Directory Specification's. */
bool sd_default_cache_dir(char *out, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = cache && cache[0] == '/' ? snprintf(out, size, "%s/sdvk", cache)
            : home && home[0] == '/' ? snprintf(out, size, "%s/.cache/sdvk", home)
                                     : -1;
    return n > 0 && (size_t)n < size;
}

sd_status sd_context_create(sd_context **out, const sd_context_options *options, sd_error *err) {
    static const sd_context_options defaults;
    char cache[4096];
    options = options ? options : &defaults;
    *out = NULL;
    sd_context *context = calloc(1, sizeof *context);
    if (!context)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    context->log = options->log;
    const char *folder = options->cache_dir;
    if (!folder)
        folder = sd_default_cache_dir(cache, sizeof cache) ? cache : NULL;
    const struct sd_vk_options vk = {.device = options->device,
                                     .cache_dir = folder,
                                     .validation = options->validation,
                                     .log = options->log};
    sd_status status = sd_hash_cache_create(&context->hashes, folder, &options->log, err);
    if (!status && options->models)
        status = sd_library_check(options->models, err);
    if (!status && options->models && !(context->models = strdup(options->models)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        status = sd_vk_open(&context->vk, &vk, err);
    if (!status)
        status = sd_self_test(context->vk, err);
    if (status)
        sd_context_destroy(&context);
    *out = context;
    return status;
}

void sd_context_destroy(sd_context **context) {
    if (!*context)
        return;
    sd_vk_close(&(*context)->vk);
    sd_hash_cache_destroy(&(*context)->hashes);
    free((*context)->models);
    free(*context);
    *context = NULL;
}

void sd_context_device(const sd_context *context, sd_device *out) {
    describe(sd_vk_info(context->vk), out);
}

uint32_t sd_context_validation_messages(const sd_context *context) {
    return sd_vk_validation_messages(context->vk);
}
