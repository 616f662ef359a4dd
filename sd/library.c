#define _XOPEN_SOURCE 700 /* realpath */

#include "sd/library.h"

#include "sd/base/arena.h"
#include "sd/base/str.h"
#include "sd/io/tensor_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Folders may be links to folders around them; nobody nests deeper than this. */
enum { deepest = 32 };

/* What holds which kind, in lower case and with '-' for '_'. Both web UIs' T2I adapters are used like
 * ControlNets. */
static const struct {
    const char *folder;
    sd_library_kind kind;
} kinds[] = {
    {"stable-diffusion", SD_LIBRARY_CHECKPOINT},
    {"checkpoints", SD_LIBRARY_CHECKPOINT},
    {"diffusers", SD_LIBRARY_CHECKPOINT},
    {"lora", SD_LIBRARY_LORA},
    {"loras", SD_LIBRARY_LORA},
    {"lycoris", SD_LIBRARY_LORA},
    {"embeddings", SD_LIBRARY_EMBEDDING},
    {"vae", SD_LIBRARY_VAE},
    {"vae-approx", SD_LIBRARY_TAESD},
    {"vae-taesd", SD_LIBRARY_TAESD},
    {"controlnet", SD_LIBRARY_CONTROLNET},
    {"t2i-adapter", SD_LIBRARY_CONTROLNET},
    {"esrgan", SD_LIBRARY_UPSCALER},
    {"realesrgan", SD_LIBRARY_UPSCALER},
    {"bsrgan", SD_LIBRARY_UPSCALER},
    {"upscale-models", SD_LIBRARY_UPSCALER},
    {"text-encoders", SD_LIBRARY_TEXT_ENCODER},
    {"text-encoder", SD_LIBRARY_TEXT_ENCODER},
    {"clip", SD_LIBRARY_TEXT_ENCODER},
    {"unet", SD_LIBRARY_UNET},
    {"diffusion-models", SD_LIBRARY_UNET},
};

struct sd_library {
    sd_arena arena;
    sd_library_kind wanted;
    sd_library_file *files;
    size_t count, capacity;
    sd_str places;
    bool failed; /* no memory */
};

/* A folder that is being read, and those around it. */
struct inside {
    const struct inside *outer;
    dev_t device;
    ino_t inode;
    int depth;
};

const char *sd_library_kind_name(sd_library_kind kind) {
    static const char *const names[] = {"checkpoint", "lora",     "embedding",    "vae", "taesd",
                                        "controlnet", "upscaler", "text_encoder", "unet"};
    return (unsigned)kind < SD_LIBRARY_KINDS ? names[kind] : "unknown";
}

const char *sd_library_stem(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static char folded(char c) {
    return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_called(const char *name, const char *lower) {
    while (*name && folded(*name) == *lower)
        name++, lower++;
    return !*name && !*lower;
}

/* A VAE that lies beside the checkpoint it belongs to, as A1111 calls it. */
static bool is_vae_beside(const char *name, size_t stem) {
    return stem > 4 && !strncmp(name + stem - 4, ".vae", 4);
}

static void add(sd_library *l, sd_library_kind kind, const char *path, size_t root, size_t cut,
                const struct stat *st) {
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        sd_library_file *files = realloc(l->files, capacity * sizeof *files);
        if (!files) {
            l->failed = true;
            return;
        }
        l->files = files;
        l->capacity = capacity;
    }
    sd_library_file *f = &l->files[l->count++];
    *f = (sd_library_file){
        .kind = kind,
        .name = sd_arena_printf(&l->arena, "%.*s", (int)(strlen(path + root) - cut), path + root),
        .path = sd_arena_strdup(&l->arena, path),
        .bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0};
    l->failed = l->failed || !f->name || !f->path;
}

static bool has_file(sd_library *l, const char *folder, const char *name) {
    struct stat st;
    char *path = sd_arena_printf(&l->arena, "%s/%s", folder, name);
    l->failed = l->failed || !path;
    return path && !stat(path, &st);
}

/* A folder that is one model, and not a folder of models. */
static bool is_model_folder(sd_library *l, sd_library_kind kind, const char *path) {
    return (kind == SD_LIBRARY_CHECKPOINT && has_file(l, path, "model_index.json")) ||
           (kind == SD_LIBRARY_LORA && has_file(l, path, "adapter_config.json"));
}

static bool is_inside(const struct inside *at, const struct stat *st) {
    for (; at; at = at->outer)
        if (at->device == st->st_dev && at->inode == st->st_ino)
            return true;
    return false;
}

/* Everything of a kind in a folder; names begin behind byte `root` of the paths. */
static void read_folder(sd_library *l, sd_library_kind kind, const char *folder, size_t root,
                        const struct inside *outer) {
    struct stat st;
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    struct inside here = {.outer = outer, .depth = outer ? outer->depth + 1 : 0};
    if (!fstat(dirfd(dir), &st)) {
        here.device = st.st_dev;
        here.inode = st.st_ino;
    }
    for (struct dirent *e; (e = readdir(dir)) && !l->failed;) {
        if (e->d_name[0] == '.' || !sd_utf8_valid(e->d_name, strlen(e->d_name)))
            continue;
        char *path = sd_arena_printf(&l->arena, "%s/%s", folder, e->d_name);
        size_t stem = sd_tensor_file_stem(e->d_name);
        if (!path)
            l->failed = true;
        else if (stat(path, &st))
            continue;
        else if (S_ISREG(st.st_mode) && stem &&
                 !(kind == SD_LIBRARY_CHECKPOINT && is_vae_beside(e->d_name, stem)))
            add(l, kind, path, root, strlen(e->d_name) - stem, &st);
        else if (S_ISDIR(st.st_mode) && is_model_folder(l, kind, path))
            add(l, kind, path, root, 0, &st);
        else if (S_ISDIR(st.st_mode) && here.depth < deepest && !is_inside(&here, &st))
            read_folder(l, kind, path, root, &here);
    }
    closedir(dir);
}

static void read_place(sd_library *l, sd_library_kind kind, const char *path) {
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return;
    sd_str_printf(&l->places, "%s%s", l->places.size ? ", " : "", path);
    read_folder(l, kind, path, strlen(path) + 1, NULL);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Reads those of the folders in `folder` that hold what is wanted, and looks into its "models". */
static void read_root(sd_library *l, const char *folder, bool models) {
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, by_name);
    for (int k = 0; k < count; k++) {
        const char *name = entries[k]->d_name;
        char *path = sd_arena_printf(&l->arena, "%s/%s", folder, name);
        l->failed = l->failed || !path;
        if (!l->failed && models && is_called(name, "models"))
            read_root(l, path, false);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !l->failed; i++)
            if ((l->wanted == SD_LIBRARY_KINDS || l->wanted == kinds[i].kind) &&
                is_called(name, kinds[i].folder))
                read_place(l, kinds[i].kind, path);
        free(entries[k]);
    }
    if (count >= 0)
        free(entries);
}

