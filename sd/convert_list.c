/* The tensors of the file to be. */
#include "sd/convert.h"

#include "sd/base/values.h"
#include "sd/convert_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* stable-diffusion.cpp and ComfyUI-GGUF can read no longer ones; ggml alone stops at 63. */
enum { longest_gguf_name = 127 };

static sd_status out_of_memory(sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "out of memory");
}

static struct sd_raw raw_of(const sd_file_tensor *t) {
    struct sd_raw raw = {
        .dtype = sd_file_dtype_base(t->dtype), .rank = t->rank, .data = t->data, .bytes = t->bytes};
    memcpy(raw.shape, t->shape, sizeof raw.shape);
    return raw;
}

/* ---- what a tensor is ---- */

static bool holds(const char *name, const char *const *words) {
    for (; *words; words++)
        if (strstr(name, *words))
            return true;
    return false;
}

static sd_convert_kind kind_of(const sd_file_tensor *t) {
    static const char *const embedding[] = {"token_embedding",
                                            "position_embedding",
                                            "positional_embedding",
                                            "time_embed",
                                            "add_embedding",
                                            "label_emb",
                                            NULL};
    static const char *const attention[] = {".attn", "_attn", NULL};
    static const char *const feed_forward[] = {".ff.", ".mlp.", NULL};
    if (t->rank < 2)
        return CONVERT_VECTOR;
    if (holds(t->name, embedding))
        return CONVERT_EMBEDDING;
    if (t->rank > 2 && t->shape[2] * t->shape[t->rank - 1] > 1)
        return CONVERT_CONVOLUTION;
    if (holds(t->name, attention))
        return CONVERT_ATTENTION;
    return holds(t->name, feed_forward) ? CONVERT_FEED_FORWARD : CONVERT_LAYER;
}

static sd_part part_of(const sd_checkpoint *c, const char *name) {
    sd_part best = SD_PARTS;
    size_t longest = 0;
    for (int i = 0; i < SD_PARTS; i++) {
        const struct sd_checkpoint_part *p = &c->part[i];
        size_t length = p->file ? strlen(p->prefix) : 0;
        if (p->file && length >= longest && !strncmp(name, p->prefix, length)) {
            best = (sd_part)i;
            longest = length;
        }
    }
    return best;
}

/* ---- the list ---- */

static struct sd_convert_item *add(struct sd_conversion *c, const char *name, sd_part part,
                                   const sd_file_tensor *t) {
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 1024;
        struct sd_convert_item *items = realloc(c->items, capacity * sizeof *items);
        if (!items)
            return NULL;
        c->items = items;
        c->capacity = capacity;
    }
    struct sd_convert_item *item = &c->items[c->count];
    *item = (struct sd_convert_item){.out = *t, .from = t->dtype, .part = part, .asked = t->dtype};
    item->out.data = NULL;
    if (!(item->out.name = sd_arena_strdup(&c->arena, name)))
        return NULL;
    c->count++;
    item->kind = kind_of(&item->out);
    return item;
}

static sd_status list_file(struct sd_conversion *c, sd_error *err) {
    const sd_tensor_file *file = c->files->files[0];
    for (size_t i = 0; i < sd_tensor_file_count(file); i++) {
        const sd_file_tensor *t = sd_tensor_file_at(file, i);
        if (c->params->prune && !strncmp(t->name, "model_ema.", 10))
            continue;
        struct sd_convert_item *item = add(c, t->name, part_of(c->files, t->name), t);
        if (!item)
            return out_of_memory(err);
        item->piece[item->pieces++] = raw_of(t);
    }
    return SD_OK;
}

/* Adds a block of rows to a stacked tensor, which is among the last ones. */
static sd_status stack(struct sd_conversion *c, const struct sd_single_name *name, sd_part part,
                       const sd_file_tensor *t, const char *label, sd_error *err) {
    struct sd_convert_item *item = NULL;
    for (size_t i = c->count; i-- > 0 && !item;)
        if (!strcmp(c->items[i].out.name, name->text))
            item = &c->items[i];
    if (!item) {
        if (!(item = add(c, name->text, part, t)))
            return out_of_memory(err);
        item->pieces = CONVERT_PIECES;
        item->out.shape[0] *= CONVERT_PIECES;
    }
    const sd_file_tensor *out = &item->out;
    if (t->dtype != item->from || t->rank != out->rank || !t->rank ||
        t->shape[0] * CONVERT_PIECES != out->shape[0] ||
        (t->rank > 1 && memcmp(t->shape + 1, out->shape + 1, (t->rank - 1) * sizeof *t->shape)))
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: tensor %s: expected the type and shape of the other two of query, key and value, "
                       "with which single files stack it",
                       label, t->name);
    item->piece[name->third] = raw_of(t);
    return SD_OK;
}

