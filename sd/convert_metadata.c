/* What a converted file says about itself. */
#include "sd/convert.h"

#include "sd/base/str.h"
#include "sd/checkpoint_metadata.h"

#include <string.h>

/* GGUF readers, ours too, take longer texts for binary data. */
enum { longest_gguf_text = 1 << 16 };

static const char loras_key[] = "sdvk.loras", architecture_key[] = "general.architecture";

static bool begins(const char *text, const char *prefix) {
    return !strncmp(text, prefix, strlen(prefix));
}

/* What would be wrong of the new file: its types, shapes and hashes are others. */
static bool is_outdated(const char *key) {
    static const char *const keys[] = {"general.quantization_version",
                                       "general.file_type",
                                       "modelspec.hash_sha256",
                                       "sshs_model_hash",
                                       "sshs_legacy_hash",
                                       loras_key};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return begins(key, "comfy.gguf.");
}

static void add_source(const struct sd_conversion *c, sd_gguf_values *out) {
    const sd_tensor_file *file = c->files->files[0];
    const sd_gguf *gguf = sd_tensor_file_gguf(file);
    size_t count = sd_tensor_file_metadata_count(file);
    for (size_t i = 0; i < count; i++) {
        const sd_file_metadata *m = sd_tensor_file_metadata_at(file, i);
        if (is_outdated(m->key))
            continue;
        if (gguf)
            sd_gguf_add(out, sd_gguf_value_at(gguf, i));
        else if (*m->key)
            sd_gguf_add_string(out, m->key, m->value);
    }
}

static sd_status add_folder(const struct sd_conversion *c, sd_gguf_values *out, sd_error *err) {
    sd_file_metadata configs[SD_CHECKPOINT_METADATA];
    size_t count;
    sd_status status = sd_checkpoint_metadata(c->files, configs, &count, err);
    for (size_t i = 0; i < count && !status; i++) {
        if (c->gguf && strlen(configs[i].value) > longest_gguf_text)
            status =
                sd_fail(err, SD_E_UNSUPPORTED,
                        "%s: its tokenizer is not CLIP's own, and with %zu bytes too long for GGUF files; "
                        "safetensors files can hold it",
                        c->files->path, strlen(configs[i].value));
        sd_gguf_add_string(out, configs[i].key, configs[i].value);
    }
    return status;
}

/* "acme:0.8:0.5, style:1:1", behind what was merged before. */
static void add_loras(const struct sd_conversion *c, const sd_model *model, sd_gguf_values *out) {
    const char *before = c->files->folder ? NULL : sd_tensor_file_metadata(c->files->files[0], loras_key);
    sd_lora_info lora;
    sd_str text = {0};
    sd_str_append(&text, before ? before : "");
    for (size_t i = 0; model && sd_model_lora(model, i, &lora); i++)
        sd_str_printf(&text, "%s%s:%g:%g", text.size ? ", " : "", lora.name, (double)lora.unet,
                      (double)lora.text);
    if (text.size && !text.failed)
        sd_gguf_add_string(out, loras_key, text.text);
    out->failed = out->failed || text.failed;
    sd_str_clear(&text);
}

sd_status sd_convert_metadata(const struct sd_conversion *c, const sd_model *model, sd_gguf_values *out,
                              sd_error *err) {
    const struct sd_checkpoint_part *unet = &c->files->part[SD_PART_UNET];
    struct sd_raw raw;
    bool named = false;
    sd_status status = SD_OK;
    if (c->files->folder)
        status = add_folder(c, out, err);
    else
        add_source(c, out);
    add_loras(c, model, out);
    for (size_t i = 0; i < out->count; i++)
        named = named || !strcmp(out->items[i].key, architecture_key);
    if (c->gguf && !named) /* as ComfyUI-GGUF calls them; SD 2 goes as SD 1 there */
        sd_gguf_add_string(
            out, architecture_key,
            unet->source.find(unet->source.user, "add_embedding.linear_1.weight", &raw) ? "sdxl" : "sd1");
    if (!status && out->failed)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    return status;
}
