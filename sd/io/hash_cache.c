#define _XOPEN_SOURCE 700 /* realpath */

#include "sd/io/hash_cache.h"

#include "sd/base/folders.h"
#include "sd/io/safetensors.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* How long another process may hold the file before its answer is not waited for: hashing costs less than a
 * longer wait. */
enum { patience_ms = 2000 };

struct sd_hash_cache {
    char *path; /* NULL: nothing is remembered */
    sd_logger log;
    sqlite3 *db; /* NULL before the first use, and after it cannot be used */
    bool opened;
    bool (*cancelled)(const void *cancel); /* or NULL */
    const void *cancel;
};

/* Which contents of a file a hash is of. */
struct state {
    sqlite3_int64 size, changed; /* nanoseconds since 1970 */
};

sd_status sd_hash_cache_create(sd_hash_cache **out, const char *folder, const sd_logger *log, sd_error *err) {
    sd_hash_cache *c = *out = calloc(1, sizeof *c);
    if (!c)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    if (log)
        c->log = *log;
    if (!folder || !*folder)
        return SD_OK;
    size_t size = strlen(folder) + sizeof "/hashes.sqlite";
    if (!(c->path = malloc(size))) {
        sd_hash_cache_destroy(out);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    snprintf(c->path, size, "%s/hashes.sqlite", folder);
    return SD_OK;
}

void sd_hash_cache_destroy(sd_hash_cache **cache) {
    sd_hash_cache *c = *cache;
    if (!c)
        return;
    sqlite3_close(c->db);
    free(c->path);
    free(c);
    *cache = NULL;
}

/* A file that another process holds is left alone this time; any other failure is for good. */
static void failed(sd_hash_cache *c) {
    int code = c->db ? sqlite3_errcode(c->db) : SQLITE_NOMEM;
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return;
    sd_log(&c->log, SD_LOG_WARNING, "%s: hashes are not remembered: %s", c->path,
           c->db ? sqlite3_errmsg(c->db) : "out of memory");
    sqlite3_close(c->db);
    c->db = NULL;
}

static void open_once(sd_hash_cache *c) {
    static const char table[] =
        "CREATE TABLE IF NOT EXISTS hashes (path TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL,"
        " changed INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (path, kind)) WITHOUT ROWID";
    if (c->opened || !c->path)
        return;
    c->opened = true;
    sd_make_folders(c->path);
    if (sqlite3_open_v2(c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) ||
        sqlite3_busy_timeout(c->db, patience_ms) || sqlite3_exec(c->db, table, NULL, NULL, NULL))
        failed(c);
}

static const char *kind_name(sd_hash_kind kind) {
    return kind == SD_HASH_DATA ? "data" : "file";
}

/* A statement on the file, its first two parameters bound; NULL when there is no file to ask. */
static sqlite3_stmt *prepare(sd_hash_cache *c, const char *sql, const char *path, sd_hash_kind kind) {
    sqlite3_stmt *s = NULL;
    if (!c->db)
        return NULL;
    if (sqlite3_prepare_v2(c->db, sql, -1, &s, NULL) || sqlite3_bind_text(s, 1, path, -1, SQLITE_STATIC) ||
        sqlite3_bind_text(s, 2, kind_name(kind), -1, SQLITE_STATIC)) {
        sqlite3_finalize(s);
        failed(c);
        return NULL;
    }
    return s;
}

static bool is_hash(const char *text) {
    return text && strlen(text) == SD_SHA256_HEX - 1 && strspn(text, "0123456789abcdef") == SD_SHA256_HEX - 1;
}

static bool recall(sd_hash_cache *c, const char *path, sd_hash_kind kind, const struct state *state,
                   char hex[SD_SHA256_HEX]) {
    sqlite3_stmt *s =
        prepare(c, "SELECT size, changed, sha256 FROM hashes WHERE path = ?1 AND kind = ?2", path, kind);
    if (!s)
        return false;
    int code = sqlite3_step(s);
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 2) : NULL;
    bool known = sqlite3_column_int64(s, 0) == state->size && sqlite3_column_int64(s, 1) == state->changed &&
                 is_hash(text);
    if (known)
        memcpy(hex, text, SD_SHA256_HEX);
    sqlite3_finalize(s);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        failed(c);
    return known;
}

static void remember(sd_hash_cache *c, const char *path, sd_hash_kind kind, const struct state *state,
                     const char *hex) {
    sqlite3_stmt *s = prepare(c, "INSERT OR REPLACE INTO hashes VALUES (?1, ?2, ?3, ?4, ?5)", path, kind);
    if (!s)
        return;
    int code = sqlite3_bind_int64(s, 3, state->size);
    code = code ? code : sqlite3_bind_int64(s, 4, state->changed);
    code = code ? code : sqlite3_bind_text(s, 5, hex, -1, SQLITE_STATIC);
    code = code ? code : sqlite3_step(s);
    sqlite3_finalize(s);
    if (code != SQLITE_DONE)
        failed(c);
}

static bool examine(const char *path, struct state *out) {
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode))
        return false;
    out->size = st.st_size;
    out->changed = (sqlite3_int64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return true;
}

void sd_hash_cache_watch(sd_hash_cache *c, bool (*cancelled)(const void *cancel), const void *cancel) {
    c->cancelled = cancelled;
    c->cancel = cancel;
}

static sd_status compute(const sd_hash_cache *c, const char *path, sd_hash_kind kind, char hex[SD_SHA256_HEX],
                         sd_error *err) {
    sd_safetensors *file = NULL;
    uint64_t offset = 0;
    if (kind == SD_HASH_DATA && !sd_safetensors_open(path, &file, NULL))
        offset = sd_safetensors_data_offset(file);
    sd_safetensors_close(&file);
    return sd_file_sha256_until(path, offset, c->cancelled, c->cancel, hex, err);
}

sd_status sd_hash_cache_get(sd_hash_cache *c, const char *path, sd_hash_kind kind, char hex[SD_SHA256_HEX],
                            sd_error *err) {
    struct state before, after;
    char *whole = realpath(path, NULL); /* the same file by another way has the same row */
    bool regular = whole && examine(whole, &before);
    sd_status status = SD_OK;
    open_once(c);
    if (!regular || !recall(c, whole, kind, &before, hex)) {
        status = compute(c, path, kind, hex, err);
        /* A file that changed meanwhile has another hash the next time. */
        if (!status && regular && examine(whole, &after) && !memcmp(&before, &after, sizeof before))
            remember(c, whole, kind, &before, hex);
    }
    free(whole);
    return status;
}

bool sd_hash_cache_find(sd_hash_cache *c, const char *path, sd_hash_kind kind, char hex[SD_SHA256_HEX]) {
    struct state state;
    char *whole = realpath(path, NULL);
    open_once(c);
    bool known = whole && examine(whole, &state) && recall(c, whole, kind, &state, hex);
    free(whole);
    return known;
}
