#include "server/store.h"

#include "server/trouble.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct store {
    sqlite3 *db;
    pthread_mutex_t lock;
    char *path;
    int lock_file; /* -1 in memory */
    bool opened;
    struct stat file;       /* as it was opened; zeros in memory */
    struct trouble trouble; /* of the last write */
};

static const char schema[] =
    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA "
    "foreign_keys=ON;"
    "CREATE TABLE IF NOT EXISTS jobs(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,"
    " state INTEGER NOT NULL, durable INTEGER NOT NULL, face TEXT NOT NULL, owner TEXT NOT NULL,"
    " request TEXT NOT NULL, idempotency TEXT, webhook TEXT, created REAL NOT NULL, started REAL, finished "
    "REAL,"
    " seed INTEGER NOT NULL, wanted INTEGER NOT NULL DEFAULT 1, verdict TEXT, images INTEGER NOT NULL "
    "DEFAULT 0, status INTEGER NOT NULL DEFAULT 0, error "
    "TEXT,"
    " UNIQUE(owner, idempotency));"
    "CREATE INDEX IF NOT EXISTS by_state ON jobs(state, number);"
    "CREATE INDEX IF NOT EXISTS by_webhook ON jobs(number) WHERE webhook IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS images(job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, n INTEGER "
    "NOT NULL,"
    " jpeg INTEGER NOT NULL, seed INTEGER NOT NULL, infotext TEXT, json TEXT, data BLOB NOT NULL,"
    " PRIMARY KEY(job, n)) WITHOUT ROWID;"
    /* Apart from jobs, which may be forgotten within the day. */
    "CREATE TABLE IF NOT EXISTS pictures(owner TEXT NOT NULL, day INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY(owner, day)) WITHOUT ROWID;";

#define COLUMNS                                                                                              \
    "id, state, durable, face, owner, request, idempotency, webhook, created, started, finished, seed, "     \
    "images, status, error, verdict"

const char *job_state_name(enum job_state state) {
    static const char *const names[] = {"queued", "running", "done", "failed", "cancelled"};
    return names[state];
}

void store_row_clear(struct store_row *row) {
    free(row->face);
    free(row->owner);
    free(row->request);
    free(row->idempotency);
    free(row->webhook);
    free(row->error);
    free(row->verdict);
    *row = (struct store_row){0};
}

void store_image_clear(struct store_image *image) {
    free(image->data);
    free(image->infotext);
    free(image->json);
    *image = (struct store_image){0};
}

/* Clients, who read messages of later than the start, need not know where files are. */
static sd_status fail(const store *s, int code, sd_error *err) {
    int cause = code == SQLITE_IOERR || code == SQLITE_CANTOPEN ? sqlite3_system_errno(s->db) : 0;
    const char *why = code == SQLITE_FULL               ? "the disk is full"
                      : code == SQLITE_READONLY_DBMOVED ? "its file was removed or replaced"
                                                        : sqlite3_errmsg(s->db);
    return sd_fail(err, code == SQLITE_NOMEM ? SD_E_MEMORY : SD_E_IO, cause ? "%s: %s: %s" : "%s: %s",
                   s->opened ? "the job store" : s->path, why, strerror(cause));
}

/* Of a write that came to `code`. A job that was accepted before is no trouble. */
static sd_status conclude(store *s, int code, sd_error *err) {
    sd_error found = {0};
    sd_status status = code ? fail(s, code, &found) : SD_OK;
    if (code != SQLITE_CONSTRAINT)
        trouble_set(&s->trouble, found.message);
    if (status && err)
        *err = found;
    return status;
}

/* What is written into a file that has lost its name is gone with the server, and SQLite does not look. With
 * the lock held. */
static int check_place(const store *s) {
    struct stat now;
    bool there = !s->file.st_ino ||
                 (!stat(s->path, &now) && now.st_ino == s->file.st_ino && now.st_dev == s->file.st_dev);
    return there ? SQLITE_OK : SQLITE_READONLY_DBMOVED;
}

/* Binds by letters: t text or NULL, i int64_t, d double, b a blob (pointer, size_t). */
static int bind(sqlite3_stmt *q, const char *types, va_list args) {
    int code = SQLITE_OK;
    for (int i = 1; *types && code == SQLITE_OK; types++, i++)
        switch (*types) {
        case 't':
            code = sqlite3_bind_text(q, i, va_arg(args, const char *), -1, SQLITE_STATIC);
            break;
        case 'i':
            code = sqlite3_bind_int64(q, i, va_arg(args, int64_t));
            break;
        case 'd':
            code = sqlite3_bind_double(q, i, va_arg(args, double));
            break;
        default: {
            const void *data = va_arg(args, const void *);
            code = sqlite3_bind_blob64(q, i, data, va_arg(args, size_t), SQLITE_STATIC);
        }
        }
    return code;
}