/* A1111 has its embeddings beside "models". */
static void read_beside(sd_library *l, const char *folder) {
    char *whole = realpath(folder, NULL), *path;
    if (whole && is_called(sd_library_stem(whole), "models") &&
        (l->wanted == SD_LIBRARY_EMBEDDING || l->wanted == SD_LIBRARY_KINDS)) {
        if ((path = sd_arena_printf(&l->arena, "%s/../embeddings", folder)))
            read_place(l, SD_LIBRARY_EMBEDDING, path);
        l->failed = l->failed || !path;
    }
    free(whole);
}

static int by_kind_and_name(const void *a, const void *b) {
    const sd_library_file *x = a, *y = b;
    int order = (int)x->kind - (int)y->kind;
    order = order ? order : strcmp(x->name, y->name);
    return order ? order : strcmp(x->path, y->path);
}

sd_status sd_library_check(const char *folder, sd_error *err) {
    struct stat st;
    if (stat(folder, &st))
        return sd_fail(err, errno == ENOENT || errno == ENOTDIR ? SD_E_NOT_FOUND : SD_E_IO,
                       "%s: cannot open the model folder: %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return sd_fail(err, SD_E_NOT_FOUND, "%s: expected a folder of models, found a file", folder);
    return SD_OK;
}

sd_status sd_library_scan(sd_library **out, const char *folder, sd_library_kind kind, sd_error *err) {
    *out = NULL;
    sd_status status = sd_library_check(folder, err);
    sd_library *l = status ? NULL : calloc(1, sizeof *l);
    if (status)
        return status;
    if (!l)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    l->wanted = kind;
    read_root(l, folder, true);
    read_beside(l, folder);
    if (l->failed || l->places.failed) {
        sd_library_close(&l);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    if (l->count)
        qsort(l->files, l->count, sizeof *l->files, by_kind_and_name);
    *out = l;
    return SD_OK;
}

sd_status sd_library_open(sd_library **out, const char *folder, sd_error *err) {
    sd_status status = sd_library_scan(out, folder, SD_LIBRARY_KINDS, err);
    if (status || sd_library_places(*out))
        return status;
    sd_library_close(out);
    return sd_fail(
        err, SD_E_NOT_FOUND,
        "%s: expected folders as A1111 or ComfyUI have them (models/Stable-diffusion, models/Lora, "
        "checkpoints, loras, embeddings ...), found none",
        folder);
}

void sd_library_close(sd_library **library) {
    sd_library *l = *library;
    if (!l)
        return;
    free(l->files);
    sd_str_clear(&l->places);
    sd_arena_clear(&l->arena);
    free(l);
    *library = NULL;
}

size_t sd_library_count(const sd_library *l) {
    return l->count;
}

const sd_library_file *sd_library_at(const sd_library *l, size_t index) {
    return index < l->count ? &l->files[index] : NULL;
}

const char *sd_library_places(const sd_library *l) {
    return l->places.size ? l->places.text : NULL;
}
