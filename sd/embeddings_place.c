/* Names of embeddings in tokenized prompts. */
#include "sd/embeddings.h"

#include <stdlib.h>
#include <string.h>

/* The embedding's name stands at the beginning of the tokens. */
static bool stands(const struct sd_embedding *x, int encoder, const sd_token *tokens, size_t count) {
    const sd_token_list *words = &x->words[encoder];
    if (!words->count || words->count > count)
        return false;
    for (size_t i = 0; i < words->count; i++)
        if (words->items[i].id != tokens[i].id)
            return false;
    return true;
}

/* Tokens of the longest name that stands there; 0 when none does. */
static size_t longest(const struct sd_embeddings *e, int encoder, const sd_token *tokens, size_t count) {
    size_t most = 0;
    for (size_t i = 0; i < e->count; i++)
        if (e->items[i].words[encoder].count > most && stands(&e->items[i], encoder, tokens, count))
            most = e->items[i].words[encoder].count;
    return most;
}

/* Of the embeddings called by these tokens, the one that fits the model: the request's, or that of the model
 * folder. *other is one that does not fit when none does; both are NULL when all is text. */
static sd_status choose(struct sd_embeddings *e, int encoder, const char *what, const sd_token *tokens,
                        size_t count, struct sd_embedding **out, struct sd_embedding **other, sd_error *err) {
    *out = *other = NULL;
    for (size_t i = 0; i < e->count; i++) {
        struct sd_embedding *x = &e->items[i];
        bool fits;
        if (x->words[encoder].count != count || !stands(x, encoder, tokens, count) ||
            (*out && (*out)->asked && !x->asked))
            continue;
        sd_status status = sd_embedding_open(x, e->model, &fits, err);
        if (status)
            return status;
        if (fits && *out)
            return sd_fail(err, SD_E_ARGUMENT, "%s: '%s' may be the embedding %s or %s; --embedding chooses",
                           what, x->name, (*out)->path, x->path);
        *(fits ? out : other) = x;
    }
    return SD_OK;
}

/* Appends its vectors to the rows behind the encoder's table, once. */
static sd_status use(struct sd_embeddings *e, struct sd_embedding *x, int encoder, sd_error *err) {
    struct sd_embedding_rows *rows = &e->rows[encoder];
    size_t width = e->model->text[encoder].config.hidden, old = rows->count * width,
           more = x->file.vectors * width;
    if (x->first[encoder] == SD_NOT_PLACED) {
        float *values = realloc(rows->values, (old + more) * sizeof *values);
        if (!values)
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        memcpy(values + old, sd_embedding_rows(x, encoder), more * sizeof *values);
        rows->values = values;
        x->first[encoder] = rows->count;
        rows->count += x->file.vectors;
    }
    if (!x->used)
        e->used[e->used_count++] = (uint32_t)(x - e->items);
    x->used = true;
    return SD_OK;
}

static sd_status put(struct sd_embeddings *e, struct sd_embedding *x, int encoder, sd_token_list *out,
                     sd_error *err) {
    uint32_t first = e->model->text[encoder].config.vocabulary;
    sd_status status = use(e, x, encoder, err);
    for (uint32_t i = 0; i < x->file.vectors && !status; i++)
        status =
            sd_token_list_add(out, (sd_token){first + x->first[encoder] + i, i ? SD_TOKEN_GLUED : 0}, err);
    return status;
}

/* What is named but cannot be used. */
static sd_status refuse(const struct sd_embeddings *e, const struct sd_embedding *x, const char *what,
                        sd_error *err) {
    sd_error cause;
    sd_status status = sd_embedding_does_not_fit(x, e->model, &cause);
    if (!e->lenient)
        return sd_fail(err, status, "%s: '%s' is an embedding: %.900s", what, x->name, cause.message);
    sd_log(&e->model->context->log, SD_LOG_WARNING, "%s: '%s' is read as text: %s", what, x->name,
           cause.message);
    return SD_OK;
}

sd_status sd_embeddings_place(struct sd_embeddings *e, int encoder, const char *what, sd_token_list *tokens,
                              sd_error *err) {
    sd_token_list out = {0};
    sd_status status = SD_OK;
    for (size_t at = 0; at < tokens->count && !status;) {
        struct sd_embedding *x = NULL, *other = NULL;
        size_t count = longest(e, encoder, tokens->items + at, tokens->count - at);
        if (count)
            status = choose(e, encoder, what, tokens->items + at, count, &x, &other, err);
        if (!status && other && !x)
            status = refuse(e, other, what, err);
        if (!status)
            status = x ? put(e, x, encoder, &out, err) : sd_token_list_add(&out, tokens->items[at], err);
        at += x ? count : 1;
    }
    if (status) {
        sd_token_list_clear(&out);
        return status;
    }
    sd_token_list_clear(tokens);
    *tokens = out;
    return SD_OK;
}
