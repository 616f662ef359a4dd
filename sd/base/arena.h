/* Memory that is freed all at once. */
#ifndef SD_BASE_ARENA_H
#define SD_BASE_ARENA_H

#include <stddef.h>

/* {0} is an empty arena. Not thread-safe; one owner. */
typedef struct sd_arena {
    struct sd_arena_block *head;
} sd_arena;

/* `size` zeroed bytes, aligned to 16; NULL when memory runs out. Valid until sd_arena_clear. */
void *sd_arena_alloc(sd_arena *arena, size_t size);

/* `count` zeroed elements of `size` bytes; NULL also when the product would wrap. */
void *sd_arena_array(sd_arena *arena, size_t count, size_t size);

/* A copy of the string; NULL when memory runs out. */
char *sd_arena_strdup(sd_arena *arena, const char *text);

/* A formatted string; NULL when memory runs out. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
char *
sd_arena_printf(sd_arena *arena, const char *format, ...);

/* Frees everything; the arena is empty and can be used again. */
void sd_arena_clear(sd_arena *arena);

#endif
