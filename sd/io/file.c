/* madvise is not in POSIX, and posix_madvise ignores the advice that gives pages back. */
#define _DEFAULT_SOURCE

#include "sd/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void sd_bytes_clear(sd_bytes *bytes) {
    free(bytes->data);
    *bytes = (sd_bytes){0};
}

/* Opens a regular file and gives its size; the caller closes *fd. O_NONBLOCK keeps a pipe without a writer
 * from blocking the open. */
static sd_status open_regular(const char *path, uint64_t limit, int *fd, uint64_t *size, sd_error *err) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return sd_fail(err, SD_E_NOT_FOUND, "%s: no such file", path);
        if (errno == EACCES || errno == EPERM)
            return sd_fail(err, SD_E_ARGUMENT, "%s: no permission to read this file", path);
        return sd_fail(err, SD_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    sd_status status = SD_OK;
    if (fstat(*fd, &st) != 0)
        status = sd_fail(err, SD_E_IO, "%s: cannot be examined: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        status = sd_fail(err, SD_E_FORMAT, "%s: expected a file, found a folder", path);
    else if (!S_ISREG(st.st_mode))
        status =
            sd_fail(err, SD_E_FORMAT, "%s: expected a regular file, found a device, pipe or socket", path);
    else if (limit && (uint64_t)st.st_size > limit)
        status = sd_fail(err, SD_E_FORMAT, "%s: expected at most %" PRIu64 " bytes, found %" PRIu64, path,
                         limit, (uint64_t)st.st_size);
    else if ((uint64_t)st.st_size > SIZE_MAX - 1)
        status = sd_fail(err, SD_E_UNSUPPORTED, "%s: too large for this machine's address space", path);
    if (status) {
        close(*fd);
        *fd = -1;
        return status;
    }
    *size = (uint64_t)st.st_size;
    return SD_OK;
}

sd_status sd_file_map(const char *path, uint64_t limit, sd_mapping *out, sd_error *err) {
    int fd;
    uint64_t size = 0;
    *out = (sd_mapping){0};
    sd_status status = open_regular(path, limit, &fd, &size, err);
    if (status)
        return status;
    if (size == 0) {
        close(fd);
        return sd_fail(err, SD_E_FORMAT, "%s: the file is empty", path);
    }
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    close(fd);
    if (data == MAP_FAILED)
        return sd_fail(err, reason == ENOMEM ? SD_E_MEMORY : SD_E_IO, "%s: cannot be mapped: %s", path,
                       strerror(reason));
    *out = (sd_mapping){.data = data, .size = (size_t)size};
    return SD_OK;
}

void sd_file_unmap(sd_mapping *mapping) {
    if (mapping->data)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (sd_mapping){0};
}

/* The system fetches no more than its read-ahead (128 KiB or more) for one hint. */
enum { advice_piece = 128 << 10 };

void sd_mapping_advise(const sd_mapping *mapping, const void *data, size_t size, sd_file_advice advice) {
    uintptr_t first = (uintptr_t)mapping->data, at = (uintptr_t)data, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (!mapping->data || at < first || at - first > mapping->size || size > mapping->size - (at - first))
        return;
    uintptr_t begin = at & ~(page - 1), end = at + size;
    if (advice == SD_FILE_DONE) { /* pages at the ends hold what belongs to others */
        begin = (at + page - 1) & ~(page - 1);
        end &= ~(page - 1);
        if (begin < end)
            madvise((void *)begin, end - begin, MADV_DONTNEED);
        return;
    }
    for (; begin < end; begin += advice_piece)
        madvise((void *)begin, end - begin < advice_piece ? end - begin : advice_piece, MADV_WILLNEED);
}

sd_status sd_file_read(const char *path, uint64_t limit, sd_bytes *out, sd_error *err) {
    int fd;
    uint64_t size = 0;
    size_t have = 0;
    *out = (sd_bytes){0};
    sd_status status = open_regular(path, limit ? limit : (uint64_t)64 << 20, &fd, &size, err);
    if (status)
        return status;
    uint8_t *data = malloc((size_t)size + 1);
    if (!data) {
        close(fd);
        return sd_fail(err, SD_E_MEMORY, "%s: no memory for its %" PRIu64 " bytes", path, size);
    }
    while (have < size) {
        ssize_t n = read(fd, data + have, (size_t)size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            status = sd_fail(err, SD_E_IO, "%s: cannot be read: %s", path,
                             n ? strerror(errno) : "it became shorter meanwhile");
            break;
        }
        have += (size_t)n;
    }
    close(fd);
    if (status) {
        free(data);
        return status;
    }
    data[size] = 0;
    *out = (sd_bytes){.data = data, .size = (size_t)size};
    return SD_OK;
}
