#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "clip/tokenizer_private.h"

extern const char sd_clip_merges[];
extern const size_t sd_clip_merges_size;

static const char word_end[] = "</w>";

/* Entry text -> id, needed only while a tokenizer is made. Open addressing; a free slot has text NULL. */
typedef struct entry {
    const char *text; /* not terminated; owned by the text it was read from or by names.store */
    uint32_t bytes, id;
} entry;

typedef struct names {
    entry *slots; /* [count], a power of two, over half of them free */
    size_t count;
    char *store; /* texts that stand nowhere else */
    size_t used;
} names;

static uint64_t mix(uint64_t h) {
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

/* The slot of the text, or the free slot where it belongs. The text is given in two parts. */
static entry *find(const names *n, const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < a_bytes; i++)
        h = (h ^ (unsigned char)a[i]) * UINT64_C(1099511628211);
    for (size_t i = 0; i < b_bytes; i++)
        h = (h ^ (unsigned char)b[i]) * UINT64_C(1099511628211);
    for (size_t at = mix(h) & (n->count - 1);; at = (at + 1) & (n->count - 1)) {
        entry *e = &n->slots[at];
        if (!e->text || (e->bytes == a_bytes + b_bytes && !memcmp(e->text, a, a_bytes) &&
                         !memcmp(e->text + a_bytes, b, b_bytes)))
            return e;
    }
}

static uint32_t id_of(const names *n, const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    const entry *e = find(n, a, a_bytes, b, b_bytes);
    return e->text ? e->id : SD_TOKEN_NONE;
}

static size_t slots_for(size_t entries) {
    size_t slots = 16;
    while (slots < 2 * entries + 2)
        slots *= 2;
    return slots;
}

/* Room for `entries` names and `store` bytes of their texts. */
static sd_status names_init(names *n, size_t entries, size_t store, sd_error *err) {
    n->count = slots_for(entries);
    n->slots = calloc(n->count, sizeof *n->slots);
    n->store = malloc(store + 1);
    if (!n->slots || !n->store)
        return sd_fail(err, SD_E_MEMORY, "out of memory for a vocabulary of %zu entries", entries);
    return SD_OK;
}

static void names_clear(names *n) {
    free(n->slots);
    free(n->store);
    *n = (names){0};
}

/* Adds the two parts joined; false when the text is there already. */
static bool names_add(names *n, const char *a, size_t a_bytes, const char *b, size_t b_bytes, uint32_t id) {
    entry *e = find(n, a, a_bytes, b, b_bytes);
    if (e->text)
        return false;
    char *text = n->store + n->used;
    memcpy(text, a, a_bytes);
    memcpy(text + a_bytes, b, b_bytes);
    n->used += a_bytes + b_bytes;
    *e = (entry){text, (uint32_t)(a_bytes + b_bytes), id};
    return true;
}

/* Every byte is written as a visible character: printable Latin-1 as itself, the others as U+0100 onwards in
 * order. */
static bool is_itself(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* Fills text[byte] with each byte's character as UTF-8 (NUL-terminated). */
static void byte_texts(char text[256][3]) {
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned c = is_itself(byte) ? byte : next++;
        text[byte][0] = (char)(c < 0x80 ? c : 0xC0 | c >> 6);
        text[byte][1] = (char)(c < 0x80 ? 0 : 0x80 | (c & 0x3F));
        text[byte][2] = 0;
    }
}

static const sd_merge *merge_slot(const sd_tokenizer *t, uint32_t left, uint32_t right) {
    uint32_t mask = t->merge_slots - 1;
    for (uint32_t at = (uint32_t)mix((uint64_t)left << 32 | right) & mask;; at = (at + 1) & mask) {
        const sd_merge *m = &t->merges[at];
        if (m->id == SD_TOKEN_NONE || (m->left == left && m->right == right))
            return m;
    }
}

const sd_merge *sd_tokenizer_merge(const sd_tokenizer *t, uint32_t left, uint32_t right) {
    const sd_merge *m = merge_slot(t, left, right);
    return m->id == SD_TOKEN_NONE ? NULL : m;
}

/* The lines of a merges.txt. */
typedef struct lines {
    const char *text;
    size_t bytes, at, number; /* number of the line last read, from 1 */
} lines;

typedef struct pair {
    const char *left, *right;
    size_t left_bytes, right_bytes;
} pair;

static size_t count_lines(const char *text, size_t bytes) {
    size_t count = 1;
    for (size_t i = 0; i < bytes; i++)
        count += text[i] == '\n';
    return count;
}

/* The next line without its line end; false at the end of the file. */
static bool next_line(lines *l, const char **line, size_t *bytes) {
    if (l->at >= l->bytes)
        return false;
    *line = l->text + l->at;
    const char *end = memchr(*line, '\n', l->bytes - l->at);
    *bytes = end ? (size_t)(end - *line) : l->bytes - l->at;
    l->at += *bytes + 1;
    l->number++;
    if (*bytes && (*line)[*bytes - 1] == '\r')
        --*bytes;
    return true;
}

