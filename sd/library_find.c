/* From a name to a file. */
#include "sd/library.h"

#include "sd/base/str.h"
#include "sd/io/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(const char *a, const char *b, size_t n, bool any_case) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && !(any_case && lower(a[i]) == lower(b[i])))
            return false;
    return true;
}

/* How well a word may name a file, the best first. */
struct fit {
    bool whole; /* all of the name, and not only its last parts */
    bool any_case;
    bool title; /* not the file's name, but the one that its trainer wrote into it: A1111's "alias from file"
                 */
};

static bool has_title(const sd_library_file *f, const char *word) {
    sd_safetensors *file;
    if (!f->bytes || sd_safetensors_open(f->path, &file, NULL))
        return false;
    const char *title = sd_safetensors_metadata(file, "ss_output_name");
    bool same_title = title && !strcmp(title, word);
    sd_safetensors_close(&file);
    return same_title;
}

static bool fits(const sd_library_file *f, const char *word, struct fit fit) {
    if (fit.title)
        return f->kind == SD_LIBRARY_LORA && has_title(f, word);
    size_t n = strlen(word), name = strlen(f->name), path = strlen(f->path);
    size_t extension = strlen(sd_library_stem(f->path)) - strlen(sd_library_stem(f->name));
    for (size_t end = path - extension; end <= path; end += extension) {
        size_t begin = end - n;
        if (n <= end &&
            (fit.whole ? n == name + (end == path ? extension : 0) : !begin || f->path[begin - 1] == '/') &&
            same(f->path + begin, word, n, fit.any_case))
            return true;
        if (!extension)
            break;
    }
    return false;
}

/* Two ways to one file are no choice. */
static bool same_file(const sd_library_file *a, const sd_library_file *b) {
    struct stat x, y;
    return !stat(a->path, &x) && !stat(b->path, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static sd_status choose(const sd_library *l, const char *word, struct fit fit, const sd_library_file **out,
                        sd_error *err) {
    *out = NULL;
    for (size_t i = 0; i < sd_library_count(l); i++) {
        const sd_library_file *f = sd_library_at(l, i);
        if (!fits(f, word, fit))
            continue;
        if (*out && !same_file(*out, f))
            return sd_fail(err, SD_E_ARGUMENT, "'%s' may be %s or %s; write more of the name", word,
                           (*out)->path, f->path);
        *out = *out ? *out : f;
    }
    return SD_OK;
}

static const char *shown(sd_library_kind kind) {
    static const char *const names[] = {"checkpoint", "LoRA",     "embedding",    "VAE", "small VAE",
                                        "ControlNet", "upscaler", "text encoder", "UNet"};
    return names[kind];
}

/* The name that was likely meant, in full or, as users mostly write it, its last part. */
static const char *nearest(const sd_library *l, const char *word) {
    size_t count = sd_library_count(l);
    const char **names = calloc(2 * count + 1, sizeof *names), *found = NULL;
    for (size_t i = 0; names && i < count; i++) {
        names[2 * i] = sd_library_at(l, i)->name;
        names[2 * i + 1] = sd_library_stem(sd_library_at(l, i)->name);
    }
    if (names)
        found = sd_closest(word, names);
    free(names);
    return found;
}

static sd_status not_found(const sd_library *l, const char *folder, sd_library_kind kind, const char *word,
                           sd_error *err) {
    const char *places = sd_library_places(l), *near = nearest(l, word);
    if (!places)
        return sd_fail(err, SD_E_NOT_FOUND, "'%s': there is no folder for %ss in %s", word, shown(kind),
                       folder);
    if (near)
        return sd_fail(err, SD_E_NOT_FOUND, "'%s': no %s of this name in %s; did you mean '%s'?", word,
                       shown(kind), places, near);
    return sd_fail(err, SD_E_NOT_FOUND, "'%s': no %s of this name among the %zu in %s", word, shown(kind),
                   sd_library_count(l), places);
}

sd_status sd_library_find(const char *folder, sd_library_kind kind, const char *name, char **path,
                          sd_error *err) {
    static const struct fit best_first[] = {{.whole = true},
                                            {.any_case = false},
                                            {.whole = true, .any_case = true},
                                            {.any_case = true},
                                            {.title = true}};
    sd_library *l = NULL;
    const sd_library_file *found = NULL;
    *path = NULL;
    if (!folder)
        return sd_fail(err, SD_E_NOT_FOUND,
                       "'%s': %ss have no names, as no model folder is given (--models DIR)", name,
                       shown(kind));
    if (!*name)
        return sd_fail(err, SD_E_ARGUMENT, "expected the name of a %s, found ''", shown(kind));
    sd_status status = sd_library_scan(&l, folder, kind, err);
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first && !status && !found; i++)
        status = choose(l, name, best_first[i], &found, err);
    if (!status && !found)
        status = not_found(l, folder, kind, name, err);
    if (!status && !(*path = strdup(found->path)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_library_close(&l);
    return status;
}

/* "./x" and "/x" cannot be names. */
static bool is_path(const char *word) {
    return word[0] == '/' || !strncmp(word, "./", 2) || !strncmp(word, "../", 3) || !access(word, F_OK);
}

sd_status sd_library_resolve(const char *folder, sd_library_kind kind, const char *word, char **path,
                             sd_error *err) {
    if (folder && !is_path(word))
        return sd_library_find(folder, kind, word, path, err);
    *path = strdup(word);
    return *path ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}
