#include "sd/base/arena.h"

#include "sd/base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { block_size = 64 * 1024, alignment = 16 };

struct sd_arena_block {
    struct sd_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

static struct sd_arena_block *add_block(sd_arena *arena, size_t size) {
    uint64_t bytes;
    if (!sd_add_u64(size, sizeof(struct sd_arena_block), &bytes) || bytes > SIZE_MAX)
        return NULL;
    struct sd_arena_block *block = calloc(1, (size_t)bytes);
    if (!block)
        return NULL;
    block->size = size;
    block->next = arena->head;
    arena->head = block;
    return block;
}

void *sd_arena_alloc(sd_arena *arena, size_t size) {
    uint64_t rounded;
    if (!sd_align_u64(size ? size : 1, alignment, &rounded) || rounded > SIZE_MAX)
        return NULL;
    struct sd_arena_block *block = arena->head;
    if (!block || block->size - block->used < rounded)
        block = add_block(arena, rounded > block_size ? (size_t)rounded : block_size);
    if (!block)
        return NULL;
    void *memory = block->data + block->used;
    block->used += (size_t)rounded;
    return memory;
}

void *sd_arena_array(sd_arena *arena, size_t count, size_t size) {
    uint64_t bytes;
    if (!sd_mul_u64(count, size, &bytes) || bytes > SIZE_MAX)
        return NULL;
    return sd_arena_alloc(arena, (size_t)bytes);
}

char *sd_arena_strdup(sd_arena *arena, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = sd_arena_alloc(arena, n);
    if (copy)
        memcpy(copy, text, n);
    return copy;
}

char *sd_arena_printf(sd_arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : sd_arena_alloc(arena, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

void sd_arena_clear(sd_arena *arena) {
    for (struct sd_arena_block *block = arena->head, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    arena->head = NULL;
}
