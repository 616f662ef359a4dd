/* The list of values for a file to be written. */
#include "sd/io/gguf_internal.h"

#include <string.h>

static bool reserve(sd_gguf_values *list) {
    if (list->failed || list->count < list->capacity)
        return !list->failed;
    size_t capacity = list->capacity ? 2 * list->capacity : 16;
    sd_gguf_value *grown = sd_arena_array(&list->arena, capacity, sizeof *grown);
    if (!grown)
        return !(list->failed = true);
    if (list->count)
        memcpy(grown, list->items, list->count * sizeof *grown);
    list->items = grown;
    list->capacity = capacity;
    return true;
}

void sd_gguf_add(sd_gguf_values *list, const sd_gguf_value *value) {
    if (!reserve(list))
        return;
    char *key = sd_arena_strdup(&list->arena, value->key);
    uint8_t *data = sd_arena_alloc(&list->arena, (size_t)value->bytes);
    if (!key || !data) {
        list->failed = true;
        return;
    }
    if (value->bytes)
        memcpy(data, value->data, (size_t)value->bytes);
    sd_gguf_value *added = &list->items[list->count++];
    *added = *value;
    added->key = key;
    added->data = data;
}

void sd_gguf_add_string(sd_gguf_values *list, const char *key, const char *text) {
    sd_gguf_add(list, &(sd_gguf_value){.key = key,
                                       .type = SD_GGUF_STRING,
                                       .element = SD_GGUF_STRING,
                                       .count = 1,
                                       .data = (const uint8_t *)text,
                                       .bytes = strlen(text)});
}

void sd_gguf_add_u32(sd_gguf_values *list, const char *key, uint32_t number) {
    const uint8_t data[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
                             (uint8_t)(number >> 24)};
    sd_gguf_add(list, &(sd_gguf_value){.key = key,
                                       .type = SD_GGUF_U32,
                                       .element = SD_GGUF_U32,
                                       .count = 1,
                                       .data = data,
                                       .bytes = sizeof data});
}

void sd_gguf_add_dimensions(sd_gguf_values *list, const char *key, uint32_t rank, const uint64_t *shape) {
    uint8_t data[4 * SD_FILE_RANK];
    for (uint32_t i = 0; i < rank; i++)
        for (int k = 0; k < 4; k++)
            data[4 * i + (uint32_t)k] = (uint8_t)(shape[i] >> 8 * k);
    sd_gguf_add(list, &(sd_gguf_value){.key = key,
                                       .type = SD_GGUF_ARRAY,
                                       .element = SD_GGUF_I32,
                                       .count = rank,
                                       .data = data,
                                       .bytes = 4 * rank});
}

void sd_gguf_values_clear(sd_gguf_values *list) {
    sd_arena_clear(&list->arena);
    *list = (sd_gguf_values){0};
}
