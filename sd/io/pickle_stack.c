/* The machine's stack, its memo and the values on them. */
#include "sd/io/pickle_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sd_unpickle_fail(sd_unpickler *u, sd_status status, const char *format, ...) {
    char message[640];
    va_list args;
    if (u->status)
        return false;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    u->status = sd_fail(u->err, status, "%s: byte %zu: %s", u->label, u->op, message);
    return false;
}

bool sd_unpickle_no_memory(sd_unpickler *u) {
    if (!u->status)
        u->status = sd_fail(u->err, SD_E_MEMORY, "%s: no memory for its values", u->label);
    return false;
}

bool sd_unpickle_charge(sd_unpickler *u, uint64_t count) {
    if (count > u->budget)
        return sd_unpickle_fail(u, SD_E_FORMAT,
                                "copies its values more often than a pickle of this size needs to");
    u->budget -= (size_t)count;
    return true;
}

const char *sd_pickle_kind_name(uint32_t kind) {
    static const char *const names[] = {
        [SD_PICKLE_NONE] = "None",
        [SD_PICKLE_BOOL] = "a bool",
        [SD_PICKLE_INT] = "a whole number",
        [SD_PICKLE_LONG] = "a whole number of more than 64 bits",
        [SD_PICKLE_FLOAT] = "a number",
        [SD_PICKLE_TEXT] = "a string",
        [SD_PICKLE_BINARY] = "bytes",
        [SD_PICKLE_TUPLE] = "a tuple",
        [SD_PICKLE_LIST] = "a list",
        [SD_PICKLE_DICT] = "a dict",
        [SD_PICKLE_PARAMETERS] = "a ParameterDict",
        [SD_PICKLE_GLOBAL] = "a name",
        [SD_PICKLE_STORAGE] = "a storage",
        [SD_PICKLE_TENSOR] = "a tensor",
        [SD_PICKLE_NUMPY_DTYPE] = "a numpy dtype",
        [SD_PICKLE_INERT] = "an object",
        [SD_PICKLE_MARK] = "a mark",
    };
    return kind <= SD_PICKLE_MARK ? names[kind] : "?";
}

/* New places are marks, which the memo takes for empty. */
static bool grow(sd_unpickler *u, sd_pickle_value **list, size_t *capacity, size_t least) {
    size_t wanted = *capacity ? 2 * *capacity : 64;
    if (wanted < least)
        wanted = least;
    sd_pickle_value *grown = realloc(*list, wanted * sizeof *grown);
    if (!grown)
        return sd_unpickle_no_memory(u);
    for (size_t i = *capacity; i < wanted; i++)
        grown[i] = (sd_pickle_value){.kind = SD_PICKLE_MARK};
    *list = grown;
    *capacity = wanted;
    return true;
}

bool sd_unpickle_push(sd_unpickler *u, sd_pickle_value value) {
    if (u->depth == u->stack_capacity && !grow(u, &u->stack, &u->stack_capacity, u->depth + 1))
        return false;
    u->stack[u->depth++] = value;
    return true;
}

const sd_pickle_value *sd_unpickle_pop(sd_unpickler *u, size_t count) {
    for (size_t i = 1; i <= count; i++)
        if (i > u->depth || u->stack[u->depth - i].kind == SD_PICKLE_MARK) {
            sd_unpickle_fail(u, SD_E_FORMAT, "%s takes %zu from the stack, which holds %zu", u->name, count,
                             i - 1);
            return NULL;
        }
    u->depth -= count;
    return u->stack + u->depth;
}

const sd_pickle_value *sd_unpickle_pop_mark(sd_unpickler *u, size_t *count) {
    size_t mark = u->depth;
    while (mark > 0 && u->stack[mark - 1].kind != SD_PICKLE_MARK)
        mark--;
    if (mark == 0) {
        sd_unpickle_fail(u, SD_E_FORMAT, "%s needs a mark on the stack, which has none", u->name);
        return NULL;
    }
    *count = u->depth - mark;
    u->depth = mark - 1;
    return u->stack + mark;
}

/* Python numbers the memo without gaps, so that an index beyond the pickle's size is no honest one. */
bool sd_unpickle_put(sd_unpickler *u, uint64_t index) {
    const sd_pickle_value *value = sd_unpickle_pop(u, 1);
    if (!value)
        return false;
    u->depth++;
    if (index >= u->size - u->begin)
        return sd_unpickle_fail(u, SD_E_FORMAT,
                                "%s: place %" PRIu64 " of the memo, for a pickle of %zu bytes", u->name,
                                index, u->size - u->begin);
    if (index >= u->memo_size && !grow(u, &u->memo, &u->memo_size, (size_t)index + 1))
        return false;
    u->memo_used += u->memo[index].kind == SD_PICKLE_MARK;
    u->memo[index] = *value;
    return true;
}

bool sd_unpickle_get(sd_unpickler *u, uint64_t index) {
    if (index >= u->memo_size || u->memo[index].kind == SD_PICKLE_MARK)
        return sd_unpickle_fail(u, SD_E_FORMAT, "%s: nothing was put in place %" PRIu64 " of the memo",
                                u->name, index);
    return sd_unpickle_push(u, u->memo[index]);
}

bool sd_unpickle_append(sd_unpickler *u, sd_pickle_items *to, const sd_pickle_value *items, size_t count) {
    size_t needed = to->count + count, capacity = 2 * (size_t)to->capacity;
    if (needed > to->capacity) {
        capacity = needed > capacity ? needed : capacity;
        sd_pickle_value *grown = sd_arena_array(u->values, capacity, sizeof *grown);
        if (!grown)
            return sd_unpickle_no_memory(u);
        if (to->count)
            memcpy(grown, to->list, to->count * sizeof *grown);
        to->list = grown;
        to->capacity = (uint32_t)capacity;
    }
    if (count)
        memcpy(to->list + to->count, items, count * sizeof *items);
    to->count = (uint32_t)needed;
    return true;
}

bool sd_unpickle_items(sd_unpickler *u, sd_pickle_kind kind, const sd_pickle_value *items, size_t count,
                       sd_pickle_value *out) {
    sd_pickle_items *made = sd_arena_alloc(u->values, sizeof *made);
    if (!made)
        return sd_unpickle_no_memory(u);
    *out = (sd_pickle_value){.kind = kind, .as.items = made};
    return sd_unpickle_append(u, made, items, count);
}

const sd_pickle_value *sd_pickle_member(const sd_pickle_value *dict, const char *name) {
    if (dict->kind != SD_PICKLE_DICT)
        return NULL;
    const sd_pickle_items *items = dict->as.items;
    for (uint32_t i = items->count; i >= 2; i -= 2) {
        const sd_pickle_value *key = &items->list[i - 2];
        if (key->kind == SD_PICKLE_TEXT && key->size == strlen(name) &&
            memcmp(key->as.text, name, key->size) == 0)
            return key + 1;
    }
    return NULL;
}
