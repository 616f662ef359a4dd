#include "lora/family.h"
#include "lora/file.h"
#include "lora/targets.h"

#include "sd/base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    const struct sd_lora_module *module;
    const struct sd_lora_target *target;
};

struct sd_lora_match {
    const sd_lora *lora;
    const sd_lora_targets *targets;
    sd_arena arena;
    struct pair *pairs; /* sorted by target */
    uint32_t pair_count;
    struct sd_lora_report report;
};

enum { named_keys = 3 };

static int by_target(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    return x->target < y->target ? -1 : x->target > y->target;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static sd_status out_of_memory(sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "out of memory while matching an adapter");
}

/* A module that says nothing of its weight or bias is as useless as one that finds no layer. */
static bool useful(const struct sd_lora_module *m) {
    return m->kind || m->tensor[ROLE_DIFF_BIAS] || m->tensor[ROLE_NORM_BIAS];
}

static sd_status find_pairs(sd_lora_match *m, const char **unmatched, sd_error *err) {
    const sd_lora *l = m->lora;
    m->pairs = sd_arena_array(&m->arena, l->module_count + 1, sizeof *m->pairs);
    if (!m->pairs)
        return out_of_memory(err);
    for (uint32_t i = 0; i < l->module_count; i++) {
        const struct sd_lora_module *module = &l->modules[i];
        const struct sd_lora_target *target =
            useful(module) ? sd_lora_targets_find(m->targets, module->name) : NULL;
        if (target) {
            m->pairs[m->pair_count++] = (struct pair){module, target};
            sd_lora_count_target(&m->report.changed[target->part], target);
        }
        for (int role = 0; role < ROLES && !target; role++)
            if (module->tensor[role])
                unmatched[m->report.unmatched_count++] = module->tensor[role]->name;
    }
    for (uint32_t i = 0; i < l->stray_count; i++)
        unmatched[m->report.unmatched_count++] = l->strays[i];
    m->report.matched = m->pair_count;
    qsort(m->pairs, m->pair_count, sizeof *m->pairs, by_target);
    qsort(unmatched, m->report.unmatched_count, sizeof *unmatched, by_text);
    for (uint32_t i = 1; i < m->pair_count; i++)
        if (m->pairs[i].target == m->pairs[i - 1].target)
            return sd_fail(err, SD_E_FORMAT, "%s: two of its modules change one layer: %s and %s", l->path,
                           m->pairs[i - 1].module->name, m->pairs[i].module->name);
    return SD_OK;
}

static sd_status refuse(const sd_lora_match *m, bool strict, sd_error *err) {
    const struct sd_lora_report *r = &m->report;
    if (!r->matched && r->family && !sd_lora_family_known(r->family) && strcmp(r->family, "unknown"))
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: this LoRA is for %s, which this version cannot run",
                       r->path, r->family);
    if (!r->matched && !strcmp(r->kinds, "nothing"))
        return sd_fail(err, SD_E_FORMAT,
                       "%s: none of its modules has all tensors of an algorithm; the first is %s", r->path,
                       m->lora->modules[0].name);
    if (!r->matched)
        return sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s: none of its %u modules (%s, made for %s) fits a layer of this model; the first is %s",
            r->path, r->modules, r->kinds, r->family, m->lora->modules[0].name);
    if (!strict || !r->unmatched_count)
        return SD_OK;
    sd_str names = {0};
    for (uint32_t i = 0; i < r->unmatched_count && i < named_keys; i++)
        sd_str_printf(&names, "%s%s", i ? ", " : "", r->unmatched[i]);
    sd_status status =
        sd_fail(err, SD_E_FORMAT,
                r->unmatched_count > named_keys
                    ? "%s: %u keys fit no layer of this model (--lenient ignores them): %s and %u more"
                    : "%s: %u keys fit no layer of this model (--lenient ignores them): %s",
                r->path, r->unmatched_count, names.text ? names.text : "?", r->unmatched_count - named_keys);
    sd_str_clear(&names);
    return status;
}

