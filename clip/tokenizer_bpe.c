#include <stdlib.h>

#include "clip/tokenizer_private.h"

/* A word is a doubly linked list of symbols in an array; `next` and `prev` are indices, -1 at the ends. A
 * merge keeps the left symbol and sets the right one's id to SD_TOKEN_NONE. */
typedef struct sd_bpe_symbol {
    uint32_t id;
    int32_t prev, next;
} symbol;

/* A pair that could be merged when it was found; stale once either side has changed. */
typedef struct sd_bpe_candidate {
    uint32_t rank, id;
    int32_t left;
} candidate;

static int before(candidate a, candidate b) {
    return a.rank != b.rank ? a.rank < b.rank : a.left < b.left;
}

static void push(sd_bpe *bpe, candidate c) {
    size_t at = bpe->heap_count++;
    while (at > 0 && before(c, bpe->heap[(at - 1) / 2])) {
        bpe->heap[at] = bpe->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    bpe->heap[at] = c;
}

static candidate pop(sd_bpe *bpe) {
    candidate top = bpe->heap[0], last = bpe->heap[--bpe->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < bpe->heap_count; at = child) {
        if (child + 1 < bpe->heap_count && before(bpe->heap[child + 1], bpe->heap[child]))
            child++;
        if (!before(bpe->heap[child], last))
            break;
        bpe->heap[at] = bpe->heap[child];
    }
    bpe->heap[at] = last;
    return top;
}

static const sd_merge *merge_at(const sd_tokenizer *t, const sd_bpe *bpe, int32_t left) {
    if (left < 0 || bpe->symbols[left].id == SD_TOKEN_NONE || bpe->symbols[left].next < 0)
        return NULL;
    return sd_tokenizer_merge(t, bpe->symbols[left].id, bpe->symbols[bpe->symbols[left].next].id);
}

static void consider(const sd_tokenizer *t, sd_bpe *bpe, int32_t left) {
    const sd_merge *merge = merge_at(t, bpe, left);
    if (merge)
        push(bpe, (candidate){merge->rank, merge->id, left});
}

/* Lowest rank first, leftmost among equals. Every symbol pushes one candidate at most at the start and every
 * merge two, hence 3 per byte. */
static void merge_word(const sd_tokenizer *t, sd_bpe *bpe, size_t count) {
    bpe->heap_count = 0;
    for (size_t i = 0; i + 1 < count; i++)
        consider(t, bpe, (int32_t)i);
    while (bpe->heap_count) {
        candidate c = pop(bpe);
        const sd_merge *merge = merge_at(t, bpe, c.left);
        if (!merge || merge->id != c.id)
            continue;
        symbol *left = &bpe->symbols[c.left], *right = &bpe->symbols[left->next];
        left->id = c.id;
        left->next = right->next;
        right->id = SD_TOKEN_NONE;
        if (left->next >= 0)
            bpe->symbols[left->next].prev = c.left;
        consider(t, bpe, left->prev);
        consider(t, bpe, c.left);
    }
}

static sd_status reserve(sd_bpe *bpe, size_t count, sd_error *err) {
    if (count <= bpe->capacity)
        return SD_OK;
    size_t capacity = bpe->capacity ? bpe->capacity : 64;
    while (capacity < count)
        capacity *= 2;
    sd_bpe_clear(bpe);
    bpe->symbols = calloc(capacity, sizeof *bpe->symbols);
    bpe->heap = calloc(capacity, 3 * sizeof *bpe->heap);
    if (!bpe->symbols || !bpe->heap)
        return sd_fail(err, SD_E_MEMORY, "out of memory for a word of %zu bytes", count);
    bpe->capacity = capacity;
    return SD_OK;
}

sd_status sd_bpe_word(const sd_tokenizer *t, sd_bpe *bpe, const uint8_t *word, size_t bytes,
                      sd_token_list *list, sd_error *err) {
    sd_status status = reserve(bpe, bytes, err);
    if (status)
        return status;
    for (size_t i = 0; i < bytes; i++)
        bpe->symbols[i] = (symbol){t->byte[word[i]], (int32_t)i - 1, (int32_t)i + 1};
    bpe->symbols[bytes - 1].id = t->last_byte[word[bytes - 1]];
    bpe->symbols[bytes - 1].next = -1;
    merge_word(t, bpe, bytes);
    for (int32_t i = 0; i >= 0 && !status; i = bpe->symbols[i].next) {
        uint32_t id = bpe->symbols[i].id;
        status = sd_token_list_add(list, (sd_token){id, id == t->comma ? SD_TOKEN_COMMA : 0}, err);
    }
    return status;
}

void sd_bpe_clear(sd_bpe *bpe) {
    free(bpe->symbols);
    free(bpe->heap);
    *bpe = (sd_bpe){0};
}
