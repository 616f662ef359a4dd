#include "sd/used.h"

#include "sd/library.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits of a LoRA's hash that A1111 writes. */
enum { shown_digits = 12 };

sd_status sd_used_hash(sd_model *m, sd_error *err) {
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < m->adapters.count && !status; i++) {
        struct sd_adapter *a = &m->adapters.items[i];
        if (a->data_sha256[0])
            continue;
        const char *path = sd_lora_file(a->file);
        if (!(status = sd_hash_cache_get(m->context->hashes, path, SD_HASH_FILE, a->sha256, err)))
            status = sd_hash_cache_get(m->context->hashes, path, SD_HASH_DATA, a->data_sha256, err);
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
static void put_name(sd_str *out, const char *name) {
    for (; *name; name++)
        if (*name != ',' && *name != ':')
            sd_str_append_bytes(out, name, 1);
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
        if (again)
            continue;
        sd_str_append(out, out->size ? ", " : "");
        put_name(out, name);
        sd_str_printf(out, ": %.*s", (int)shown_digits, m->adapters.items[i].data_sha256);
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

bool sd_used_record(const sd_model *m, cJSON *json) {
    if (!m->adapters.count)
        return true;
    cJSON *list = cJSON_AddArrayToObject(json, "loras");
    bool ok = list != NULL;
    for (uint32_t i = 0; i < m->adapters.count && ok; i++)
        ok = add_lora(list, m, i);
    return ok;
}