static bool has_dora(const struct sd_lora_module *m) {
    return m->tensor[ROLE_DORA] || m->tensor[ROLE_MAGNITUDE];
}

static void edit_weight(const struct sd_lora_site *site, sd_edit *e) {
    const struct sd_lora_kind *kind = site->module->kind;
    if (kind->replace)
        kind->replace(site, e);
    else if (has_dora(site->module))
        sd_lora_dora(site, e);
    else
        kind->add(site, e, sd_edit_weight(e), site->strength);
}

/* Tensors for a bias of their own, which the layer must then have. */
static bool needs_bias(const struct sd_lora_module *m) {
    return m->tensor[ROLE_DIFF_BIAS] || m->tensor[ROLE_NORM_BIAS] || m->tensor[ROLE_UP_BIAS];
}

/* PEFT's (IA)^3 scales a layer's outputs whole, its bias too where there is one. */
static bool changes_bias(const struct sd_lora_module *m) {
    return needs_bias(m) || (m->tensor[ROLE_IA3_L] && !m->input_side);
}

static void edit_bias(const struct sd_lora_site *site, sd_edit *e) {
    static const sd_lora_role roles[] = {ROLE_DIFF_BIAS, ROLE_NORM_BIAS, ROLE_UP_BIAS};
    const struct sd_lora_module *m = site->module;
    sd_matrix b = sd_edit_weight(e);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (m->tensor[roles[i]])
            sd_edit_sum(e, b, b, 1, sd_lora_load(site, e, roles[i], site->target->n, 1),
                        site->strength * (roles[i] == ROLE_UP_BIAS ? m->scale : 1));
    if (m->tensor[ROLE_IA3_L])
        m->kind->replace(site, e);
}

static struct sd_lora_site site_of(const sd_lora_match *m, const struct pair *p, float strength) {
    return (struct sd_lora_site){p->module, p->target, &m->lora->settings, m->lora->path, strength};
}

/* Scales are few: those that are no numbers are found before they spoil every picture. */
static sd_status check_scales(const sd_lora_match *m, const struct sd_lora_module *module, sd_error *err) {
    static const sd_lora_role scales[] = {ROLE_DORA,   ROLE_MAGNITUDE, ROLE_RESCALE,
                                          ROLE_BOFT_S, ROLE_IA3,       ROLE_IA3_L};
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        const sd_file_tensor *t = module->tensor[scales[k]];
        for (uint64_t i = 0; t && i < sd_lora_count(t); i++)
            if (!isfinite(sd_file_tensor_value(t, i)))
                return sd_fail(
                    err, SD_E_FORMAT, "%s: tensor %s: expected finite numbers, found %g at value %llu",
                    m->lora->path, t->name, (double)sd_file_tensor_value(t, i), (unsigned long long)i);
    }
    return SD_OK;
}

/* Writes every edit once without running it, which checks all shapes. */
static sd_status check_pairs(const sd_lora_match *m, sd_error *err) {
    for (uint32_t i = 0; i < m->pair_count; i++) {
        const struct pair *p = &m->pairs[i];
        const struct sd_lora_site site = site_of(m, p, 1);
        sd_edit e;
        sd_edit_begin(&e, p->target->n, p->target->c * p->target->taps);
        if (p->module->kind)
            edit_weight(&site, &e);
        sd_status status = sd_edit_status(&e, err);
        sd_edit_clear(&e);
        if (!status)
            status = check_scales(m, p->module, err);
        if (status)
            return status;
        if (needs_bias(p->module) && !p->target->has_bias)
            return sd_fail(err, SD_E_FORMAT, "%s: %s: the layer has no bias to change", m->lora->path,
                           p->module->name);
    }
    return SD_OK;
}

/* Layers of the same names in other sizes are no help to somebody who mixed two families up. */
static sd_status name_family(const sd_lora_match *m, sd_status status, sd_error *err) {
    const char *theirs = m->report.family, *ours = sd_lora_model_family(m->targets);
    if (!ours || !sd_lora_family_known(theirs) || !strcmp(theirs, ours))
        return status;
    return sd_fail(err, SD_E_UNSUPPORTED, "%s: this LoRA is for %s, and the model is %s", m->lora->path,
                   theirs, ours);
}

