#include "sd/used.h"

#include "sd/library.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits of these hashes that A1111 writes. */
enum { shown_digits = 12 };

sd_status sd_used_hash(sd_model *m, struct sd_embeddings *embeddings, sd_error *err) {
    sd_status status = SD_OK;
    for (int i = 0; i < SD_PARTS && !status; i++)
        if (m->files->part[i].replaced && !m->part_hash[i][0])
            status = sd_hash_cache_get(m->context->hashes, m->files->part[i].label, SD_HASH_FILE,
                                       m->part_hash[i], err);
    for (uint32_t i = 0; i < m->adapters.count && !status; i++) {
        struct sd_adapter *a = &m->adapters.items[i];
        if (a->data_sha256[0])
            continue;
        const char *path = sd_lora_file(a->file);
        if (!(status = sd_hash_cache_get(m->context->hashes, path, SD_HASH_FILE, a->sha256, err)))
            status = sd_hash_cache_get(m->context->hashes, path, SD_HASH_DATA, a->data_sha256, err);
    }
    for (size_t i = 0; i < embeddings->used_count && !status; i++) {
        struct sd_embedding *x = &embeddings->items[embeddings->used[i]];
        if (!x->sha256[0])
            status = sd_hash_cache_get(m->context->hashes, x->path, SD_HASH_FILE, x->sha256, err);
    }
    return status;
}

/* The use that adapter `i` came from, and what it was called. */
static const sd_lora_use *use_of(const sd_model *m, uint32_t i, const char **name) {
    bool own = i < m->loras.count;
    const struct sd_lora_uses *uses = own ? &m->loras : &m->prompt_loras;
    size_t at = own ? i : i - m->loras.count;
    *name = uses->names[at];
    return &uses->items[at];
}

/* Readers split the list at commas and colons, so that A1111 leaves them out of names. */
static void put_hash(sd_str *out, const char *name, const char *hash) {
    sd_str_append(out, out->size ? ", " : "");
    for (; *name; name++)
        if (*name != ',' && *name != ':')
            sd_str_append_bytes(out, name, 1);
    sd_str_printf(out, ": %.*s", (int)shown_digits, hash);
}

void sd_used_lora_hashes(const sd_model *m, sd_str *out) {
    for (uint32_t i = 0; i < m->adapters.count; i++) {
        const char *name, *other;
        bool again = false;
        use_of(m, i, &name);
        for (uint32_t k = 0; k < i && !again; k++) {
            use_of(m, k, &other);
            again = !strcmp(name, other);
        }
        if (!again)
            put_hash(out, name, m->adapters.items[i].data_sha256);
    }
}

void sd_used_embedding_hashes(const struct sd_embeddings *embeddings, sd_str *out) {
    for (size_t i = 0; i < embeddings->used_count; i++) {
        const struct sd_embedding *x = &embeddings->items[embeddings->used[i]];
        put_hash(out, x->name, x->sha256);
    }
}

/* The decimal with the fewest digits that is this float. */
static double shortest(float value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return strtod(text, NULL);
}

static bool add_lora(cJSON *list, const sd_model *m, uint32_t i) {
    const char *name;
    const sd_lora_use *use = use_of(m, i, &name);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToArray(list, json);
    return json && cJSON_AddStringToObject(json, "name", name) &&
           cJSON_AddStringToObject(json, "file", sd_library_stem(use->path)) &&
           cJSON_AddStringToObject(json, "sha256", m->adapters.items[i].sha256) &&
           cJSON_AddNumberToObject(json, "unet", shortest(use->unet)) &&
           cJSON_AddNumberToObject(json, "text", shortest(use->text)) &&
           (!use->blocks || cJSON_AddStringToObject(json, "blocks", use->blocks)) &&
           cJSON_AddBoolToObject(json, "in_prompt", i >= m->loras.count);
}

static bool add_embedding(cJSON *list, const struct sd_embedding *x) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToArray(list, json);
    return json && cJSON_AddStringToObject(json, "name", x->name) &&
           cJSON_AddStringToObject(json, "file", sd_library_stem(x->path)) &&
           cJSON_AddStringToObject(json, "sha256", x->sha256) &&
           cJSON_AddNumberToObject(json, "vectors", x->file.vectors);
}

static bool add_parts(cJSON *json, const sd_model *m) {
    cJSON *list = NULL;
    bool ok = true;
    for (int i = 0; i < SD_PARTS && ok; i++) {
        const struct sd_checkpoint_part *p = &m->files->part[i];
        if (!p->replaced)
            continue;
        cJSON *part = cJSON_CreateObject();
        list = list ? list : cJSON_AddArrayToObject(json, "parts");
        ok = cJSON_AddItemToArray(list, part) && cJSON_AddStringToObject(part, "part", sd_part_name(i)) &&
             cJSON_AddStringToObject(part, "file", sd_library_stem(p->label)) &&
             cJSON_AddStringToObject(part, "sha256", m->part_hash[i]);
    }
    return ok;
}

bool sd_used_record(const sd_model *m, const struct sd_embeddings *embeddings, cJSON *json) {
    cJSON *loras = m->adapters.count ? cJSON_AddArrayToObject(json, "loras") : NULL;
    cJSON *inversions = embeddings->used_count ? cJSON_AddArrayToObject(json, "embeddings") : NULL;
    bool ok = (loras || !m->adapters.count) && (inversions || !embeddings->used_count);
    ok = ok && add_parts(json, m);
    if (ok && loras && m->lora_mode == SD_LORA_RUNTIME)
        ok = cJSON_AddStringToObject(json, "lora_mode", "runtime");
    for (uint32_t i = 0; i < m->adapters.count && ok; i++)
        ok = add_lora(loras, m, i);
    for (size_t i = 0; i < embeddings->used_count && ok; i++)
        ok = add_embedding(inversions, &embeddings->items[embeddings->used[i]]);
    return ok;
}
