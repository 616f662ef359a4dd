/* /sdapi/v1/options: what holds for every request that does not say otherwise. */
#include "server/a1111.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct a1111_options {
    pthread_mutex_t lock;
    cJSON *values;
    const catalog *files;
};

/* Values at A1111's defaults. */
static const struct row {
    const char *name;
    enum a1111_kind kind;
    const char *fallback; /* JSON; NULL: the server's default model */
    double low, high;     /* of numbers and flags; the same twice: fixed */
    const char *choices;  /* of texts, in any case, NULL: looked up */
} table[] = {
    {"sd_model_checkpoint", A1111_TEXT, NULL, 0, 0, NULL},
    {"sd_vae", A1111_TEXT, "\"Automatic\"", 0, 0, NULL},
    {"CLIP_stop_at_last_layers", A1111_WHOLE, "1", 1, 12, NULL},
    {"samples_format", A1111_TEXT, "\"png\"", 0, 0, "png, jpg, jpeg"},
    {"jpeg_quality", A1111_WHOLE, "80", 1, 100, NULL},
    {"randn_source", A1111_TEXT, "\"GPU\"", 0, 0, "GPU, NV, CPU"},
    {"eta_ancestral", A1111_NUMBER, "1", 0, 10, NULL},
    {"eta_ddim", A1111_NUMBER, "0", 0, 10, NULL},
    {"live_previews_enable", A1111_FLAG, "true", 0, 1, NULL},
    {"show_progress_every_n_steps", A1111_WHOLE, "10", -1, 1000, NULL},
    /* These would change pictures; there is one way only. */
    {"eta_noise_seed_delta", A1111_WHOLE, "0", 0, 0, NULL},
    {"initial_noise_multiplier", A1111_NUMBER, "1", 1, 1, NULL},
    {"inpainting_mask_weight", A1111_NUMBER, "1", 1, 1, NULL},
    {"s_churn", A1111_NUMBER, "0", 0, 0, NULL},
    {"s_noise", A1111_NUMBER, "1", 1, 1, NULL},
    {"s_min_uncond", A1111_NUMBER, "0", 0, 0, NULL},
    {"comma_padding_backtrack", A1111_WHOLE, "20", 20, 20, NULL},
    {"img2img_fix_steps", A1111_FLAG, "false", 0, 0, NULL},
    {"img2img_color_correction", A1111_FLAG, "false", 0, 0, NULL},
    {"ddim_discretize", A1111_TEXT, "\"uniform\"", 0, 0, "uniform"},
    {"sd_hypernetwork", A1111_TEXT, "\"None\"", 0, 0, "None"},
    {"emphasis", A1111_TEXT, "\"Original\"", 0, 0, "Original"},
};

enum { rows = sizeof table / sizeof *table };

/* Without effect, but clients read them or send the whole object back. */
static const char *const silent[] = {"sd_checkpoint_hash", "face_restoration_model", "return_grid"};

struct a1111_options *a1111_options_create(const catalog *files) {
    struct a1111_options *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    pthread_mutex_init(&o->lock, NULL);
    o->files = files;
    o->values = cJSON_CreateObject();
    for (size_t i = 0; i < rows; i++)
        cJSON_AddItemToObject(o->values, table[i].name,
                              table[i].fallback ? cJSON_Parse(table[i].fallback)
                                                : cJSON_CreateString(catalog_default(files)));
    return o;
}

void a1111_options_destroy(struct a1111_options **options) {
    if (!*options)
        return;
    cJSON_Delete((*options)->values);
    pthread_mutex_destroy(&(*options)->lock);
    free(*options);
    *options = NULL;
}

cJSON *a1111_options_copy(struct a1111_options *o) {
    pthread_mutex_lock(&o->lock);
    cJSON *copy = cJSON_Duplicate(o->values, true);
    pthread_mutex_unlock(&o->lock);
    return copy;
}

/* ---- changes ---- */

/* The catalog's name of a model. */
static cJSON *find_model(const struct a1111_options *o, const char *word, const char *field,
                         struct a1111_refusal *r) {
    struct a1111_models models;
    sd_error err;
    cJSON *name = NULL;
    if (a1111_models_list(o->files, &models, &err)) {
        a1111_refuse(r, field, "%s: %s", field, err.message);
        return NULL;
    }
    const struct a1111_model *m = a1111_models_find(&models, word, field, r);
    if (m)
        name = cJSON_CreateString(m->name);
    a1111_models_clear(&models);
    return name;
}

struct search {
    const char *path;
    char *found;
};

