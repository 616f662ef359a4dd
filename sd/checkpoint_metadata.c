#include "sd/checkpoint_metadata.h"

#include "clip/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const char *const config_keys[SD_PARTS] = {[SD_PART_UNET] = "sdvk.unet",
                                                  [SD_PART_VAE] = "sdvk.vae",
                                                  [SD_PART_TEXT] = "sdvk.text_encoder",
                                                  [SD_PART_TEXT_2] = "sdvk.text_encoder_2"};
static const char scheduler_key[] = "sdvk.scheduler";
static const char *const vocabulary_keys[] = {"sdvk.tokenizer.vocab", "sdvk.tokenizer_2.vocab"};
static const char *const merges_keys[] = {"sdvk.tokenizer.merges", "sdvk.tokenizer_2.merges"};

/* "model.safetensors: sdvk.unet", for messages; the path alone where memory runs out. */
static const char *place_of(sd_checkpoint *c, const char *path, const char *key) {
    const char *text = sd_arena_printf(&c->arena, "%s: %s", path, key);
    return text ? text : path;
}

void sd_checkpoint_read_config(sd_checkpoint *c, struct sd_checkpoint_part *p) {
    const char *key = config_keys[p->part];
    p->config = key ? sd_tensor_file_metadata(p->file, key) : NULL;
    p->config_path = p->config ? place_of(c, p->source.label, key) : NULL;
}

static bool copy_bytes(const sd_tensor_file *file, const char *key, sd_bytes *out) {
    const char *text = sd_tensor_file_metadata(file, key);
    if (!text)
        return true;
    out->data = (uint8_t *)strdup(text);
    out->size = strlen(text);
    return out->data;
}

sd_status sd_checkpoint_read_metadata(sd_checkpoint *c, const sd_tensor_file *file, sd_error *err) {
    const char *scheduler = sd_tensor_file_metadata(file, scheduler_key);
    c->scheduler = scheduler;
    c->scheduler_path = scheduler ? place_of(c, c->path, scheduler_key) : NULL;
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++)
        ok = copy_bytes(file, vocabulary_keys[i], &c->vocabulary[i]) &&
             copy_bytes(file, merges_keys[i], &c->merges[i]);
    return ok ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

/* Whether the folder's tokenizer is another than CLIP's own. */
static sd_status is_special(const sd_checkpoint *c, int which, bool *out, sd_error *err) {
    const sd_bytes *vocabulary = &c->vocabulary[which], *merges = &c->merges[which];
    sd_tokenizer *theirs = NULL, *usual = NULL;
    *out = false;
    if (!vocabulary->data || !merges->data)
        return SD_OK;
    sd_status status =
        sd_tokenizer_create(&theirs, vocabulary->data, vocabulary->size, merges->data, merges->size, err);
    if (!status)
        status = sd_tokenizer_create_builtin(&usual, err);
    *out = !status && !sd_tokenizer_same(theirs, usual);
    sd_tokenizer_destroy(&theirs);
    sd_tokenizer_destroy(&usual);
    return status;
}

sd_status sd_checkpoint_metadata(const sd_checkpoint *c, sd_file_metadata out[SD_CHECKPOINT_METADATA],
                                 size_t *count, sd_error *err) {
    sd_status status = SD_OK;
    *count = 0;
    for (int i = 0; i < SD_PARTS; i++)
        if (c->part[i].config)
            out[(*count)++] = (sd_file_metadata){config_keys[i], c->part[i].config};
    if (c->scheduler)
        out[(*count)++] = (sd_file_metadata){scheduler_key, c->scheduler};
    for (int i = 0; i < 2 && !status; i++) {
        bool special;
        if ((status = is_special(c, i, &special, err)) || !special)
            continue;
        out[(*count)++] = (sd_file_metadata){vocabulary_keys[i], (const char *)c->vocabulary[i].data};
        out[(*count)++] = (sd_file_metadata){merges_keys[i], (const char *)c->merges[i].data};
    }
    return status;
}