/* Single files keep the VAE's attention as convolutions of one tap, and other programs want them so. */
static void add_taps(struct sd_convert_item *item) {
    if (item->part != SD_PART_VAE || item->out.rank != 2)
        return;
    item->out.rank = 4;
    item->out.shape[2] = item->out.shape[3] = 1;
}

static sd_status list_tensor(struct sd_conversion *c, sd_part part, const sd_file_tensor *t, sd_error *err) {
    const char *label = c->files->part[part].label;
    char canonical[256];
    struct sd_single_name name;
    if (!sd_folder_canonical_name(part, t->name, canonical, sizeof canonical))
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: tensor %s: its name is too long", label,
                       sd_show_name(t->name).text);
    if (!sd_single_name(c->files, part, canonical, &name)) {
        /* The numbers from 0 to 76, which OpenCLIP does not write down. */
        if (!strcmp(canonical, "embeddings.position_ids"))
            return SD_OK;
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: tensor %s has no name in single files", label,
                       sd_show_name(t->name).text);
    }
    if (name.third >= 0)
        return stack(c, &name, part, t, label, err);
    if (name.turned && (t->rank != 2 || !sd_dtype_real(sd_file_dtype_base(t->dtype))))
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: tensor %s: expected 2 dimensions of real numbers", label,
                       sd_show_name(t->name).text);
    struct sd_convert_item *item = add(c, name.text, part, t);
    if (!item)
        return out_of_memory(err);
    item->piece[item->pieces++] = raw_of(t);
    item->turned = name.turned;
    if (name.turned) {
        item->out.shape[0] = t->shape[1];
        item->out.shape[1] = t->shape[0];
    }
    add_taps(item);
    return SD_OK;
}

static sd_status list_folder(struct sd_conversion *c, sd_error *err) {
    sd_status status = sd_convert_read_configs(c->files, err);
    for (int part = 0; part < SD_PARTS && !status; part++) {
        const sd_tensor_file *file = c->files->part[part].file;
        size_t count = file ? sd_tensor_file_count(file) : 0;
        for (size_t i = 0; i < count && !status; i++)
            status = list_tensor(c, (sd_part)part, sd_tensor_file_at(file, i), err);
    }
    for (size_t i = 0; i < c->count && !status; i++)
        for (uint32_t k = 0; k < c->items[i].pieces && !status; k++)
            if (!c->items[i].piece[k].rank && c->items[i].pieces > 1)
                status = sd_fail(err, SD_E_FORMAT,
                                 "%s: one of query, key and value is missing, which single files stack as %s",
                                 c->files->path, c->items[i].out.name);
    return status;
}

static sd_status check_names(struct sd_conversion *c, sd_error *err) {
    c->tensors = sd_arena_array(&c->arena, c->count, sizeof *c->tensors);
    for (size_t i = 0; i < c->count && c->tensors; i++)
        c->tensors[i] = c->items[i].out;
    if (!c->tensors || !(c->by_name = sd_file_tensors_by_name(&c->arena, c->tensors, c->count)))
        return out_of_memory(err);
    for (size_t i = 0; i < c->count; i++) {
        if (i && !strcmp(c->by_name[i]->name, c->by_name[i - 1]->name))
            return sd_fail(err, SD_E_FORMAT, "%s: two tensors would be called %s", c->files->path,
                           c->by_name[i]->name);
        if (c->gguf && strlen(c->by_name[i]->name) > longest_gguf_name)
            return sd_fail(err, SD_E_UNSUPPORTED,
                           "%s: tensor %s: GGUF files hold names of at most %d bytes, found %zu",
                           c->files->path, sd_show_name(c->by_name[i]->name).text, longest_gguf_name,
                           strlen(c->by_name[i]->name));
    }
    return SD_OK;
}

sd_status sd_convert_list(struct sd_conversion *c, sd_error *err) {
    sd_status status = c->files->folder ? list_folder(c, err) : list_file(c, err);
    return status ? status : check_names(c, err);
}