static void compare(void *user, const sd_library_file *file) {
    struct search *s = user;
    if (!s->found && !strcmp(s->path, file->path))
        s->found = a1111_file_of(file);
}

/* As sd-vae lists it. */
static cJSON *find_vae(const struct a1111_options *o, const char *word, const char *field,
                       struct a1111_refusal *r) {
    char *path = NULL;
    sd_error err;
    if (!strcasecmp(word, "Automatic") || !strcasecmp(word, "None"))
        return cJSON_CreateString(word);
    sd_status status = catalog_file(o->files, SD_LIBRARY_VAE, word, &path, &err);
    struct search s = {.path = path};
    if (!status)
        status = catalog_each(o->files, SD_LIBRARY_VAE, compare, &s, &err);
    cJSON *name = status ? NULL : cJSON_CreateString(s.found ? s.found : word);
    if (status)
        a1111_refuse(r, field, "%s: %.900s", field, err.message);
    free(s.found);
    free(path);
    return name;
}

static bool is_choice(const char *choices, const char *word) {
    size_t n = strlen(word);
    for (const char *at = choices; *at; at += strspn(at, ", ")) {
        size_t length = strcspn(at, ",");
        if (length == n && !strncasecmp(at, word, n))
            return true;
        at += length;
    }
    return !n && !strcmp(choices, "None");
}

static bool in_range(const struct row *row, const cJSON *value, const char *field, struct a1111_refusal *r) {
    double number = cJSON_IsBool(value) ? cJSON_IsTrue(value) : value->valuedouble;
    if (number >= row->low && number <= row->high)
        return true;
    if (row->low < row->high)
        return a1111_refuse(r, field, "%s: expected %g to %g, found %g", field, row->low, row->high, number);
    return a1111_refuse(r, field, "%s: only %g is supported, found %g", field, row->low, number);
}

/* The value as it is kept, or NULL after a refusal. */
static cJSON *accept(const struct a1111_options *o, const struct row *row, const cJSON *given,
                     const char *field, struct a1111_refusal *r) {
    cJSON *value = a1111_coerce(given, row->kind, field, r), *found;
    bool fits = value != NULL;
    if (fits && row->kind != A1111_TEXT)
        fits = in_range(row, value, field, r);
    else if (fits && row->choices && !(fits = is_choice(row->choices, value->valuestring)))
        a1111_refuse(r, field, "%s: expected %s, found '%.60s'", field, row->choices, value->valuestring);
    else if (fits && !row->choices) {
        found = row->fallback ? find_vae(o, value->valuestring, field, r)
                              : find_model(o, value->valuestring, field, r);
        cJSON_Delete(value);
        return found;
    }
    if (fits)
        return value;
    cJSON_Delete(value);
    return NULL;
}

static bool is_silent(const char *name) {
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        if (!strcmp(silent[i], name))
            return true;
    return false;
}

bool a1111_options_change(const struct a1111_options *o, cJSON *copy, const cJSON *changes,
                          const char *prefix, cJSON *warnings, struct a1111_refusal *r) {
    for (const cJSON *item = changes ? changes->child : NULL; item; item = item->next) {
        const struct row *row = NULL;
        char field[64];
        for (size_t i = 0; i < rows && !row; i++)
            row = strcmp(table[i].name, item->string) ? NULL : &table[i];
        if (!row && !is_silent(item->string))
            a1111_warn(warnings, "%s%.60s: unknown option, ignored", prefix, item->string);
        if (!row || cJSON_IsNull(item))
            continue;
        snprintf(field, sizeof field, "%s%s", prefix, row->name);
        cJSON *value = accept(o, row, item, field, r);
        if (!value)
            return false;
        cJSON_ReplaceItemInObjectCaseSensitive(copy, row->name, value);
    }
    return true;
}

bool a1111_options_keep(struct a1111_options *o, const cJSON *changes, struct a1111_refusal *r) {
    cJSON *copy = a1111_options_copy(o), *ignored = cJSON_CreateArray();
    bool fits = a1111_options_change(o, copy, changes, "", ignored, r);
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < rows && fits; i++)
        /* Only what was asked for: another request may have changed the rest meanwhile. */
        if (json_get(changes, table[i].name))
            cJSON_ReplaceItemInObjectCaseSensitive(
                o->values, table[i].name, cJSON_DetachItemFromObjectCaseSensitive(copy, table[i].name));
    pthread_mutex_unlock(&o->lock);
    cJSON_Delete(copy);
    cJSON_Delete(ignored);
    return fits;
}
