#include "clip/tokenizer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "clip/tokenizer_private.h"

uint32_t sd_tokenizer_entries(const sd_tokenizer *tokenizer) {
    return tokenizer->entries;
}

uint32_t sd_tokenizer_start(const sd_tokenizer *tokenizer) {
    return tokenizer->start;
}

uint32_t sd_tokenizer_end(const sd_tokenizer *tokenizer) {
    return tokenizer->end;
}

static uint32_t merge_count(const sd_tokenizer *t) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->merge_slots; i++)
        count += t->merges[i].id != SD_TOKEN_NONE;
    return count;
}

bool sd_tokenizer_same(const sd_tokenizer *a, const sd_tokenizer *b) {
    bool same = a->entries == b->entries && a->start == b->start && a->end == b->end &&
                a->comma == b->comma && !memcmp(a->byte, b->byte, sizeof a->byte) &&
                !memcmp(a->last_byte, b->last_byte, sizeof a->last_byte) && merge_count(a) == merge_count(b);
    for (uint32_t i = 0; i < a->merge_slots && same; i++) {
        const sd_merge *m = &a->merges[i];
        const sd_merge *other = m->id == SD_TOKEN_NONE ? m : sd_tokenizer_merge(b, m->left, m->right);
        same = other && other->id == m->id && (other == m || other->rank == m->rank);
    }
    return same;
}

void sd_tokenizer_destroy(sd_tokenizer **tokenizer) {
    if (!tokenizer || !*tokenizer)
        return;
    free((*tokenizer)->merges);
    free(*tokenizer);
    *tokenizer = NULL;
}

sd_status sd_token_list_add(sd_token_list *list, sd_token token, sd_error *err) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        sd_token *items =
            capacity <= SIZE_MAX / sizeof *items ? realloc(list->items, capacity * sizeof *items) : NULL;
        if (!items)
            return sd_fail(err, SD_E_MEMORY, "out of memory for %zu tokens", capacity);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = token;
    return SD_OK;
}

void sd_token_list_clear(sd_token_list *list) {
    if (!list)
        return;
    free(list->items);
    *list = (sd_token_list){0};
}

static sd_status check_text(const char *text, size_t bytes, sd_error *err) {
    if (bytes > SD_TOKENIZER_MAX_TEXT)
        return sd_fail(err, SD_E_ARGUMENT, "text: expected at most %d bytes, found %zu",
                       SD_TOKENIZER_MAX_TEXT, bytes);
    int32_t c;
    for (size_t i = 0; i < bytes;) {
        utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)text + i, (utf8proc_ssize_t)(bytes - i), &c);
        if (n <= 0)
            return sd_fail(err, SD_E_ARGUMENT,
                           "text: expected UTF-8, found an invalid sequence at byte %zu (0x%02X)", i,
                           (unsigned char)text[i]);
        i += (size_t)n;
    }
    return SD_OK;
}

typedef struct encoder {
    const sd_tokenizer *tokenizer;
    sd_bpe bpe;
    sd_token_list *list;
} encoder;

static sd_status add_word(void *user, const uint8_t *word, size_t bytes, sd_error *err) {
    encoder *e = user;
    return sd_bpe_word(e->tokenizer, &e->bpe, word, bytes, e->list, err);
}

static bool special_at(const char *text, size_t bytes, const char *special) {
    return bytes >= strlen(special) && !memcmp(text, special, strlen(special));
}

/* Special tokens are found in the raw text, so "<|EndOfText|>" is none, and normalisation does not cross
 * them. */
static sd_status encode(encoder *e, const char *text, size_t bytes, sd_error *err) {
    const sd_tokenizer *t = e->tokenizer;
    size_t from = 0, at = 0;
    sd_status status = SD_OK;
    while (at < bytes && !status) {
        bool start = special_at(text + at, bytes - at, sd_start_text);
        if (!start && !special_at(text + at, bytes - at, sd_end_text)) {
            at++;
            continue;
        }
        if (at > from)
            status = sd_tokenizer_words(text + from, at - from, add_word, e, err);
        if (!status)
            status = sd_token_list_add(e->list, (sd_token){start ? t->start : t->end, 0}, err);
        at += strlen(start ? sd_start_text : sd_end_text);
        from = at;
    }
    if (!status && bytes > from)
        status = sd_tokenizer_words(text + from, bytes - from, add_word, e, err);
    return status;
}

sd_status sd_tokenizer_encode(const sd_tokenizer *tokenizer, const char *text, size_t bytes,
                              sd_token_list *list, sd_error *err) {
    sd_status status = check_text(text, bytes, err);
    if (status)
        return status;
    size_t before = list->count;
    encoder e = {.tokenizer = tokenizer, .list = list};
    status = encode(&e, text, bytes, err);
    if (status)
        list->count = before;
    sd_bpe_clear(&e.bpe);
    return status;
}