sd_status sd_lora_match_create(sd_lora_match **out, const sd_lora *lora, const sd_lora_targets *targets,
                               bool strict, sd_error *err) {
    *out = NULL;
    sd_lora_match *m = calloc(1, sizeof *m);
    if (!m)
        return out_of_memory(err);
    m->lora = lora;
    m->targets = targets;
    size_t keys = sd_tensor_file_count(lora->file);
    const char **unmatched = sd_arena_array(&m->arena, keys + 1, sizeof *unmatched);
    m->report = lora->about;
    m->report.unmatched = unmatched;
    sd_status status = unmatched ? find_pairs(m, unmatched, err) : out_of_memory(err);
    if (!status && !(status = refuse(m, strict, err)))
        status = check_pairs(m, err);
    if (status && status != SD_E_MEMORY)
        status = name_family(m, status, err);
    if (status)
        sd_lora_match_destroy(&m);
    *out = m;
    return status;
}

void sd_lora_match_destroy(sd_lora_match **match) {
    if (!*match)
        return;
    sd_arena_clear(&(*match)->arena);
    free(*match);
    *match = NULL;
}

const struct sd_lora_report *sd_lora_match_report(const sd_lora_match *match) {
    return &match->report;
}

/* The pair that changes this tensor, with what of it: a weight or a bias. */
static const struct pair *find_pair(const sd_lora_match *m, sd_lora_part part, const char *name, bool *bias) {
    static const char weight[] = ".weight", other[] = ".bias";
    size_t length = strlen(name);
    size_t ending = length > sizeof other && !strcmp(name + length - (sizeof other - 1), other)
                        ? sizeof other - 1
                        : sizeof weight - 1;
    *bias = ending == sizeof other - 1;
    if (length <= ending || (!*bias && strcmp(name + length - ending, weight)))
        return NULL;
    const struct pair wanted = {NULL, sd_lora_targets_named(m->targets, part, name, length - ending)};
    return wanted.target ? bsearch(&wanted, m->pairs, m->pair_count, sizeof wanted, by_target) : NULL;
}

static float strength_of(const struct sd_lora_strength *s, const struct sd_lora_target *target) {
    float whole = target->part == SD_LORA_UNET ? s->unet : s->text;
    return whole * s->block[sd_lora_block(target)];
}

bool sd_lora_changes(const sd_lora_match *m, const struct sd_lora_strength *strength, sd_lora_part part,
                     const char *name) {
    bool bias;
    const struct pair *p = find_pair(m, part, name, &bias);
    return p && strength_of(strength, p->target) != 0 &&
           (bias ? changes_bias(p->module) : p->module->kind != NULL);
}

void sd_lora_edit(const sd_lora_match *m, const struct sd_lora_strength *strength, sd_lora_part part,
                  const char *name, sd_edit *edit) {
    bool bias;
    const struct pair *p = find_pair(m, part, name, &bias);
    if (!p || !sd_lora_changes(m, strength, part, name))
        return;
    const struct sd_lora_site site = site_of(m, p, strength_of(strength, p->target));
    if (bias)
        edit_bias(&site, edit);
    else
        edit_weight(&site, edit);
}

uint32_t sd_lora_low_rank(const sd_lora_match *m, const struct sd_lora_strength *strength, sd_lora_part part,
                          const char *name, const struct sd_low_rank *out) {
    bool bias;
    const struct pair *p = find_pair(m, part, name, &bias);
    if (!p || bias || p->module->kind != &sd_lora_kind_lora || p->module->tensor[ROLE_MID] ||
        has_dora(p->module) || !sd_lora_changes(m, strength, part, name))
        return 0;
    const struct sd_lora_site site = site_of(m, p, strength_of(strength, p->target));
    if (out)
        sd_lora_factors(&site, out);
    return p->module->rank;
}
