/* What an adapter file says of itself, before any model is known. */
#include "lora/family.h"
#include "lora/file.h"
#include "lora/roles.h"

#include "sd/base/str.h"

#include <string.h>

bool sd_lora_is_file(const sd_tensor_file *file) {
    char module[SD_LORA_LONGEST_KEY];
    sd_lora_role role;
    /* ".weight" and ".alpha" alone may be anything's. */
    for (size_t i = 0; i < sd_tensor_file_count(file); i++)
        if (sd_lora_split(sd_tensor_file_at(file, i)->name, module, sizeof module, &role) &&
            role != ROLE_IA3 && role != ROLE_ALPHA)
            return true;
    return false;
}

/* A list with ", " between names, some of which end in others. */
static void add_kind(sd_str *kinds, const char *name) {
    const char *at = kinds->text && name ? strstr(kinds->text, name) : NULL;
    while (at && at != kinds->text && at[-1] != ' ')
        at = strstr(at + 1, name);
    if (name && !at)
        sd_str_printf(kinds, "%s%s", kinds->text ? ", " : "", name);
}

sd_status sd_lora_describe(sd_lora *l, sd_error *err) {
    static const char *const none[] = {NULL};
    struct sd_lora_report *r = &l->about;
    sd_str kinds = {0};
    const char *family = sd_lora_family(l);
    for (uint32_t i = 0; i < l->module_count; i++) {
        const struct sd_lora_module *m = &l->modules[i];
        add_kind(&kinds, m->kind ? m->kind->name : NULL);
        add_kind(&kinds, m->tensor[ROLE_DORA] || m->tensor[ROLE_MAGNITUDE] ? "DoRA" : NULL);
        if (!m->rank)
            continue;
        r->rank_max = m->rank > r->rank_max ? m->rank : r->rank_max;
        r->rank_min = !r->rank_min || m->rank < r->rank_min ? m->rank : r->rank_min;
    }
    r->kinds = kinds.text ? sd_arena_strdup(&l->arena, kinds.text) : "nothing";
    sd_str_clear(&kinds);
    r->path = l->path;
    r->name = l->name;
    r->modules = l->module_count;
    r->unmatched = none;
    r->family = family ? family : "unknown";
    r->base = sd_tensor_file_metadata(l->file, "ss_base_model_version");
    if (!r->base)
        r->base = sd_tensor_file_metadata(l->file, "modelspec.architecture");
    if (!r->base)
        r->base = l->base;
    r->trigger = sd_tensor_file_metadata(l->file, "modelspec.trigger_phrase");
    r->license = sd_tensor_file_metadata(l->file, "modelspec.license");
    return r->kinds ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory while reading an adapter");
}

const struct sd_lora_report *sd_lora_about(const sd_lora *lora) {
    return &lora->about;
}

const sd_tensor_file *sd_lora_tensors(const sd_lora *lora) {
    return lora->file;
}
