#include <stdlib.h>

#include "clip/tokenizer_private.h"

size_t sd_chunk_length(const sd_token *tokens, size_t count, size_t backtrack) {
    if (count <= SD_CHUNK_TOKENS)
        return count;
    size_t length = SD_CHUNK_TOKENS;
    if (tokens[length].flags & SD_TOKEN_GLUED) {
        while (length > 0 && tokens[length].flags & SD_TOKEN_GLUED)
            length--;
        return length ? length : SD_CHUNK_TOKENS;
    }
    if (tokens[length].flags & SD_TOKEN_COMMA)
        return length;
    for (size_t i = length; i > 0 && length - i < backtrack; i--)
        if (tokens[i - 1].flags & SD_TOKEN_COMMA)
            return i;
    return length;
}

void sd_chunk_fill(const sd_tokenizer *tokenizer, const sd_token *tokens, size_t count, uint32_t pad,
                   uint32_t ids[SD_CHUNK_IDS]) {
    size_t used = 0;
    if (count > SD_CHUNK_TOKENS)
        count = SD_CHUNK_TOKENS;
    ids[used++] = tokenizer->start;
    for (size_t i = 0; i < count; i++)
        ids[used++] = tokens[i].id;
    ids[used++] = tokenizer->end;
    while (used < SD_CHUNK_IDS)
        ids[used++] = pad;
}

sd_status sd_tokenizer_chunk(const sd_tokenizer *tokenizer, const char *text, size_t bytes, uint32_t pad,
                             uint32_t ids[SD_CHUNK_IDS], size_t *cut, sd_error *err) {
    sd_token_list list = {0};
    sd_status status = sd_tokenizer_encode(tokenizer, text, bytes, &list, err);
    if (!status) {
        sd_chunk_fill(tokenizer, list.items, list.count, pad, ids);
        if (cut)
            *cut = list.count > SD_CHUNK_TOKENS ? list.count - SD_CHUNK_TOKENS : 0;
    }
    sd_token_list_clear(&list);
    return status;
}

static size_t count_chunks(const sd_token *tokens, size_t count, size_t backtrack) {
    size_t chunks = 0;
    for (size_t at = 0; at < count; chunks++)
        at += sd_chunk_length(tokens + at, count - at, backtrack);
    return chunks ? chunks : 1;
}

sd_status sd_chunk_all(const sd_tokenizer *tokenizer, const sd_token *tokens, size_t count, uint32_t pad,
                       size_t backtrack, uint32_t **ids, size_t *chunks, sd_error *err) {
    size_t all = count_chunks(tokens, count, backtrack), at = 0;
    *chunks = 0;
    uint32_t *out = *ids = calloc(all, SD_CHUNK_IDS * sizeof *out);
    if (!out)
        return sd_fail(err, SD_E_MEMORY, "out of memory for %zu chunks of tokens", all);
    for (size_t i = 0; i < all; i++) {
        size_t length = count ? sd_chunk_length(tokens + at, count - at, backtrack) : 0;
        sd_chunk_fill(tokenizer, count ? tokens + at : NULL, length, pad, out + i * SD_CHUNK_IDS);
        at += length;
    }
    *chunks = all;
    return SD_OK;
}

sd_status sd_tokenizer_chunks(const sd_tokenizer *tokenizer, const char *text, size_t bytes, uint32_t pad,
                              size_t backtrack, uint32_t **ids, size_t *chunks, sd_error *err) {
    sd_token_list list = {0};
    *ids = NULL;
    *chunks = 0;
    sd_status status = sd_tokenizer_encode(tokenizer, text, bytes, &list, err);
    if (!status)
        status = sd_chunk_all(tokenizer, list.items, list.count, pad, backtrack, ids, chunks, err);
    sd_token_list_clear(&list);
    return status;
}
