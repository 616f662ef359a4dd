#include "server/a1111.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { short_hash = 10 };

/* What follows the name in a path: the name is its end without the extension. */
char *a1111_file_of(const sd_library_file *file) {
    const char *slash = strrchr(file->name, '/'), *stem = slash ? slash + 1 : file->name;
    const char *base = strrchr(file->path, '/');
    base = base ? base + 1 : file->path;
    size_t n = strlen(stem);
    const char *extension = !strncmp(base, stem, n) ? base + n : "";
    size_t size = strlen(file->name) + strlen(extension) + 1;
    char *out = malloc(size);
    if (out)
        snprintf(out, size, "%s%s", file->name, extension);
    return out;
}

static char *underscored(const char *name) {
    char *out = strdup(name);
    for (char *p = out; p && *p; p++)
        if (*p == '/')
            *p = '_';
    return out;
}

struct listing {
    struct a1111_models *models;
    sd_hashes *hashes;
    bool failed;
};

static void add(void *user, const sd_library_file *file) {
    struct listing *l = user;
    struct a1111_models *models = l->models;
    struct a1111_model *grown = realloc(models->items, (models->count + 1) * sizeof *grown);
    if (!grown) {
        l->failed = true;
        return;
    }
    models->items = grown;
    struct a1111_model *m = &grown[models->count++];
    *m = (struct a1111_model){
        .name = strdup(file->name), .model_name = underscored(file->name), .file = a1111_file_of(file)};
    if (!sd_hashes_of_model(l->hashes, file->path, m->sha256))
        m->sha256[0] = 0;
    size_t size = (m->file ? strlen(m->file) : 0) + short_hash + 4;
    m->title = malloc(size);
    if (!m->name || !m->model_name || !m->file || !m->title)
        l->failed = true;
    else if (m->sha256[0])
        snprintf(m->title, size, "%s [%.*s]", m->file, short_hash, m->sha256);
    else
        snprintf(m->title, size, "%s", m->file);
}

sd_status a1111_models_list(const catalog *files, struct a1111_models *out, sd_error *err) {
    struct listing l = {.models = out};
    *out = (struct a1111_models){0};
    sd_status status = sd_hashes_open(&l.hashes, NULL, err);
    if (!status)
        status = catalog_each(files, SD_LIBRARY_CHECKPOINT, add, &l, err);
    sd_hashes_close(&l.hashes);
    if (!status && l.failed)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (status)
        a1111_models_clear(out);
    return status;
}

void a1111_models_clear(struct a1111_models *models) {
    for (size_t i = 0; i < models->count; i++) {
        free(models->items[i].name);
        free(models->items[i].title);
        free(models->items[i].model_name);
        free(models->items[i].file);
    }
    free(models->items);
    *models = (struct a1111_models){0};
}

/* A title's "[0123456789]" changes when the hash is known, and is no part of the name. */
static size_t without_hash(const char *word) {
    size_t n = strlen(word);
    const char *bracket = strrchr(word, '[');
    if (!n || word[n - 1] != ']' || !bracket || bracket == word || bracket[-1] != ' ')
        return n;
    return (size_t)(bracket - word) - 1;
}

/* `loose`: by the last part of the name too, which several may have. */
static bool is_called(const struct a1111_model *m, const char *word, size_t n, bool loose) {
    const char *slash = strrchr(m->file, '/'), *base = slash ? slash + 1 : m->file;
    const char *stem = strrchr(m->name, '/') ? strrchr(m->name, '/') + 1 : m->name;
    const char *const names[] = {m->file, m->name, m->model_name, base, stem};
    for (size_t i = 0; i < (loose ? 5 : 3); i++)
        if (strlen(names[i]) == n && !strncasecmp(names[i], word, n))
            return true;
    return m->sha256[0] && (n == short_hash || n == 64) && !strncasecmp(m->sha256, word, n);
}

const struct a1111_model *a1111_models_find(const struct a1111_models *models, const char *word,
                                            const char *field, struct a1111_refusal *r) {
    const char *names[65] = {NULL};
    size_t n = without_hash(word);
    for (size_t i = 0; i < 2 * models->count; i++)
        if (is_called(&models->items[i % models->count], word, n, i >= models->count))
            return &models->items[i % models->count];
    for (size_t i = 0; i < models->count && i < 64; i++)
        names[i] = models->items[i].name;
    const char *near = sd_suggest(word, names);
    a1111_refuse(r, field,
                 near ? "%s: there is no model '%.100s'; did you mean '%s'?"
                      : "%s: there is no model '%.100s'; /sdapi/v1/sd-models lists them%s",
                 field, word, near ? near : "");
    return NULL;
}
