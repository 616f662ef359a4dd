#include "lora/file.h"

#include "lora/roles.h"
#include "sd/io/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A key of the file, taken apart. */
struct entry {
    const char *module;
    sd_lora_role role;
    const sd_file_tensor *tensor;
};

static int by_module(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    int order = strcmp(x->module, y->module);
    return order ? order : (int)x->role - (int)y->role;
}

static sd_status out_of_memory(sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "out of memory while reading an adapter");
}

/* Splits all keys; `count` gets how many have a role. */
static sd_status split_keys(sd_lora *l, struct entry *entries, uint32_t *count, sd_error *err) {
    char module[SD_LORA_LONGEST_KEY];
    *count = 0;
    for (size_t i = 0; i < sd_tensor_file_count(l->file); i++) {
        const sd_file_tensor *t = sd_tensor_file_at(l->file, i);
        struct entry *e = &entries[*count];
        if (!sd_lora_split(t->name, module, sizeof module, &e->role)) {
            l->strays[l->stray_count++] = t->name;
            continue;
        }
        e->tensor = t;
        if (!(e->module = sd_arena_strdup(&l->arena, module)))
            return out_of_memory(err);
        ++*count;
    }
    return SD_OK;
}

static sd_status group(sd_lora *l, const struct entry *entries, uint32_t count, sd_error *err) {
    if (!(l->modules = sd_arena_array(&l->arena, count + 1, sizeof *l->modules)))
        return out_of_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        struct sd_lora_module *m = l->module_count ? &l->modules[l->module_count - 1] : NULL;
        if (!m || strcmp(m->name, entries[i].module)) {
            m = &l->modules[l->module_count++];
            m->name = entries[i].module;
        }
        if (m->tensor[entries[i].role])
            return sd_fail(err, SD_E_FORMAT, "%s: two tensors say the same of one layer: %s and %s", l->path,
                           m->tensor[entries[i].role]->name, entries[i].tensor->name);
        m->tensor[entries[i].role] = entries[i].tensor;
    }
    return SD_OK;
}

/* Kind, rank and scale from the module's own tensors. alpha 0 is how trainers write "as the rank". */
static sd_status complete(sd_lora *l, struct sd_lora_module *m, sd_error *err) {
    m->kind = sd_lora_find_kind(m);
    m->rank = m->kind ? m->kind->rank(m) : 0;
    m->scale = 1;
    /* A linear layer's factors are a row for its inputs, a column for its outputs; a convolution's are
     * [1,n,1,1] for both, and the configuration tells. */
    const sd_file_tensor *factors = m->tensor[ROLE_IA3_L];
    m->input_side = factors && factors->rank == 2 && factors->shape[0] == 1 && factors->shape[1] != 1;
    for (int role = 0; role < ROLES; role++)
        if (m->tensor[role] && !sd_lora_count(m->tensor[role]))
            return sd_fail(err, SD_E_FORMAT, "%s: tensor %s is empty: expected a rank of at least 1", l->path,
                           m->tensor[role]->name);
    const sd_file_tensor *alpha = m->tensor[ROLE_ALPHA];
    if (!alpha)
        return SD_OK;
    if (sd_lora_count(alpha) != 1)
        return sd_fail(err, SD_E_FORMAT, "%s: tensor %s: expected one number, found %llu", l->path,
                       alpha->name, (unsigned long long)sd_lora_count(alpha));
    m->has_alpha = true;
    m->alpha = sd_lora_scalar(alpha);
    if (!isfinite(m->alpha))
        return sd_fail(err, SD_E_FORMAT, "%s: tensor %s: expected a finite number, found %g", l->path,
                       alpha->name, (double)m->alpha);
    if (m->rank && m->alpha != 0)
        m->scale = m->alpha / (float)m->rank;
    return SD_OK;
}

