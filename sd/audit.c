/* Logs whose lines are chained by hashes: whoever changes, removes or inserts a line breaks every one behind
 * it. */
#include "sd/sd.h"

#include "sd/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { hash_digits = SD_SHA256_HEX - 1, longest_line = 64 << 20 };

static const char line_format[] = "{\"n\":%" PRIu64 ",\"prev\":\"%s\",\"hash\":\"%s\",\"entry\":%s}\n";
static const char no_hash[] = "0000000000000000000000000000000000000000000000000000000000000000";

struct sd_audit {
    int file;
    char *path;
    uint64_t count;
    char last[SD_SHA256_HEX];
};

/* Of the number, the hash before and the entry. */
static sd_status hash_of(uint64_t n, const char *prev, const char *entry, size_t size,
                         char out[SD_SHA256_HEX], sd_error *err) {
    char *text = malloc(size + 128);
    if (!text)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    int head = snprintf(text, 128, "%" PRIu64 " %s ", n, prev);
    memcpy(text + head, entry, size);
    sd_status status = sd_sha256(text, (size_t)head + size, out, err);
    free(text);
    return status;
}

static bool is_hash(const char *text) {
    return strspn(text, "0123456789abcdef") >= hash_digits;
}

/* The parts of a line, which ends in '\n'; false when it does not have their form. */
static bool split(const char *line, size_t size, uint64_t *n, char prev[SD_SHA256_HEX],
                  char hash[SD_SHA256_HEX], const char **entry, size_t *entry_size) {
    static const char between[] = "\",\"hash\":\"", before[] = "\",\"entry\":";
    char head[64];
    char *end;
    if (size < 200 || strncmp(line, "{\"n\":", 5))
        return false;
    *n = strtoull(line + 5, &end, 10);
    size_t begin = (size_t)snprintf(head, sizeof head, "{\"n\":%" PRIu64 ",\"prev\":\"", *n);
    const char *at = line + begin;
    if (strncmp(line, head, begin) || !is_hash(at) || strncmp(at + hash_digits, between, sizeof between - 1))
        return false;
    memcpy(prev, at, hash_digits);
    prev[hash_digits] = 0;
    at += hash_digits + sizeof between - 1;
    if (!is_hash(at) || strncmp(at + hash_digits, before, sizeof before - 1))
        return false;
    memcpy(hash, at, hash_digits);
    hash[hash_digits] = 0;
    *entry = at + hash_digits + sizeof before - 1;
    const char *last = line + size - 2; /* "}\n" */
    *entry_size = (size_t)(last - *entry);
    return last > *entry && *last == '}';
}

/* Follows the chain; `whole` receives the bytes of complete lines. */
static sd_status follow(FILE *file, const char *path, uint64_t *count, char last[SD_SHA256_HEX], long *whole,
                        sd_error *err) {
    char *line = NULL, prev[SD_SHA256_HEX], hash[SD_SHA256_HEX], want[SD_SHA256_HEX];
    size_t capacity = 0, entry_size;
    const char *entry;
    uint64_t n;
    ssize_t size;
    sd_status status = SD_OK;
    *count = 0;
    *whole = 0;
    snprintf(last, SD_SHA256_HEX, "%s", no_hash);
    while (!status && (size = getline(&line, &capacity, file)) > 0 && line[size - 1] == '\n') {
        uint64_t number = *count + 1;
        if (size > longest_line || !split(line, (size_t)size, &n, prev, hash, &entry, &entry_size))
            status =
                sd_fail(err, SD_E_FORMAT, "%s: line %" PRIu64 ": not a line of an audit log", path, number);
        else if (n != number || strcmp(prev, last))
            status = sd_fail(err, SD_E_FORMAT, "%s: line %" PRIu64 ": does not follow the line before it",
                             path, number);
        else if (!(status = hash_of(n, prev, entry, entry_size, want, err)) && strcmp(want, hash))
            status = sd_fail(err, SD_E_FORMAT, "%s: line %" PRIu64 ": its hash is not that of its content",
                             path, number);
        if (!status) {
            *count = number;
            *whole += size;
            memcpy(last, hash, SD_SHA256_HEX);
        }
    }
    free(line);
    return status;
}