/* The next merge; p->left is NULL at the end of the file. Blank lines are skipped. */
static sd_status next_pair(lines *l, pair *p, sd_error *err) {
    const char *line;
    size_t bytes;
    *p = (pair){0};
    while (next_line(l, &line, &bytes)) {
        if (!bytes || (l->number == 1 && bytes >= 8 && !memcmp(line, "#version", 8)))
            continue;
        const char *space = memchr(line, ' ', bytes);
        size_t left = space ? (size_t)(space - line) : 0;
        if (!left || left + 1 == bytes || memchr(space + 1, ' ', bytes - left - 1))
            return sd_fail(err, SD_E_FORMAT,
                           "merges.txt: expected line %zu to be two entries with one space between them, "
                           "found %zu bytes "
                           "that are not",
                           l->number, bytes);
        *p = (pair){line, space + 1, left, bytes - left - 1};
        return SD_OK;
    }
    return SD_OK;
}

static sd_status alloc_merges(sd_tokenizer *t, size_t count, sd_error *err) {
    t->merge_slots = (uint32_t)slots_for(count);
    t->merges = malloc(t->merge_slots * sizeof *t->merges);
    if (!t->merges)
        return sd_fail(err, SD_E_MEMORY, "out of memory for %zu merges", count);
    for (uint32_t i = 0; i < t->merge_slots; i++)
        t->merges[i].id = SD_TOKEN_NONE;
    return SD_OK;
}

/* Of a pair that is given twice the last line counts, as in the tokenizers library. */
static void add_merge(sd_tokenizer *t, uint32_t left, uint32_t right, uint32_t rank, uint32_t id) {
    sd_merge *m = &t->merges[merge_slot(t, left, right) - t->merges];
    *m = (sd_merge){left, right, rank, id};
}

/* Looks up what the encoding needs by name. */
static sd_status bind(sd_tokenizer *t, const names *n, sd_error *err) {
    char text[256][3];
    t->start = id_of(n, sd_start_text, strlen(sd_start_text), "", 0);
    t->end = id_of(n, sd_end_text, strlen(sd_end_text), "", 0);
    t->comma = id_of(n, ",", 1, word_end, 4);
    if (t->start == SD_TOKEN_NONE || t->end == SD_TOKEN_NONE)
        return sd_fail(err, SD_E_FORMAT, "vocab.json: expected an entry \"%s\", found none",
                       t->start == SD_TOKEN_NONE ? sd_start_text : sd_end_text);
    byte_texts(text);
    for (unsigned i = 0; i < 256; i++) {
        uint32_t inner = id_of(n, text[i], strlen(text[i]), "", 0);
        uint32_t last = id_of(n, text[i], strlen(text[i]), word_end, 4);
        t->byte[i] = inner == SD_TOKEN_NONE ? t->end : inner;
        t->last_byte[i] = last == SD_TOKEN_NONE ? t->end : last;
    }
    return SD_OK;
}

/* Reads merges.txt; every result is looked up in the vocabulary. */
static sd_status read_merges(sd_tokenizer *t, const names *n, const char *text, size_t bytes, sd_error *err) {
    lines l = {.text = text, .bytes = bytes};
    sd_status status = alloc_merges(t, count_lines(text, bytes), err);
    pair p;
    for (uint32_t rank = 0; !status && !(status = next_pair(&l, &p, err)) && p.left; rank++) {
        uint32_t left = id_of(n, p.left, p.left_bytes, "", 0);
        uint32_t right = id_of(n, p.right, p.right_bytes, "", 0);
        uint32_t id = id_of(n, p.left, p.left_bytes, p.right, p.right_bytes);
        if (left == SD_TOKEN_NONE || right == SD_TOKEN_NONE || id == SD_TOKEN_NONE)
            return sd_fail(
                err, SD_E_FORMAT,
                "merges.txt: expected line %zu to join two entries of the vocabulary to a third, found no "
                "entry for the %s",
                l.number,
                left == SD_TOKEN_NONE    ? "left one"
                : right == SD_TOKEN_NONE ? "right one"
                                         : "result");
        add_merge(t, left, right, rank, id);
    }
    return status;
}

/* Member number `index` of vocab.json; `seen` has a bit for every id. */
static sd_status add_member(names *n, const cJSON *item, size_t index, size_t count, uint8_t *seen,
                            sd_error *err) {
    double id = item->valuedouble;
    if (!cJSON_IsNumber(item))
        return sd_fail(err, SD_E_FORMAT, "vocab.json: expected a number in entry %zu, found another type",
                       index);
    if (!(id >= 0 && id < (double)count) || id != floor(id))
        return sd_fail(err, SD_E_FORMAT,
                       "vocab.json: expected a whole number from 0 to %zu in entry %zu, found %g", count - 1,
                       index, id);
    uint32_t at = (uint32_t)id;
    if (seen[at / 8] >> at % 8 & 1)
        return sd_fail(err, SD_E_FORMAT, "vocab.json: expected every id once, found %u again in entry %zu",
                       at, index);
    seen[at / 8] |= (uint8_t)(1u << at % 8);
    if (!names_add(n, item->string, strlen(item->string), "", 0, at))
        return sd_fail(err, SD_E_FORMAT,
                       "vocab.json: expected every name once, found that of entry %zu before it", index);
    return SD_OK;
}