/* One statement; *number is its first column, 0 where there is no row. With the lock held. */
static int step(store *s, int64_t *number, const char *sql, const char *types, va_list args) {
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
    if (code == SQLITE_OK && (code = bind(q, types, args)) == SQLITE_OK)
        code = sqlite3_step(q);
    *number = code == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return code;
}

static int run_list(store *s, const char *sql, const char *types, va_list args) {
    int64_t unused;
    int code = step(s, &unused, sql, types, args);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

/* One statement without a result. With the lock held. */
static int run(store *s, const char *sql, const char *types, ...) {
    va_list args;
    va_start(args, types);
    int code = run_list(s, sql, types, args);
    va_end(args);
    return code;
}

/* One statement that writes. */
static sd_status change(store *s, sd_error *err, const char *sql, const char *types, ...) {
    va_list args;
    va_start(args, types);
    pthread_mutex_lock(&s->lock);
    int code = check_place(s);
    sd_status status = conclude(s, code ? code : run_list(s, sql, types, args), err);
    pthread_mutex_unlock(&s->lock);
    va_end(args);
    return status;
}

/* Two servers would each take up what the other one runs. Where the file system has no locks, nobody can
 * tell. */
static sd_status lock_folder(store *s, const char *folder, sd_error *err) {
    size_t size = strlen(folder) + 16;
    char *path = malloc(size);
    if (!path)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    snprintf(path, size, "%s/lock", folder);
    s->lock_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    sd_status status = SD_OK;
    if (s->lock_file < 0)
        status = sd_fail(err, SD_E_IO, "%s: %s", path, strerror(errno));
    else if (flock(s->lock_file, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        status = sd_fail(err, SD_E_IO, "%s: another sdvk-server uses this folder", folder);
    free(path);
    return status;
}

static sd_status open_database(store *s, const char *folder, sd_error *err) {
    int code;
    if (folder && mkdir(folder, 0700) && errno != EEXIST)
        return sd_fail(err, SD_E_IO, "%s: %s", folder, strerror(errno));
    if ((code = sqlite3_open_v2(s->path, &s->db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL)) ||
        (code = sqlite3_busy_timeout(s->db, 2000)) || (code = sqlite3_exec(s->db, schema, NULL, NULL, NULL)))
        return fail(s, code, err);
    if (folder && stat(s->path, &s->file))
        return sd_fail(err, SD_E_IO, "%s: %s", s->path, strerror(errno));
    return folder ? lock_folder(s, folder, err) : SD_OK;
}

sd_status store_open(store **out, const char *folder, sd_error *err) {
    store *s = calloc(1, sizeof *s);
    size_t size = folder ? strlen(folder) + 16 : 16;
    *out = NULL;
    if (!s || !(s->path = malloc(size))) {
        free(s);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    s->lock_file = -1;
    pthread_mutex_init(&s->lock, NULL);
    trouble_init(&s->trouble);
    snprintf(s->path, size, folder ? "%s/jobs.sqlite" : ":memory:", folder);
    sd_status status = open_database(s, folder, err);
    if (status)
        store_close(&s);
    else
        s->opened = true;
    *out = s;
    return status;
}

void store_close(store **handle) {
    store *s = *handle;
    if (!s)
        return;
    sqlite3_close(s->db);
    if (s->lock_file >= 0)
        close(s->lock_file);
    pthread_mutex_destroy(&s->lock);
    trouble_destroy(&s->trouble);
    free(s->path);
    free(s);
    *handle = NULL;
}

bool store_trouble(store *s, char *out, size_t size) {
    return trouble_get(&s->trouble, out, size);
}

sd_status store_probe(store *s, sd_error *err) {
    return change(s, err, "PRAGMA user_version=1", "");
}

int64_t store_day(double seconds) {
    return (int64_t)floor(seconds / 86400);
}

/* With the lock held. */
static int begin(store *s) {
    int code = check_place(s);
    return code ? code : run(s, "BEGIN IMMEDIATE", "");
}

/* The end of a transaction that came to `code`. With the lock held. */
static sd_status commit(store *s, int code, sd_error *err) {
    if (!code)
        code = run(s, "COMMIT", "");
    sd_status status = conclude(s, code, err);
    if (!sqlite3_get_autocommit(s->db)) /* some errors have taken the transaction back already */
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* With the lock held. */
static sd_status add(store *s, const struct store_row *r, uint32_t wanted, sd_error *err) {
    int64_t day = store_day(r->created);
    int code = begin(s);
    if (!code)
        code =
            run(s,
                "INSERT INTO jobs(id, state, durable, face, owner, request, idempotency, webhook, verdict, "
                "created, seed, wanted) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
                "tiittttttdii", r->id, (int64_t)r->state, (int64_t)r->durable, r->face, r->owner, r->request,
                r->idempotency, r->webhook, r->verdict, r->created, r->seed, (int64_t)wanted);
    if (!code)
        code =
            run(s,
                "INSERT INTO pictures(owner, day, count) VALUES(?,?,?) ON CONFLICT(owner, day) DO UPDATE SET "
                "count=count+excluded.count",
                "tii", r->owner, day, (int64_t)wanted);
    if (!code)
        code = run(s, "DELETE FROM pictures WHERE day<?", "i", day - 1);
    return commit(s, code, err);
}

sd_status store_add(store *s, const struct store_row *row, uint32_t wanted, sd_error *err) {
    pthread_mutex_lock(&s->lock);
    sd_status status = add(s, row, wanted, err);
    pthread_mutex_unlock(&s->lock);
    return status;
}

sd_status store_started(store *s, const char *id, double when, sd_error *err) {
    return change(s, err, "UPDATE jobs SET state=?, started=? WHERE id=?", "idt", (int64_t)JOB_RUNNING, when,
                  id);
}

/* With the lock held. */
static sd_status finish(store *s, const struct store_row *r, const struct store_image *images,
                        sd_error *err) {
    int code = begin(s);
    for (uint32_t i = 0; i < r->images && !code; i++)
        code = run(s, "INSERT INTO images(job, n, jpeg, seed, infotext, json, data) VALUES(?,?,?,?,?,?,?)",
                   "tiiittb", r->id, (int64_t)i, (int64_t)images[i].jpeg, images[i].seed, images[i].infotext,
                   images[i].json, (const void *)images[i].data, images[i].size);
    if (!code)
        code = run(s, "UPDATE jobs SET state=?, finished=?, images=?, status=?, error=? WHERE id=?", "idiitt",
                   (int64_t)r->state, r->finished, (int64_t)r->images, (int64_t)r->status, r->error, r->id);
    /* What was not made is given back. */
    if (!code)
        code =
            run(s,
                "UPDATE pictures SET count=max(0, count-(SELECT wanted-images FROM jobs WHERE id=?)) WHERE "
                "owner=? AND day=?",
                "tti", r->id, r->owner, store_day(r->created));
    return commit(s, code, err);
}

sd_status store_finish(store *s, const struct store_row *row, const struct store_image *images,
                       sd_error *err) {
    pthread_mutex_lock(&s->lock);
    sd_status status = finish(s, row, images, err);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static char *text_of(sqlite3_stmt *q, int column) {
    const char *text = (const char *)sqlite3_column_text(q, column);
    return text ? strdup(text) : NULL;
}

static void read_row(sqlite3_stmt *q, struct store_row *out) {
    *out = (struct store_row){.state = (enum job_state)sqlite3_column_int(q, 1),
                              .durable = sqlite3_column_int(q, 2) != 0,
                              .face = text_of(q, 3),
                              .owner = text_of(q, 4),
                              .request = text_of(q, 5),
                              .idempotency = text_of(q, 6),
                              .webhook = text_of(q, 7),
                              .created = sqlite3_column_double(q, 8),
                              .started = sqlite3_column_double(q, 9),
                              .finished = sqlite3_column_double(q, 10),
                              .seed = sqlite3_column_int64(q, 11),
                              .images = (uint32_t)sqlite3_column_int64(q, 12),
                              .status = (sd_status)sqlite3_column_int(q, 13),
                              .error = text_of(q, 14),
                              .verdict = text_of(q, 15)};
    snprintf(out->id, sizeof out->id, "%s", (const char *)sqlite3_column_text(q, 0));
}

/* Calls `each` for every row; SD_E_NOT_FOUND when there was none and `needed`. */
static sd_status query(store *s, void (*each)(void *user, struct store_row *row), void *user,
                       const char *needed, sd_error *err, const char *sql, const char *types, ...) {
    sqlite3_stmt *q = NULL;
    va_list args;
    bool any = false;
    pthread_mutex_lock(&s->lock);
    int code = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
    va_start(args, types);
    if (code == SQLITE_OK)
        code = bind(q, types, args);
    va_end(args);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        if ((code = sqlite3_step(q)) != SQLITE_ROW)
            break;
        struct store_row row;
        any = true;
        read_row(q, &row);
        each(user, &row);
    }
    sqlite3_finalize(q);
    sd_status status = code == SQLITE_DONE ? SD_OK : fail(s, code, err);
    pthread_mutex_unlock(&s->lock);
    return status || any || !needed ? status : sd_fail(err, SD_E_NOT_FOUND, "%s", needed);
}

static void keep_row(void *user, struct store_row *row) {
    *(struct store_row *)user = *row;
}

sd_status store_get(store *s, const char *id, struct store_row *out, sd_error *err) {
    *out = (struct store_row){0};
    return query(s, keep_row, out, "there is no such job", err, "SELECT " COLUMNS " FROM jobs WHERE id=?",
                 "t", id);
}

sd_status store_find(store *s, const char *owner, const char *key, struct store_row *out, sd_error *err) {
    *out = (struct store_row){0};
    return query(s, keep_row, out, "there is no such job", err,
                 "SELECT " COLUMNS " FROM jobs WHERE owner=? AND idempotency=?", "tt", owner, key);
}

sd_status store_list(store *s, const char *owner, uint32_t skip, uint32_t count,
                     void (*each)(void *user, struct store_row *row), void *user, sd_error *err) {
    return query(s, each, user, NULL, err,
                 "SELECT " COLUMNS " FROM jobs WHERE ?1 IS NULL OR owner=?1 ORDER BY number DESC LIMIT ?2 "
                 "OFFSET ?3",
                 "tii", owner, (int64_t)count, (int64_t)skip);
}

sd_status store_unfinished(store *s, void (*each)(void *user, struct store_row *row), void *user,
                           sd_error *err) {
    return query(s, each, user, NULL, err, "SELECT " COLUMNS " FROM jobs WHERE state<=? ORDER BY number", "i",
                 (int64_t)JOB_RUNNING);
}

sd_status store_webhooks(store *s, void (*each)(void *user, struct store_row *row), void *user,
                         sd_error *err) {
    return query(s, each, user, NULL, err,
                 "SELECT " COLUMNS " FROM jobs WHERE webhook IS NOT NULL AND state>? ORDER BY number", "i",
                 (int64_t)JOB_RUNNING);
}

sd_status store_webhook_done(store *s, const char *id, sd_error *err) {
    return change(s, err, "UPDATE jobs SET webhook=NULL WHERE id=?", "t", id);
}

sd_status store_get_image(store *s, const char *id, uint32_t n, struct store_image *out, sd_error *err) {
    sqlite3_stmt *q = NULL;
    sd_status status = SD_OK;
    *out = (struct store_image){0};
    pthread_mutex_lock(&s->lock);
    int code = sqlite3_prepare_v2(
        s->db, "SELECT jpeg, seed, infotext, json, data FROM images WHERE job=? AND n=?", -1, &q, NULL);
    if (!code && !(code = sqlite3_bind_text(q, 1, id, -1, SQLITE_STATIC)) &&
        !(code = sqlite3_bind_int64(q, 2, n)))
        code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        out->size = (size_t)sqlite3_column_bytes(q, 4);
        out->jpeg = sqlite3_column_int(q, 0) != 0;
        out->seed = sqlite3_column_int64(q, 1);
        out->infotext = text_of(q, 2);
        out->json = text_of(q, 3);
        if ((out->data = malloc(out->size + 1)))
            memcpy(out->data, sqlite3_column_blob(q, 4), out->size);
        else
            status = fail(s, SQLITE_NOMEM, err);
    } else
        status = code == SQLITE_DONE ? sd_fail(err, SD_E_NOT_FOUND, "there is no such picture")
                                     : fail(s, code, err);
    sqlite3_finalize(q);
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* One number. */
static sd_status number(store *s, int64_t *out, sd_error *err, const char *sql, const char *types, ...) {
    va_list args;
    va_start(args, types);
    pthread_mutex_lock(&s->lock);
    int code = step(s, out, sql, types, args);
    sd_status status = code == SQLITE_ROW ? SD_OK : fail(s, code, err);
    pthread_mutex_unlock(&s->lock);
    va_end(args);
    return status;
}

bool store_owns(store *s, const char *id, const char *owner) {
    int64_t count;
    return !number(s, &count, NULL, "SELECT count(*) FROM jobs WHERE id=? AND owner=?", "tt", id, owner) &&
           count;
}

sd_status store_pictures(store *s, const char *owner, int64_t day, uint64_t *out, sd_error *err) {
    int64_t count;
    sd_status status =
        number(s, &count, err, "SELECT coalesce(sum(count),0) FROM pictures WHERE owner=? AND day=?", "ti",
               owner, day);
    *out = (uint64_t)count;
    return status;
}

sd_status store_prune(store *s, uint32_t keep, sd_error *err) {
    sd_status status =
        change(s, err,
               "DELETE FROM jobs WHERE state>? AND number<=(SELECT number FROM jobs WHERE state>? ORDER "
               "BY number DESC LIMIT 1 OFFSET ?) AND webhook IS NULL",
               "iii", (int64_t)JOB_RUNNING, (int64_t)JOB_RUNNING, (int64_t)keep);
    return status ? status : change(s, err, "PRAGMA incremental_vacuum(256)", "");
}

sd_status store_remove(store *s, const char *id, sd_error *err) {
    return change(s, err, "DELETE FROM jobs WHERE id=? AND state>?", "ti", id, (int64_t)JOB_RUNNING);
}
