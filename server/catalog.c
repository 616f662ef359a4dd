#include "server/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct catalog {
    const struct config *config;
    char *path, *name; /* of the default model */
};

static sd_status no_memory(sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "out of memory");
}

/* The last part of the path, without a known extension. */
static char *name_of(const char *path) {
    static const char *const known[] = {".safetensors", ".sft", ".gguf", ".ckpt"};
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin && path[begin - 1] != '/')
        begin--;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i]);
        if (end - begin > n && !strncmp(path + end - n, known[i], n)) {
            end -= n;
            break;
        }
    }
    return strndup(path + begin, end - begin);
}

struct first {
    char *path, *name;
    bool done;
};

static void take_first(void *user, const sd_library_file *file) {
    struct first *f = user;
    if (f->done)
        return;
    f->done = true;
    f->path = strdup(file->path);
    f->name = strdup(file->name);
}

static sd_status each_in(const char *folder, sd_library_kind kind,
                         void (*each)(void *user, const sd_library_file *file), void *user, sd_error *err) {
    sd_library *library;
    sd_status status = sd_library_open(&library, folder, err);
    for (size_t i = 0; !status && i < sd_library_count(library); i++)
        if (sd_library_at(library, i)->kind == kind)
            each(user, sd_library_at(library, i));
    if (!status)
        sd_library_close(&library);
    return status;
}

static sd_status find_default(catalog *c, sd_error *err) {
    struct first first = {0};
    if (c->config->model) {
        sd_status status =
            sd_library_resolve(c->config->models, SD_LIBRARY_CHECKPOINT, c->config->model, &c->path, err);
        c->name = status ? NULL : name_of(c->path);
        return status || c->name ? status : no_memory(err);
    }
    sd_status status = each_in(c->config->models, SD_LIBRARY_CHECKPOINT, take_first, &first, err);
    c->path = first.path;
    c->name = first.name;
    if (!status && !first.done)
        status =
            sd_fail(err, SD_E_NOT_FOUND,
                    "%s: expected a checkpoint in it, found none (name one with --model)", c->config->models);
    return status || (c->path && c->name) ? status : no_memory(err);
}

sd_status catalog_open(catalog **out, const struct config *config, sd_error *err) {
    catalog *c = *out = calloc(1, sizeof *c);
    if (!c)
        return no_memory(err);
    c->config = config;
    sd_status status = find_default(c, err);
    if (status)
        catalog_close(out);
    return status;
}

void catalog_close(catalog **c) {
    if (!*c)
        return;
    free((*c)->path);
    free((*c)->name);
    free(*c);
    *c = NULL;
}

void catalog_hide(const catalog *c, char *message) {
    const char *folder = c->config->models;
    size_t n = folder ? strlen(folder) : 0;
    while (n > 1 && folder[n - 1] == '/')
        n--;
    if (!n)
        return;
    for (char *at = message; (at = strstr(at, folder));) {
        /* What is left is the path below it: "loras/acme.safetensors". */
        size_t cut = n + (at[n] == '/' && at[n + 1]);
        memmove(at, at + cut, strlen(at + cut) + 1);
    }
}

const char *catalog_default(const catalog *c) {
    return c->name;
}

sd_status catalog_model(const catalog *c, const char *name, char **path, sd_error *err) {
    if (!name || !strcmp(name, c->name)) {
        *path = strdup(c->path);
        return *path ? SD_OK : no_memory(err);
    }
    return catalog_file(c, SD_LIBRARY_CHECKPOINT, name, path, err);
}

sd_status catalog_file(const catalog *c, sd_library_kind kind, const char *name, char **path, sd_error *err) {
    sd_status status = sd_library_find(c->config->models, kind, name, path, err);
    if (status && err)
        catalog_hide(c, err->message);
    return status;
}

struct listing {
    void (*each)(void *user, const sd_library_file *file);
    void *user;
    const char *skip;
};

static void pass_on(void *user, const sd_library_file *file) {
    const struct listing *l = user;
    if (!l->skip || strcmp(file->path, l->skip))
        l->each(l->user, file);
}

sd_status catalog_each(const catalog *c, sd_library_kind kind,
                       void (*each)(void *user, const sd_library_file *file), void *user, sd_error *err) {
    struct listing l = {each, user, kind == SD_LIBRARY_CHECKPOINT ? c->path : NULL};
    if (l.skip)
        each(user, &(sd_library_file){.kind = kind, .name = c->name, .path = c->path});
    return c->config->models ? each_in(c->config->models, kind, pass_on, &l, err) : SD_OK;
}

static sd_status check(const catalog *c, sd_library_kind kind, const char *name, const char *shown,
                       char *field, sd_error *err) {
    char *path = NULL;
    sd_error cause = {0};
    sd_status status = kind == SD_LIBRARY_CHECKPOINT ? catalog_model(c, name, &path, &cause)
                                                     : catalog_file(c, kind, name, &path, &cause);
    free(path);
    if (!status)
        return SD_OK;
    snprintf(field, 64, "%s", shown);
    return sd_fail(err, status, "%s: %.900s", shown, cause.message);
}

sd_status catalog_check(const catalog *c, const struct job_request *r, char *field, sd_error *err) {
    sd_status status = SD_OK;
    if (r->model)
        status = check(c, SD_LIBRARY_CHECKPOINT, r->model, "model", field, err);
    if (!status && r->vae)
        status = check(c, SD_LIBRARY_VAE, r->vae, "vae", field, err);
    for (size_t i = 0; i < r->params.lora_count && !status; i++)
        status = check(c, SD_LIBRARY_LORA, r->loras[i].path, "loras", field, err);
    return status;
}
