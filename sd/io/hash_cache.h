/* SHA-256 of large files, remembered between runs in a SQLite file by path, size and time of the last change.
 */
#ifndef SD_IO_HASH_CACHE_H
#define SD_IO_HASH_CACHE_H

#include "sd/base/log.h"
#include "sd/io/file.h"

#include <stdbool.h>

typedef enum sd_hash_kind {
    SD_HASH_FILE, /* of all bytes */
    SD_HASH_DATA  /* of a safetensors file's bytes behind its header, as A1111 names LoRAs; of all bytes of
                     other  files */
} sd_hash_kind;

/* One thread at a time; other processes may use the same file meanwhile. */
typedef struct sd_hash_cache sd_hash_cache;

/* `folder`/hashes.sqlite, which is opened, and made where it is not there, by the first sd_hash_cache_get. A
 * file that cannot be used is a warning in the log, and nothing is remembered. `folder` NULL or "": nothing
 * is remembered. SD_E_MEMORY is the only failure. */
sd_status sd_hash_cache_create(sd_hash_cache **out, const char *folder, const sd_logger *log, sd_error *err);
/* NULL-safe. */
void sd_hash_cache_destroy(sd_hash_cache **cache);

/* From now on computing ends with SD_E_CANCELLED when `cancelled`, asked before each MiB, says so; NULL:
 * never. */
void sd_hash_cache_watch(sd_hash_cache *cache, bool (*cancelled)(const void *cancel), const void *cancel);

/* 64 lower-case hex digits, computed unless they are remembered. Errors of sd_file_sha256_until. */
sd_status sd_hash_cache_get(sd_hash_cache *cache, const char *path, sd_hash_kind kind,
                            char hex[SD_SHA256_HEX], sd_error *err);

/* True when it is remembered of the file as it is now; nothing is computed. */
bool sd_hash_cache_find(sd_hash_cache *cache, const char *path, sd_hash_kind kind, char hex[SD_SHA256_HEX]);

#endif