sd_status sd_audit_verify(const char *path, uint64_t *entries, char last[65], sd_error *err) {
    long whole;
    FILE *file = fopen(path, "r");
    struct stat st;
    if (!file)
        return sd_fail(err, SD_E_IO, "%s: %s", path, strerror(errno));
    sd_status status = follow(file, path, entries, last, &whole, err);
    if (!status && (fstat(fileno(file), &st) || st.st_size != whole))
        status = sd_fail(err, SD_E_FORMAT, "%s: line %" PRIu64 ": cut short", path, *entries + 1);
    fclose(file);
    return status;
}

/* Two that write would each break the other's chain. Where the file system has no locks, nobody can tell. */
static sd_status lock(const sd_audit *a, sd_error *err) {
    if (a->file < 0)
        return sd_fail(err, SD_E_IO, "%s: %s", a->path, strerror(errno));
    return flock(a->file, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK
               ? sd_fail(err, SD_E_IO, "%s: another process writes it", a->path)
               : SD_OK;
}

/* What is written into a file that has lost its name is lost with it. */
static sd_status check_place(const sd_audit *a, sd_error *err) {
    struct stat here, there;
    bool same = !fstat(a->file, &here) && !stat(a->path, &there) && here.st_ino == there.st_ino &&
                here.st_dev == there.st_dev;
    return same ? SD_OK : sd_fail(err, SD_E_IO, "%s: the file was removed or replaced", a->path);
}

sd_status sd_audit_open(sd_audit **out, const char *path, sd_error *err) {
    sd_audit *a = calloc(1, sizeof *a);
    long whole = 0;
    *out = NULL;
    if (!a || !(a->path = strdup(path))) {
        free(a);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    a->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    sd_status status = lock(a, err);
    FILE *file = status ? NULL : fopen(path, "r");
    if (!status)
        status = file ? follow(file, path, &a->count, a->last, &whole, err)
                      : sd_fail(err, SD_E_IO, "%s: %s", path, strerror(errno));
    if (file)
        fclose(file);
    /* A line that was cut by a crash was never promised to anyone. */
    if (!status && ftruncate(a->file, whole))
        status = sd_fail(err, SD_E_IO, "%s: %s", path, strerror(errno));
    if (status)
        sd_audit_close(&a);
    *out = a;
    return status;
}

void sd_audit_close(sd_audit **audit) {
    if (!*audit)
        return;
    if ((*audit)->file >= 0)
        close((*audit)->file);
    free((*audit)->path);
    free(*audit);
    *audit = NULL;
}

static sd_status write_line(sd_audit *a, const char *line, size_t size, sd_error *err) {
    struct stat before;
    bool known = !fstat(a->file, &before);
    ssize_t n = write(a->file, line, size);
    if (n == (ssize_t)size && !fdatasync(a->file))
        return SD_OK;
    sd_status status = sd_fail(err, SD_E_IO, "%s: %s", a->path,
                               n < 0 || n == (ssize_t)size ? strerror(errno) : "the disk is full");
    if (known && ftruncate(a->file, before.st_size)) /* best effort: the next open cuts it too */
        return status;
    return status;
}

sd_status sd_audit_append(sd_audit *a, const char *entry, sd_error *err) {
    char hash[SD_SHA256_HEX];
    size_t size = strlen(entry);
    if (entry[0] != '{' || strpbrk(entry, "\r\n"))
        return sd_fail(err, SD_E_ARGUMENT, "audit: expected a JSON object on one line");
    sd_status status = hash_of(a->count + 1, a->last, entry, size, hash, err);
    char *line = status ? NULL : malloc(size + 256);
    if (!status && !line)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (status)
        return status;
    int n = snprintf(line, size + 256, line_format, a->count + 1, a->last, hash, entry);
    status = check_place(a, err);
    if (!status)
        status = write_line(a, line, (size_t)n, err);
    free(line);
    if (!status) {
        a->count++;
        memcpy(a->last, hash, sizeof hash);
    }
    return status;
}
