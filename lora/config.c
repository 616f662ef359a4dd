/* PEFT's configuration: numbers that its files keep outside the tensors. */
#include "lora/file.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

struct reader {
    sd_lora *lora;
    const cJSON *json;
    const char *label;
    sd_status status;
    sd_error *err;
};

/* The field of a module's network: "unet.r" for modules called "unet....", or plain "r". */
static const cJSON *field(const struct reader *r, const char *prefix, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->json, full);
    return cJSON_IsNull(item) ? NULL : item;
}

static double number(struct reader *r, const char *prefix, const char *name, double otherwise) {
    const cJSON *item = field(r, prefix, name);
    if (item && !r->status && (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)))
        r->status = sd_fail(r->err, SD_E_FORMAT, "%s: %s%s: expected a number", r->label, prefix, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static bool flag(const struct reader *r, const char *prefix, const char *name, bool otherwise) {
    const cJSON *item = field(r, prefix, name);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

/* A field for all modules. */
static double in_range(struct reader *r, const char *name, double otherwise, double low, double high) {
    double value = number(r, "", name, otherwise);
    if (value >= low && value <= high)
        return value;
    if (!r->status)
        r->status = sd_fail(r->err, SD_E_UNSUPPORTED, "%s: %s: expected %g to %g, found %g", r->label, name,
                            low, high, value);
    return otherwise;
}

enum { longest_pattern = 200, most_terms = 64 };

/* PEFT's patterns are Python's regular expressions for a layer's name or its end behind a dot. Of those, what
 * POSIX has too, with \d; counted repetitions could make the library take any amount of memory. */
static bool compile(const char *pattern, regex_t *out) {
    char text[2 * longest_pattern + 32] = "^(.*\\.)?(";
    size_t n = strlen(text);
    if (strlen(pattern) > longest_pattern || strpbrk(pattern, "{}") || strstr(pattern, "(?"))
        return false;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '\\' && p[1] == 'd') {
            memcpy(text + n, "[0-9]", 5);
            n += 5;
            p++;
        } else
            text[n++] = *p;
    }
    memcpy(text + n, ")$", 3);
    return n + 3 <= sizeof text && !regcomp(out, text, REG_EXTENDED | REG_NOSUB);
}

static bool matches(struct reader *r, const char *pattern, const char *module) {
    regex_t regex;
    if (!compile(pattern, &regex)) {
        if (!r->status)
            r->status =
                sd_fail(r->err, SD_E_UNSUPPORTED,
                        "%s: expected names of layers or simple expressions as patterns, found '%.200s'",
                        r->label, pattern);
        return false;
    }
    bool found = !regexec(&regex, module, 0, NULL, 0);
    regfree(&regex);
    return found;
}

/* The value that a pattern table has for a module, or `otherwise`. */
static double patterned(struct reader *r, const char *prefix, const char *table, const char *module,
                        double otherwise) {
    const cJSON *entry, *all = field(r, prefix, table);
    cJSON_ArrayForEach(entry, all) if (cJSON_IsNumber(entry) &&
                                       matches(r, entry->string, module)) return entry->valuedouble;
    return otherwise;
}

/* (IA)^3: layers whose inputs are scaled, by the end of their names. */
static bool feeds_forward(struct reader *r, const char *prefix, const char *module) {
    const cJSON *item, *list = field(r, prefix, "feedforward_modules");
    if (cJSON_IsString(list))
        return matches(r, list->valuestring, module);
    cJSON_ArrayForEach(item,
                       list) if (cJSON_IsString(item) && matches(r, item->valuestring, module)) return true;
    return false;
}

static void configure(struct reader *r, struct sd_lora_module *m, const char *prefix, const char *module) {
    if (m->tensor[ROLE_IA3_L])
        m->input_side = feeds_forward(r, prefix, module);
    double given = number(r, prefix, "lora_alpha", number(r, prefix, "alpha", 0));
    double alpha = patterned(r, prefix, "alpha_pattern", module, given);
    double rank = patterned(r, prefix, "rank_pattern", module, number(r, prefix, "r", m->rank));
    if (m->has_alpha || !(alpha > 0) || !(rank > 0))
        return;
    m->scale = (float)(flag(r, prefix, "use_rslora", false) ? alpha / sqrt(rank) : alpha / rank);
}

/* Names without the networks' prefixes, and the prefix of the configuration's fields for each. */
static void configure_all(struct reader *r, const char *skip) {
    static const char *const networks[] = {"unet.", "text_encoder.", "text_encoder_2."};
    for (uint32_t i = 0; i < r->lora->module_count && !r->status; i++) {
        struct sd_lora_module *m = &r->lora->modules[i];
        size_t n = strlen(skip);
        if (n && !strncmp(m->name, skip, n)) {
            configure(r, m, "", m->name + n);
            continue;
        }
        for (size_t k = 0; !n && k < sizeof networks / sizeof *networks; k++)
            if (!strncmp(m->name, networks[k], strlen(networks[k])))
                configure(r, m, networks[k], m->name + strlen(networks[k]));
    }
}

sd_status sd_lora_read_config(sd_lora *lora, const char *label, const char *config, const char *prefix,
                              sd_error *err) {
    cJSON *json = config ? cJSON_Parse(config) : NULL;
    struct reader r = {lora, json, label, SD_OK, err};
    if (!cJSON_IsObject(json))
        r.status = sd_fail(err, SD_E_FORMAT, "%s: expected a JSON object with PEFT's configuration", label);
    else {
        lora->settings.peft = true;
        lora->settings.exact_cayley = !flag(&r, "", "use_cayley_neumann", true);
        lora->settings.cayley_terms = (uint32_t)in_range(&r, "num_cayley_neumann_terms", 5, 1, most_terms);
        lora->settings.coft = flag(&r, "", "coft", false);
        lora->settings.coft_limit = in_range(&r, "eps", 6e-5, 0, 1e6);
        configure_all(&r, prefix);
        const char *base = cJSON_GetStringValue(field(&r, "", "base_model_name_or_path"));
        if (base && *base && !(lora->base = sd_arena_strdup(&lora->arena, base)))
            r.status = sd_fail(err, SD_E_MEMORY, "out of memory while reading an adapter");
    }
    cJSON_Delete(json);
    return r.status;
}
