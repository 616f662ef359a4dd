/* The strings and numbers beside the tensors. */
#include "sd/io/pickle_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { most_metadata = 1 << 16 };

/* The fewest digits that read back as the same number. */
static char *number_text(sd_arena *arena, double number) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    return sd_arena_strdup(arena, text);
}

/* The value as text, NULL when it has none; *ok is false when memory ran out. */
static const char *value_text(sd_arena *arena, const sd_pickle_value *value, bool *ok) {
    const char *text = NULL;
    *ok = true;
    switch (value->kind) {
    case SD_PICKLE_TEXT:
        return value->as.text;
    case SD_PICKLE_BOOL:
        return value->as.integer ? "true" : "false";
    case SD_PICKLE_INT:
        text = sd_arena_printf(arena, "%" PRId64, value->as.integer);
        break;
    case SD_PICKLE_FLOAT:
        text = number_text(arena, value->as.number);
        break;
    default:
        return NULL;
    }
    *ok = text != NULL;
    return text;
}

static bool keep(sd_pickle *f, const char *path, const char *text) {
    if (f->metadata_count == f->metadata_capacity) {
        size_t capacity = f->metadata_capacity ? 2 * f->metadata_capacity : 32;
        sd_file_metadata *grown = sd_arena_array(&f->arena, capacity, sizeof *grown);
        if (!grown)
            return false;
        if (f->metadata_count)
            memcpy(grown, f->metadata, f->metadata_count * sizeof *grown);
        f->metadata = grown;
        f->metadata_capacity = capacity;
    }
    const char *key = sd_arena_strdup(&f->arena, path);
    if (!key)
        return false;
    f->metadata[f->metadata_count++] = (sd_file_metadata){key, text};
    return true;
}

bool sd_pickle_gather_metadata(sd_pickle *file, char path[SD_PICKLE_NAME + 1], const sd_pickle_value *value,
                               size_t length) {
    const sd_pickle_items *items = value->kind == SD_PICKLE_DICT ? value->as.items : NULL;
    for (uint32_t i = 1; items && i < items->count && file->metadata_count < most_metadata; i += 2) {
        const sd_pickle_value *item = &items->list[i];
        size_t longer = length;
        bool ok;
        const char *text = value_text(&file->arena, item, &ok);
        if (!ok)
            return false;
        if ((text || item->kind == SD_PICKLE_DICT) &&
            sd_pickle_extend(path, item - 1, &longer) == SD_PICKLE_KEY_NAMED &&
            !(text ? keep(file, path, text) : sd_pickle_gather_metadata(file, path, item, longer)))
            return false;
    }
    return true;
}

size_t sd_pickle_metadata_count(const sd_pickle *file) {
    return file->metadata_count;
}

const sd_file_metadata *sd_pickle_metadata_at(const sd_pickle *file, size_t index) {
    return index < file->metadata_count ? &file->metadata[index] : NULL;
}

const char *sd_pickle_metadata(const sd_pickle *file, const char *key) {
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}
