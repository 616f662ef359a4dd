/* The directory of a zip archive in memory (PKWARE's APPNOTE, with the 64-bit extensions). Nothing is
 * unpacked: PyTorch stores its entries as they are, and only such ones have data here. */
#ifndef SD_IO_ZIP_H
#define SD_IO_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sd/base/arena.h"
#include "sd/base/status.h"

enum { SD_ZIP_NAME = 512 }; /* the longest name of an entry, in bytes */

typedef struct sd_zip_entry {
    const char *name; /* UTF-8, unique, in the arena */
    bool stored;      /* neither compressed nor encrypted */
    const uint8_t *data;
    uint64_t size;  /* of `data`: packed when not stored */
    uint64_t begin; /* of the entry in the archive */
} sd_zip_entry;

typedef struct sd_zip {
    const sd_zip_entry *entries; /* [count], sorted by name, in the arena */
    size_t count;
} sd_zip;

/* Reads the directory of `size` bytes, which the caller keeps, and checks that every entry lies in them, that
 * no two overlap and that no name comes twice. `label` begins the messages. */
sd_status sd_zip_read(const char *label, const void *data, size_t size, sd_arena *arena, sd_zip *out,
                      sd_error *err);

/* NULL when there is no entry of this name. O(log n). */
const sd_zip_entry *sd_zip_find(const sd_zip *zip, const char *name);

#endif