static sd_status read_members(names *n, const cJSON *root, size_t json_bytes, uint32_t *entries,
                              sd_error *err) {
    size_t count = (size_t)cJSON_GetArraySize(root), index = 0;
    uint8_t *seen = calloc(count / 8 + 1, 1);
    sd_status status = names_init(n, count, json_bytes, err);
    if (!status && !seen)
        status = sd_fail(err, SD_E_MEMORY, "out of memory for a vocabulary of %zu entries", count);
    for (const cJSON *item = root->child; item && !status; item = item->next)
        status = add_member(n, item, index++, count, seen, err);
    free(seen);
    *entries = (uint32_t)count;
    return status;
}

static bool only_space(const char *from, const char *to) {
    while (from < to && strchr(" \t\r\n", *from) && *from)
        from++;
    return from == to;
}

static sd_status read_vocab(names *n, const char *json, size_t bytes, uint32_t *entries, sd_error *err) {
    const char *end = NULL;
    cJSON *root = bytes ? cJSON_ParseWithLengthOpts(json, bytes, &end, 0) : NULL;
    sd_status status;
    if (!root)
        status = sd_fail(err, SD_E_FORMAT, "vocab.json: expected a JSON object, found an error at byte %zu",
                         end ? (size_t)(end - json) : 0);
    else if (!only_space(end, json + bytes))
        status = sd_fail(err, SD_E_FORMAT, "vocab.json: expected the file to end at byte %zu, found more",
                         (size_t)(end - json));
    else if (!cJSON_IsObject(root))
        status = sd_fail(err, SD_E_FORMAT, "vocab.json: expected a JSON object, found another type");
    else
        status = read_members(n, root, bytes, entries, err);
    cJSON_Delete(root);
    return status;
}

static sd_status check_size(const char *name, size_t bytes, sd_error *err) {
    if (bytes <= SD_TOKENIZER_MAX_FILE)
        return SD_OK;
    return sd_fail(err, SD_E_FORMAT, "%s: expected at most %d bytes, found %zu", name, SD_TOKENIZER_MAX_FILE,
                   bytes);
}

sd_status sd_tokenizer_create(sd_tokenizer **out, const void *vocab_json, size_t vocab_size,
                              const void *merges_txt, size_t merges_size, sd_error *err) {
    names n = {0};
    *out = NULL;
    sd_tokenizer *t = calloc(1, sizeof *t);
    sd_status status = t ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory for a tokenizer");
    if (!status)
        status = check_size("vocab.json", vocab_size, err);
    if (!status)
        status = check_size("merges.txt", merges_size, err);
    if (!status)
        status = read_vocab(&n, vocab_json, vocab_size, &t->entries, err);
    if (!status)
        status = bind(t, &n, err);
    if (!status)
        status = read_merges(t, &n, merges_txt, merges_size, err);
    names_clear(&n);
    if (status)
        sd_tokenizer_destroy(&t);
    *out = t;
    return status;
}

/* The vocabulary that CLIP's merges imply: the bytes that stand for themselves, the others, the same at the
 * end of a word, one entry a merge, start and end. */
static void builtin_vocab(names *n, uint32_t *entries) {
    char text[256][3];
    lines l = {.text = sd_clip_merges, .bytes = sd_clip_merges_size};
    uint32_t id = 0;
    pair p;
    byte_texts(text);
    for (int end = 0; end < 2; end++)
        for (int itself = 1; itself >= 0; itself--)
            for (unsigned i = 0; i < 256; i++)
                if (is_itself(i) == itself)
                    names_add(n, text[i], strlen(text[i]), word_end, end ? 4 : 0, id++);
    while (!next_pair(&l, &p, NULL) && p.left)
        names_add(n, p.left, p.left_bytes, p.right, p.right_bytes, id++);
    names_add(n, sd_start_text, strlen(sd_start_text), "", 0, id++);
    names_add(n, sd_end_text, strlen(sd_end_text), "", 0, id++);
    *entries = id;
}

sd_status sd_tokenizer_create_builtin(sd_tokenizer **out, sd_error *err) {
    enum { byte_entries = 512, byte_text = 2 * (2 + 2 + 4), specials = 32 };
    names n = {0};
    *out = NULL;
    sd_tokenizer *t = calloc(1, sizeof *t);
    sd_status status = t ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory for a tokenizer");
    if (!status)
        status = names_init(&n, byte_entries + 2 + count_lines(sd_clip_merges, sd_clip_merges_size),
                            byte_entries * byte_text + specials + sd_clip_merges_size, err);
    if (!status) {
        builtin_vocab(&n, &t->entries);
        status = bind(t, &n, err);
    }
    if (!status)
        status = read_merges(t, &n, sd_clip_merges, sd_clip_merges_size, err);
    names_clear(&n);
    if (status)
        sd_tokenizer_destroy(&t);
    *out = t;
    return status;
}
