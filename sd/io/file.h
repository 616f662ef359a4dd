/* Files: mapped for reading, read whole, hashed, and written so that no half file is ever left behind. */
#ifndef SD_IO_FILE_H
#define SD_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sd/base/status.h"

/* Bytes on the heap. {0} is empty. One owner. */
typedef struct sd_bytes {
    uint8_t *data; /* followed by one NUL that `size` does not count, when not NULL */
    size_t size;
} sd_bytes;

void sd_bytes_clear(sd_bytes *bytes);

/* A whole file mapped read-only and paged in on use. {0} is no mapping. Readable from any thread. The file
 * must not be shortened by another process while it is mapped: the system then stops this one (SIGBUS). */
typedef struct sd_mapping {
    const uint8_t *data;
    size_t size;
} sd_mapping;

/* Maps the regular file `path`. A file that is missing, a folder, not a regular file, unreadable, empty, or
 * larger than `limit` bytes (0: no limit) is an error that says which: SD_E_NOT_FOUND, SD_E_IO or
 * SD_E_FORMAT. */
sd_status sd_file_map(const char *path, uint64_t limit, sd_mapping *out, sd_error *err);
void sd_file_unmap(sd_mapping *mapping);

/* What will be done with a part of a mapping. */
typedef enum sd_file_advice {
    SD_FILE_SOON, /* it will be read: the system may begin to fetch it */
    SD_FILE_DONE /* it was read: its pages leave this process's memory, and come back when they are read again
                  */
} sd_file_advice;

/* Hints only: they never fail. What lies outside of the mapping is left alone. Thread-safe. */
void sd_mapping_advise(const sd_mapping *mapping, const void *data, size_t size, sd_file_advice advice);

/* Reads a regular file of at most `limit` bytes (0: 64 MiB) with the errors of sd_file_map, except that an
 * empty file is read as zero bytes. */
sd_status sd_file_read(const char *path, uint64_t limit, sd_bytes *out, sd_error *err);

/* Writes `path` in one piece: afterwards it holds either all of `data` or what it held before. Existing
 * devices and pipes (/dev/stdout) are written in place. */
sd_status sd_file_write(const char *path, const void *data, size_t size, sd_error *err);

/* The same in steps, for what does not fit in memory. The bytes go to a temporary name in the same folder;
 * commit flushes and renames it, discard removes it. Both free the writer and set it to NULL; discard accepts
 * NULL. After a failed write only discard is useful. Not thread-safe; any number of writers at once. */
typedef struct sd_file_writer sd_file_writer;
sd_status sd_file_writer_open(const char *path, sd_file_writer **out, sd_error *err);
sd_status sd_file_writer_write(sd_file_writer *writer, const void *data, size_t size, sd_error *err);
sd_status sd_file_writer_commit(sd_file_writer **writer, sd_error *err);
void sd_file_writer_discard(sd_file_writer **writer);

enum { SD_SHA256_HEX = 65, SD_SHORT_HASH = 11 };

/* SHA-256 of the file from byte `offset` on, as 64 lower-case hex digits. `offset` 0 gives the hash that
 * model sites list; sd_safetensors_data_offset gives the one that A1111 lists for a LoRA. */
sd_status sd_file_sha256(const char *path, uint64_t offset, char hex[SD_SHA256_HEX], sd_error *err);
/* The same, which ends with SD_E_CANCELLED when `cancelled`, asked before each MiB, says so. */
sd_status sd_file_sha256_until(const char *path, uint64_t offset, bool (*cancelled)(const void *cancel),
                               const void *cancel, char hex[SD_SHA256_HEX], sd_error *err);
sd_status sd_sha256(const void *data, size_t size, char hex[SD_SHA256_HEX], sd_error *err);

/* A1111's "Model hash" (AutoV2): the first 10 digits of the SHA-256. */
void sd_short_hash(const char hex[SD_SHA256_HEX], char out[SD_SHORT_HASH]);

#endif
