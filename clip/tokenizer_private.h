/* What the tokenizer's files share. */
#ifndef CLIP_TOKENIZER_PRIVATE_H
#define CLIP_TOKENIZER_PRIVATE_H

#include "clip/tokenizer.h"

#define SD_TOKEN_NONE UINT32_MAX

static const char sd_start_text[] = "<|startoftext|>";
static const char sd_end_text[] = "<|endoftext|>";

/* left right -> id. A free slot has id SD_TOKEN_NONE. */
typedef struct sd_merge {
    uint32_t left, right, rank, id;
} sd_merge;

struct sd_tokenizer {
    uint32_t entries, start, end;
    uint32_t comma;          /* "," at the end of a word; SD_TOKEN_NONE when the vocabulary has none */
    uint32_t byte[256];      /* a byte inside a word; `end` where the vocabulary has none */
    uint32_t last_byte[256]; /* a byte at the end of a word; likewise */
    sd_merge *merges;        /* [merge_slots], open addressing */
    uint32_t merge_slots;    /* a power of two, over half of them free */
};

/* The merge of two neighbours, or NULL. */
const sd_merge *sd_tokenizer_merge(const sd_tokenizer *t, uint32_t left, uint32_t right);

/* A piece of normalised text: UTF-8 bytes that are one word to the byte-pair encoding, at least one byte. */
typedef sd_status sd_word_sink(void *user, const uint8_t *word, size_t bytes, sd_error *err);

/* NFC, lower case, split; `text` is valid UTF-8 without special tokens. Returns the sink's first failure, or
 * SD_E_ARGUMENT or SD_E_MEMORY. */
sd_status sd_tokenizer_words(const char *text, size_t bytes, sd_word_sink *sink, void *user, sd_error *err);

/* Scratch of the byte-pair encoding, reused from word to word. {0} is valid. */
typedef struct sd_bpe {
    struct sd_bpe_symbol *symbols; /* [capacity] */
    struct sd_bpe_candidate *heap; /* [3 * capacity] */
    size_t capacity, heap_count;
} sd_bpe;

/* Appends the tokens of one word. SD_E_MEMORY. */
sd_status sd_bpe_word(const sd_tokenizer *t, sd_bpe *bpe, const uint8_t *word, size_t bytes,
                      sd_token_list *list, sd_error *err);
void sd_bpe_clear(sd_bpe *bpe);

#endif
