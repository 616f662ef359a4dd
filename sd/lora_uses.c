#include "sd/lora_uses.h"

#include "lora/lora.h"
#include "sd/io/tensor_file.h"
#include "sd/library.h"

#include <stdlib.h>
#include <string.h>

static sd_status begin(struct sd_lora_uses *out, size_t count, bool lenient, sd_error *err) {
    *out = (struct sd_lora_uses){.lenient = lenient};
    out->items = sd_arena_array(&out->arena, count + 1, sizeof *out->items);
    out->names = sd_arena_array(&out->arena, count + 1, sizeof *out->names);
    if (out->items && out->names)
        return SD_OK;
    sd_lora_uses_clear(out);
    return sd_fail(err, SD_E_MEMORY, "out of memory");
}

void sd_lora_uses_clear(struct sd_lora_uses *uses) {
    sd_arena_clear(&uses->arena);
    *uses = (struct sd_lora_uses){0};
}

/* `use` gives the strengths, `path` (which is freed) the file. */
static sd_status add(struct sd_lora_uses *out, const sd_lora_use *use, char *path, const char *name,
                     sd_error *err) {
    sd_lora_use *u = &out->items[out->count];
    *u = *use;
    u->path = sd_arena_strdup(&out->arena, path);
    u->blocks = use->blocks ? sd_arena_strdup(&out->arena, use->blocks) : NULL;
    out->names[out->count] = sd_arena_strdup(&out->arena, name);
    bool ok = u->path && out->names[out->count] && (u->blocks || !use->blocks);
    out->count++;
    free(path);
    return ok ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

sd_status sd_lora_uses_copy(struct sd_lora_uses *out, const sd_context *context, const sd_lora_use *uses,
                            size_t count, bool lenient, sd_error *err) {
    sd_status status = begin(out, count, lenient, err);
    for (size_t i = 0; i < count && !status; i++) {
        char *path = NULL, name[256];
        if (!uses[i].path || !*uses[i].path)
            status =
                sd_fail(err, SD_E_ARGUMENT, "loras: expected the path or the name of a file, found none");
        else
            status = sd_library_resolve(context->models, SD_LIBRARY_LORA, uses[i].path, &path, err);
        if (!status) {
            sd_tensor_file_name(path, name, sizeof name);
            status = add(out, &uses[i], path, name, err);
        }
    }
    if (status)
        sd_lora_uses_clear(out);
    return status;
}

static sd_status add_tag(struct sd_lora_uses *out, const sd_context *context,
                         const struct sd_prompt_lora *tag, sd_error *err) {
    const sd_lora_use use = {.unet = tag->unet, .text = tag->text, .blocks = tag->blocks};
    struct sd_lora_strength strength;
    sd_error cause = {0};
    char *path = NULL;
    sd_lora_strength_init(&strength, 1, 1);
    sd_status status = tag->blocks ? sd_lora_parse_blocks(&strength, tag->blocks, &cause) : SD_OK;
    bool found =
        !status && !(status = sd_library_find(context->models, SD_LIBRARY_LORA, tag->name, &path, &cause));
    if (found)
        return add(out, &use, path, tag->name, err);
    if (status != SD_E_NOT_FOUND || !out->lenient)
        return sd_fail(err, status, "prompt: column %u: %.900s", tag->column, cause.message);
    sd_log(&context->log, SD_LOG_WARNING, "prompt: column %u: %s; the tag is ignored", tag->column,
           cause.message);
    return SD_OK;
}

sd_status sd_lora_uses_read(struct sd_lora_uses *out, const sd_context *context,
                            const struct sd_prompt *prompt, bool lenient, sd_error *err) {
    sd_status status = begin(out, prompt->lora_count, lenient, err);
    for (uint32_t i = 0; i < prompt->lora_count && !status; i++)
        status = add_tag(out, context, &prompt->loras[i], err);
    if (status)
        sd_lora_uses_clear(out);
    return status;
}