static sd_status parse(sd_lora *l, sd_error *err) {
    size_t all = sd_tensor_file_count(l->file);
    struct entry *entries = calloc(all + 1, sizeof *entries);
    uint32_t count = 0;
    l->strays = sd_arena_array(&l->arena, all + 1, sizeof *l->strays);
    sd_status status = entries && l->strays ? split_keys(l, entries, &count, err) : out_of_memory(err);
    if (!status) {
        qsort(entries, count, sizeof *entries, by_module);
        status = group(l, entries, count, err);
    }
    for (uint32_t i = 0; i < l->module_count && !status; i++)
        status = complete(l, &l->modules[i], err);
    free(entries);
    return status;
}

/* diffusers writes PEFT's configuration into the header, PEFT itself into a file beside the weights. */
static sd_status read_settings(sd_lora *l, const char *config_path, sd_error *err) {
    const char *header = sd_tensor_file_metadata(l->file, "lora_adapter_metadata");
    l->settings = (struct sd_lora_settings){.cayley_terms = 5};
    for (uint32_t i = 0; i < l->module_count; i++)
        l->settings.kohya_oft = l->settings.kohya_oft || !strncmp(l->modules[i].name, "oft_unet_", 9);
    if (header && !config_path)
        return sd_lora_read_config(l, l->path, header, "", err);
    if (!config_path)
        return SD_OK;
    sd_bytes text;
    sd_status status = sd_file_read(config_path, 1 << 20, &text, err);
    if (!status)
        status = sd_lora_read_config(l, config_path, (const char *)text.data, "base_model.model.", err);
    sd_bytes_clear(&text);
    return status;
}

static bool is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool sd_lora_is_folder(const char *path) {
    char config[4096];
    struct stat st;
    int n = snprintf(config, sizeof config, "%s/adapter_config.json", path);
    return n > 0 && (size_t)n < sizeof config && !stat(config, &st);
}

/* Older versions of PEFT write a file of torch.save; the newer one is missed where there is neither. */
static const char *weights_of(sd_arena *arena, const char *folder) {
    struct stat st;
    const char *older = sd_arena_printf(arena, "%s/adapter_model.bin", folder),
               *newer = sd_arena_printf(arena, "%s/adapter_model.safetensors", folder);
    return older && newer && stat(newer, &st) && !stat(older, &st) ? older : newer;
}

sd_status sd_lora_open(sd_lora **out, const char *path, sd_error *err) {
    *out = NULL;
    sd_lora *l = calloc(1, sizeof *l);
    if (!l)
        return out_of_memory(err);
    char name[256];
    bool folder = is_folder(path);
    sd_tensor_file_name(path, name, sizeof name);
    const char *config = folder ? sd_arena_printf(&l->arena, "%s/adapter_config.json", path) : NULL;
    l->weights = folder ? weights_of(&l->arena, path) : sd_arena_strdup(&l->arena, path);
    l->path = sd_arena_strdup(&l->arena, path);
    l->name = sd_arena_strdup(&l->arena, name);
    sd_status status =
        !l->path || !l->name || !l->weights || (folder && !config) ? out_of_memory(err) : SD_OK;
    if (!status && !(status = sd_tensor_file_open(l->weights, &l->file, err)) && !(status = parse(l, err)))
        status = read_settings(l, config, err);
    if (!status && !l->module_count)
        status =
            sd_fail(err, SD_E_UNSUPPORTED, "%s: not a LoRA: no tensor's name ends as those of one do", path);
    if (!status)
        status = sd_lora_describe(l, err);
    if (status)
        sd_lora_close(&l);
    *out = l;
    return status;
}

const char *sd_lora_file(const sd_lora *lora) {
    return lora->weights;
}

void sd_lora_close(sd_lora **lora) {
    if (!*lora)
        return;
    sd_tensor_file_close(&(*lora)->file);
    sd_arena_clear(&(*lora)->arena);
    free(*lora);
    *lora = NULL;
}
