#include "sd/embeddings.h"

#include "sd/io/tensor_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sd_status out_of_memory(sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "out of memory");
}

/* ---- which files fit a model ---- */

/* Of a pair each encoder has its own part, also the refiner, which has only the second one. */
static int part_of(const sd_inversion *file, int encoder) {
    return file->encoders == 2 ? encoder : 0;
}

const float *sd_embedding_rows(const struct sd_embedding *x, int encoder) {
    return x->file.rows[part_of(&x->file, encoder)];
}

/* As in A1111, a pair is for SDXL alone, though CLIP-L is SD 1's encoder too. */
static bool is_for(const sd_inversion *file, const sd_model *m) {
    bool pair = file->encoders == 2;
    if (m->text[0].present && pair != m->text[1].present)
        return false;
    for (int e = 0; e < 2; e++)
        if (m->text[e].present && file->width[part_of(file, e)] != m->text[e].config.hidden)
            return false;
    return true;
}

static void put_widths(char *out, size_t size, uint32_t encoders, const uint32_t *width) {
    if (encoders == 2)
        snprintf(out, size, "clip_l of width %u and clip_g of width %u", width[0], width[1]);
    else
        snprintf(out, size, "vectors of width %u", width[0]);
}

sd_status sd_embedding_does_not_fit(const struct sd_embedding *x, const sd_model *m, sd_error *err) {
    char expected[80], found[80];
    uint32_t width[2] = {0}, encoders = 0;
    for (int e = 0; e < 2; e++)
        if (m->text[e].present)
            width[encoders++] = m->text[e].config.hidden;
    put_widths(expected, sizeof expected, encoders, width);
    put_widths(found, sizeof found, x->file.encoders, x->file.width);
    return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected %s for this model, found %s", x->path, expected,
                   found);
}

sd_status sd_embedding_open(struct sd_embedding *x, const sd_model *model, bool *fits, sd_error *err) {
    sd_status status = x->opened ? SD_OK : sd_inversion_open(&x->file, x->path, err);
    x->opened = !status;
    *fits = !status && is_for(&x->file, model);
    return status;
}

/* ---- which files there are ---- */

static sd_status add(struct sd_embeddings *e, const char *name, const char *path, bool asked, sd_error *err) {
    struct sd_embedding *x = &e->items[e->count];
    *x = (struct sd_embedding){.name = sd_arena_strdup(&e->arena, name),
                               .path = sd_arena_strdup(&e->arena, path),
                               .asked = asked,
                               .first = {SD_NOT_PLACED, SD_NOT_PLACED}};
    e->count++;
    if (!x->name || !x->path)
        return out_of_memory(err);
    for (int i = 0; i < 2; i++)
        if (e->model->text[i].present) {
            sd_status status =
                sd_tokenizer_encode(e->model->text[i].tokenizer, x->name, strlen(x->name), &x->words[i], err);
            if (status)
                return status;
        }
    return SD_OK;
}

static sd_status add_asked(struct sd_embeddings *e, const char *word, sd_error *err) {
    char name[256], *path = NULL;
    bool fits;
    if (!word || !*word)
        return sd_fail(err, SD_E_ARGUMENT, "embeddings: expected the path or the name of a file, found none");
    sd_status status = sd_library_resolve(e->model->context->models, SD_LIBRARY_EMBEDDING, word, &path, err);
    if (status)
        return status;
    sd_tensor_file_name(path, name, sizeof name);
    if (!(status = add(e, name, path, true, err))) {
        struct sd_embedding *x = &e->items[e->count - 1];
        status = sd_embedding_open(x, e->model, &fits, err);
        if (!status && !fits)
            status = sd_embedding_does_not_fit(x, e->model, err);
    }
    free(path);
    return status;
}

static sd_status add_found(struct sd_embeddings *e, const sd_library *library, sd_error *err) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < sd_library_count(library) && !status; i++) {
        const sd_library_file *f = sd_library_at(library, i);
        status = add(e, sd_library_stem(f->name), f->path, false, err);
    }
    return status;
}

sd_status sd_embeddings_find(struct sd_embeddings *out, const sd_model *model, const sd_params *params,
                             sd_error *err) {
    const char *folder = model->context->models;
    sd_library *library = NULL;
    *out = (struct sd_embeddings){.model = model, .lenient = params->lenient};
    sd_status status = folder ? sd_library_scan(&library, folder, SD_LIBRARY_EMBEDDING, err) : SD_OK;
    if (status)
        return status;
    size_t most = params->embedding_count + (library ? sd_library_count(library) : 0) + 1;
    out->items = sd_arena_array(&out->arena, most, sizeof *out->items);
    out->used = sd_arena_array(&out->arena, most, sizeof *out->used);
    if (!out->items || !out->used)
        status = out_of_memory(err);
    for (size_t i = 0; i < params->embedding_count && !status; i++)
        status = add_asked(out, params->embeddings[i], err);
    if (!status && library)
        status = add_found(out, library, err);
    sd_library_close(&library);
    if (status)
        sd_embeddings_clear(out);
    return status;
}

void sd_embeddings_report(const struct sd_embeddings *e) {
    for (size_t i = 0; i < e->count; i++)
        if (e->items[i].asked && !e->items[i].used)
            sd_log(&e->model->context->log, SD_LOG_WARNING,
                   "%s: the embedding is not used, as no prompt holds its name, '%s'", e->items[i].path,
                   e->items[i].name);
}

void sd_embeddings_clear(struct sd_embeddings *e) {
    for (size_t i = 0; i < e->count; i++) {
        sd_inversion_clear(&e->items[i].file);
        sd_token_list_clear(&e->items[i].words[0]);
        sd_token_list_clear(&e->items[i].words[1]);
    }
    free(e->rows[0].values);
    free(e->rows[1].values);
    sd_arena_clear(&e->arena);
    *e = (struct sd_embeddings){0};
}
