/* CLIP's tokenizer: text to token ids (byte-pair encoding, 49,408 entries), and token ids to chunks of 77.
 *
 * Same ids as CLIPTokenizer of transformers 5: the two special tokens are taken out of the raw text; the rest
 * is brought to NFC, lower-cased, split into words, and each word's bytes are merged by rank. See Radford et
 * al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, section 2.4. Characters
 * newer than the Unicode version of the linked utf8proc count as symbols without case. The only other
 * difference: several combining marks on one letter are put in that version's order, whereas transformers'
 * tables do not know marks newer than about Unicode 9. */
#ifndef CLIP_TOKENIZER_H
#define CLIP_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sd/base/status.h"

enum {
    SD_CHUNK_TOKENS = 75,                   /* tokens of a prompt in one chunk */
    SD_CHUNK_IDS = 77,                      /* with start and end: the length of the text encoder's context */
    SD_CHUNK_BACKTRACK = 20,                /* usual reach of a break after a comma */
    SD_TOKENIZER_MAX_TEXT = 1 << 20,        /* bytes of one text */
    SD_TOKENIZER_MAX_FILE = 4 << 20,        /* bytes of a vocab.json or merges.txt */
    SD_TOKENIZER_MAX_COMBINING_MARKS = 1024 /* in a row */
};

/* Immutable: one tokenizer may be used by several threads at once. */
typedef struct sd_tokenizer sd_tokenizer;

enum {
    SD_TOKEN_COMMA = 1, /* the token is "," and ends a word: a good place to break a long prompt */
    SD_TOKEN_GLUED = 2  /* belongs with the token before it (later vectors of a textual inversion): no break
                         * between them. Never set by sd_tokenizer_encode. */
};

typedef struct sd_token {
    uint32_t id;
    uint32_t flags; /* SD_TOKEN_... */
} sd_token;

/* {0} is valid and empty. Owned by the caller. */
typedef struct sd_token_list {
    sd_token *items; /* [count] */
    size_t count, capacity;
} sd_token_list;

/* CLIP's own vocabulary, which is part of the library. SD_E_MEMORY is the only failure. */
sd_status sd_tokenizer_create_builtin(sd_tokenizer **out, sd_error *err);

/* The vocab.json and merges.txt of a tokenizer folder, given as bytes that are not used after the call.
 * vocab.json: an object of n entries whose values are 0 ... n-1, each once; it must hold "<|startoftext|>"
 * and
 * "<|endoftext|>". merges.txt: an optional "#version" line, then two entries separated by one space a line,
 * in falling priority; each pair and its result must be in the vocabulary. Bytes without an entry encode as
 * the end-of-text token. SD_E_FORMAT for everything else, SD_E_MEMORY. *out is NULL after a failure. */
sd_status sd_tokenizer_create(sd_tokenizer **out, const void *vocab_json, size_t vocab_size,
                              const void *merges_txt, size_t merges_size, sd_error *err);

/* NULL-safe, also for *tokenizer; sets *tokenizer to NULL. */
void sd_tokenizer_destroy(sd_tokenizer **tokenizer);

/* Whether two tokenizers encode every text alike: the same ids for bytes, and the same merges. */
bool sd_tokenizer_same(const sd_tokenizer *a, const sd_tokenizer *b);

uint32_t sd_tokenizer_entries(const sd_tokenizer *tokenizer); /* every id is below this */
uint32_t sd_tokenizer_start(const sd_tokenizer *tokenizer);   /* id of <|startoftext|> */
uint32_t sd_tokenizer_end(const sd_tokenizer *tokenizer);     /* id of <|endoftext|>, CLIP-L's padding */

/* Appends the tokens of `text` (UTF-8, may hold NULs) to the list, without start, end and padding. At most
 * one token per byte after normalisation. SD_E_ARGUMENT: not UTF-8, too long, or too many combining marks in
 * a row; SD_E_MEMORY. The list is as before after a failure. */
sd_status sd_tokenizer_encode(const sd_tokenizer *tokenizer, const char *text, size_t bytes,
                              sd_token_list *list, sd_error *err);

/* Adds one token. SD_E_MEMORY; the list is then as before. */
sd_status sd_token_list_add(sd_token_list *list, sd_token token, sd_error *err);

/* Frees the items; the list is empty and can be used again. NULL-safe. */
void sd_token_list_clear(sd_token_list *list);

/* How many of the `count` tokens at `tokens` the next chunk takes, at most SD_CHUNK_TOKENS and 0 only when
 * count is 0. When they do not all fit, the break is after the last comma among the chunk's last `backtrack`
 * tokens (0: never), unless the first token left over is a comma itself; and never before a glued token,
 * unless the whole chunk is one. The rule of A1111's web UI, so that its prompts give the same chunks. */
size_t sd_chunk_length(const sd_token *tokens, size_t count, size_t backtrack);

/* [start] the first `count` (at most SD_CHUNK_TOKENS; more are ignored) tokens [end] and `pad` up to
 * SD_CHUNK_IDS. */
void sd_chunk_fill(const sd_tokenizer *tokenizer, const sd_token *tokens, size_t count, uint32_t pad,
                   uint32_t ids[SD_CHUNK_IDS]);

/* One text as one chunk: encode, cut to SD_CHUNK_TOKENS, fill. *cut (may be NULL) is how many tokens did not
 * fit. Errors of sd_tokenizer_encode; ids and *cut are then unchanged. */
sd_status sd_tokenizer_chunk(const sd_tokenizer *tokenizer, const char *text, size_t bytes, uint32_t pad,
                             uint32_t ids[SD_CHUNK_IDS], size_t *cut, sd_error *err);

/* Any number of tokens as *chunks (at least 1) chunks, broken by sd_chunk_length. *ids is
 * [chunks][SD_CHUNK_IDS], to be freed with free(). SD_E_MEMORY; *ids is then NULL and *chunks 0. */
sd_status sd_chunk_all(const sd_tokenizer *tokenizer, const sd_token *tokens, size_t count, uint32_t pad,
                       size_t backtrack, uint32_t **ids, size_t *chunks, sd_error *err);

/* The same for a text. Errors of sd_tokenizer_encode too. */
sd_status sd_tokenizer_chunks(const sd_tokenizer *tokenizer, const char *text, size_t bytes, uint32_t pad,
                              size_t backtrack, uint32_t **ids, size_t *chunks, sd_error *err);

#endif
