#include "sd/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct sd_file_writer {
    char *path;
    char *folder;
    char *temporary; /* NULL: `path` is a device or pipe and is written in place */
    int fd;
};

static void free_writer(sd_file_writer **writer) {
    sd_file_writer *w = *writer;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w->folder);
    free(w->temporary);
    free(w);
    *writer = NULL;
}

/* The part of the path before the last slash, "." when there is none; heap. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static sd_status refused(const char *path, const char *folder, int reason, sd_error *err) {
    if (reason == ENOENT || reason == ENOTDIR)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: cannot be written: the folder %s does not exist", path,
                       folder);
    return sd_fail(err, SD_E_IO, "%s: cannot be written: %s", path, strerror(reason));
}

/* Creates a new file next to the target. The name holds the process id, so that only writers of this process
 * can collide, and a left-over of a killed process is passed over. */
static sd_status open_temporary(sd_file_writer *w, sd_error *err) {
    size_t room = strlen(w->folder) + 48;
    w->temporary = malloc(room);
    if (!w->temporary)
        return sd_fail(err, SD_E_MEMORY, "%s: no memory to write it", w->path);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(w->temporary, room, "%s/.sdvk-%ld-%u.tmp", w->folder, (long)getpid(), i);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0 || errno != EEXIST)
            break;
    }
    if (w->fd >= 0)
        return SD_OK;
    int reason = errno;
    free(w->temporary);
    w->temporary = NULL;
    return refused(w->path, w->folder, reason, err);
}

sd_status sd_file_writer_open(const char *path, sd_file_writer **out, sd_error *err) {
    struct stat st;
    *out = NULL;
    sd_file_writer *w = calloc(1, sizeof *w);
    if (!w) {
        sd_fail(err, SD_E_MEMORY, "%s: no memory to write it", path);
        return SD_E_MEMORY;
    }
    w->fd = -1;
    w->path = strdup(path);
    w->folder = folder_of(path);
    sd_status status = SD_OK;
    size_t length = strlen(path);
    bool exists = length && stat(path, &st) == 0;
    if (!w->path || !w->folder)
        status = sd_fail(err, SD_E_MEMORY, "%s: no memory to write it", path);
    else if (!length)
        status = sd_fail(err, SD_E_ARGUMENT, "the name of the file to write is empty");
    else if (path[length - 1] == '/' || (exists && S_ISDIR(st.st_mode)))
        status = sd_fail(err, SD_E_IO, "%s: expected the name of a file to write, found a folder", path);
    else if (exists && !S_ISREG(st.st_mode)) {
        w->fd = open(path, O_WRONLY | O_CLOEXEC);
        if (w->fd < 0)
            status = refused(path, w->folder, errno, err);
    } else
        status = open_temporary(w, err);
    if (status)
        free_writer(&w);
    *out = w;
    return status;
}

sd_status sd_file_writer_write(sd_file_writer *w, const void *data, size_t size, sd_error *err) {
    const uint8_t *p = data;
    while (size) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refused(w->path, w->folder, errno, err);
        p += n;
        size -= (size_t)n;
    }
    return SD_OK;
}

/* Makes the rename itself survive a power cut. Some file systems cannot do it for folders; that is no failure
 * of the file. */
static void flush_folder(const char *folder) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

sd_status sd_file_writer_commit(sd_file_writer **writer, sd_error *err) {
    sd_file_writer *w = *writer;
    int reason = 0;
    if (w->temporary && fsync(w->fd) != 0)
        reason = errno;
    if (close(w->fd) != 0 && !reason)
        reason = errno;
    w->fd = -1;
    if (!reason && w->temporary && rename(w->temporary, w->path) != 0)
        reason = errno;
    sd_status status = SD_OK;
    if (reason) {
        status = refused(w->path, w->folder, reason, err);
        sd_file_writer_discard(writer);
        return status;
    }
    if (w->temporary)
        flush_folder(w->folder);
    free_writer(writer);
    return status;
}

void sd_file_writer_discard(sd_file_writer **writer) {
    if (*writer && (*writer)->temporary)
        unlink((*writer)->temporary);
    free_writer(writer);
}

sd_status sd_file_write(const char *path, const void *data, size_t size, sd_error *err) {
    sd_file_writer *w;
    sd_status status = sd_file_writer_open(path, &w, err);
    if (status)
        return status;
    status = sd_file_writer_write(w, data, size, err);
    if (status) {
        sd_file_writer_discard(&w);
        return status;
    }
    return sd_file_writer_commit(&w, err);
}
