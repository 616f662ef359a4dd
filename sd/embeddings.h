/* Textual inversions of one request: which words of its prompts are embeddings, and their vectors. Internal
 * to the sd room. */
#ifndef SD_EMBEDDINGS_H
#define SD_EMBEDDINGS_H

#include "clip/inversion.h"
#include "clip/tokenizer.h"
#include "sd/base/arena.h"
#include "sd/io/file.h"
#include "sd/library.h"
#include "sd/model.h"

#define SD_NOT_PLACED UINT32_MAX

/* A file whose name may stand in a prompt. */
struct sd_embedding {
    const char *name, *path;
    bool asked; /* by the request, and not only found in the model folder */
    bool opened, used;
    sd_inversion file;
    sd_token_list words[2]; /* [encoder]: tokens of the name */
    uint32_t first[2];      /* [encoder]: row of its first vector, SD_NOT_PLACED before it is used there */
    char sha256[SD_SHA256_HEX];
};

/* Rows behind an encoder's token table. */
struct sd_embedding_rows {
    float *values; /* [count][hidden] */
    uint32_t count;
};

/* {0} is empty; owns all that it holds. */
struct sd_embeddings {
    sd_arena arena;
    const sd_model *model;
    bool lenient;
    struct sd_embedding *items;
    size_t count;
    uint32_t *used; /* [used_count]: indices of the items, in the order of their first use */
    size_t used_count;
    struct sd_embedding_rows rows[2]; /* [encoder] */
};

/* Finds the request's embeddings, which are opened and must fit the model, and those of the model folder,
 * which are not opened before a prompt has their name. Nothing is left behind after a failure. */
sd_status sd_embeddings_find(struct sd_embeddings *out, const sd_model *model, const sd_params *params,
                             sd_error *err);

/* Puts vectors in place of names in the tokens of a text ("prompt", "negative_prompt") for an encoder: tokens
 * from the encoder's vocabulary on, glued together. As in A1111, a name is its tokens wherever they stand,
 * the one of most tokens first. An embedding that is named but does not fit the model is an error, or with
 * the request's `lenient` a warning, and the name stays text. */
sd_status sd_embeddings_place(struct sd_embeddings *e, int encoder, const char *what, sd_token_list *tokens,
                              sd_error *err);

/* Says in the log which of the request's embeddings no prompt named. */
void sd_embeddings_report(const struct sd_embeddings *e);

/* Opens the file; *fits is whether it can be used with the model. Errors of sd_inversion_open. */
sd_status sd_embedding_open(struct sd_embedding *x, const sd_model *model, bool *fits, sd_error *err);
/* Says what the model's embeddings are like and what the opened file is; returns SD_E_UNSUPPORTED. */
sd_status sd_embedding_does_not_fit(const struct sd_embedding *x, const sd_model *model, sd_error *err);
/* The rows of the file that an encoder reads, [vectors][its hidden width]. */
const float *sd_embedding_rows(const struct sd_embedding *x, int encoder);

void sd_embeddings_clear(struct sd_embeddings *e);

#endif
