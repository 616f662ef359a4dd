#include "sd/convert.h"

#include "sd/base/clock.h"
#include "sd/base/str.h"
#include "sd/io/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), n = strlen(ending);
    return length > n && !strcmp(text + length - n, ending);
}

/* What would only fail after all the work is refused before. */
static sd_status check(const sd_context *context, const sd_convert_params *p, bool *gguf, sd_error *err) {
    struct stat st;
    if (!p->model || !*p->model)
        return sd_fail(err, SD_E_ARGUMENT, "model: expected a file or folder, found none");
    if (!p->output || !*p->output)
        return sd_fail(err, SD_E_ARGUMENT, "output: expected the name of a file to write, found none");
    *gguf = ends_with(p->output, ".gguf");
    if (!*gguf && !ends_with(p->output, ".safetensors"))
        return sd_fail(err, SD_E_ARGUMENT,
                       "output: expected a name that ends in .safetensors or .gguf, found '%.500s'",
                       p->output);
    if (!lstat(p->output, &st))
        return sd_fail(err, SD_E_ARGUMENT, "output: '%.500s' exists, and is never replaced", p->output);
    if (errno != ENOENT && errno != ENOTDIR)
        return sd_fail(err, SD_E_ARGUMENT, "output: '%.500s' cannot be written: %s", p->output,
                       strerror(errno));
    if (p->lora_count && !context)
        return sd_fail(err, SD_E_ARGUMENT, "loras: expected a context, whose device merges them");
    return SD_OK;
}

/* The checkpoint alone, or where there are LoRAs to merge the model, whose weights stay in the file. */
static sd_status open_source(struct sd_conversion *c, sd_context *context, sd_model **model,
                             sd_checkpoint **alone, sd_error *err) {
    const sd_convert_params *p = c->params;
    const sd_model_options options = {.loras = p->loras, .lora_count = p->lora_count, .lenient = p->lenient};
    char *path = NULL;
    sd_status status;
    if (p->lora_count) {
        status = sd_model_describe(model, context, p->model, &options, err);
        c->files = status ? NULL : (*model)->files;
        return status;
    }
    status = sd_model_resolve(context ? context->models : p->models, p->model, &path, err);
    if (!status)
        status = sd_checkpoint_open(alone, path, NULL, err);
    free(path);
    c->files = *alone;
    return status;
}

/* Keys that fit nothing are refused unless `lenient`; then they are told. */
static void log_loras(const sd_context *context, const sd_model *model) {
    sd_lora_info lora;
    for (size_t i = 0; sd_model_lora(model, i, &lora); i++) {
        sd_log(&context->log, SD_LOG_INFO, "LoRA %s: %s, %u of %u modules", lora.name, lora.kinds,
               lora.matched, lora.modules);
        for (size_t k = 0; lora.unmatched[k]; k++)
            sd_log(&context->log, SD_LOG_WARNING, "LoRA %s: not used: %s", lora.name, lora.unmatched[k]);
    }
}

/* Texts as safetensors files hold them, which say by "format" how tensors are laid out. */
static sd_status text_metadata(struct sd_conversion *c, const sd_gguf_values *values, sd_file_metadata **out,
                               size_t *count, sd_error *err) {
    sd_file_metadata *list = sd_arena_array(&c->arena, values->count + 1, sizeof *list);
    bool ok = list, format = false;
    *count = 0;
    for (size_t i = 0; i < values->count && ok; i++) {
        const sd_gguf_value *v = &values->items[i];
        const char *text = (const char *)v->data;
        if (v->type != SD_GGUF_STRING || !strncmp(v->key, "general.", 8) || memchr(text, 0, v->bytes) ||
            !sd_utf8_valid(text, v->bytes))
            continue;
        format = format || !strcmp(v->key, "format");
        list[*count] = (sd_file_metadata){sd_arena_strdup(&c->arena, v->key),
                                          sd_arena_printf(&c->arena, "%.*s", (int)v->bytes, text)};
        ok = list[*count].key && list[*count].value;
        ++*count;
    }
    if (ok && !format)
        list[(*count)++] = (sd_file_metadata){"format", "pt"};
    *out = list;
    return ok ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

static sd_status write_file(struct sd_conversion *c, const sd_model *model, sd_error *err) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct sd_convert_values source = {
        .conversion = c, .began = sd_now(), .threads = cores > 0 ? (unsigned)cores : 1};
    const struct sd_tensor_producer producer = {&source, sd_convert_fill};
    sd_gguf_values values = {0};
    sd_file_metadata *texts;
    size_t count;
    sd_status status = sd_convert_metadata(c, model, &values, err);
    if (!status && c->gguf)
        status = sd_gguf_write(c->params->output, c->tensors, c->count, &values, &producer, err);
    else if (!status && !(status = text_metadata(c, &values, &texts, &count, err)))
        status =
            sd_safetensors_produce(c->params->output, c->tensors, c->count, texts, count, &producer, err);
    sd_gguf_values_clear(&values);
    free(source.whole);
    return status;
}

sd_status sd_convert(sd_context *context, const sd_convert_params *params, sd_convert_report **out,
                     sd_error *err) {
    struct sd_conversion c = {.params = params};
    sd_model *model = NULL;
    sd_checkpoint *alone = NULL;
    *out = NULL;
    sd_status status = check(context, params, &c.gguf, err);
    if (!status && !(status = open_source(&c, context, &model, &alone, err)))
        status = sd_convert_list(&c, err);
    if (!status && model && !(status = sd_convert_mark_edits(&c, model, err))) {
        log_loras(context, model);
        status = sd_editor_create(&c.editor, context->vk, err);
    }
    if (!status && !(status = sd_convert_choose(&c, err)) && !params->plan)
        status = write_file(&c, model, err);
    if (!status)
        status = sd_convert_summarise(&c, out, err);
    sd_editor_destroy(&c.editor);
    free(c.items);
    sd_arena_clear(&c.arena);
    sd_checkpoint_close(&alone);
    sd_model_close(&model);
    return status;
}
