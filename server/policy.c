#include "server/policy.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct policy {
    cJSON *json;
};

static const char *const lists[] = {"blocked", "required", "models", "loras", NULL};
static const char *const counts[] = {"max_steps", "max_count", "max_pixels", NULL};

static bool is_among(const char *name, const char *const *names) {
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

static bool is_list_of_strings(const cJSON *item) {
    if (!cJSON_IsArray(item))
        return false;
    for (const cJSON *i = item->child; i; i = i->next)
        if (!cJSON_IsString(i) || !*i->valuestring)
            return false;
    return true;
}

static sd_status check_rules(const cJSON *rules, const char *label, sd_error *err) {
    if (!cJSON_IsObject(rules))
        return sd_fail(err, SD_E_FORMAT, "%s: expected an object", label);
    for (const cJSON *item = rules->child; item; item = item->next) {
        if (is_among(item->string, lists)) {
            if (!is_list_of_strings(item))
                return sd_fail(err, SD_E_FORMAT, "%s: %s: expected an array of strings", label, item->string);
        } else if (is_among(item->string, counts)) {
            if (!cJSON_IsNumber(item) || item->valuedouble < 0)
                return sd_fail(err, SD_E_FORMAT, "%s: %s: expected a number", label, item->string);
        } else
            return sd_fail(err, SD_E_FORMAT,
                           "%s: unknown rule '%.60s'; there are blocked, required, models, loras, max_steps, "
                           "max_count, max_pixels",
                           label, item->string);
    }
    return SD_OK;
}

static sd_status check(const cJSON *json, const char *path, sd_error *err) {
    char label[4300];
    if (!cJSON_IsObject(json))
        return sd_fail(err, SD_E_FORMAT, "%s: expected a JSON object", path);
    if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "version")))
        return sd_fail(err, SD_E_FORMAT, "%s: version: expected a string", path);
    for (const cJSON *item = json->child; item; item = item->next)
        if (strcmp(item->string, "version") && strcmp(item->string, "rules") && strcmp(item->string, "keys"))
            return sd_fail(err, SD_E_FORMAT, "%s: unknown field '%.60s'; there are version, rules, keys",
                           path, item->string);
    const cJSON *rules = cJSON_GetObjectItemCaseSensitive(json, "rules"),
                *of_keys = cJSON_GetObjectItemCaseSensitive(json, "keys");
    snprintf(label, sizeof label, "%.4000s: rules", path);
    sd_status status = rules ? check_rules(rules, label, err) : SD_OK;
    for (const cJSON *key = of_keys ? of_keys->child : NULL; key && !status; key = key->next) {
        snprintf(label, sizeof label, "%.4000s: keys: %.60s", path, key->string);
        status = check_rules(key, label, err);
    }
    return status;
}

static sd_status read_file(const char *path, char **out, sd_error *err) {
    enum { most = 4 << 20 };
    FILE *file = fopen(path, "rb");
    char *text = file ? malloc(most + 1) : NULL;
    size_t size = text ? fread(text, 1, most + 1, file) : 0;
    sd_status status = !file                 ? sd_fail(err, SD_E_IO, "%s: %s", path, strerror(errno))
                       : !text               ? sd_fail(err, SD_E_MEMORY, "out of memory")
                       : ferror(file)        ? sd_fail(err, SD_E_IO, "%s: cannot be read", path)
                       : size > (size_t)most ? sd_fail(err, SD_E_FORMAT, "%s: expected at most 4 MiB", path)
                                             : SD_OK;
    if (file)
        fclose(file);
    if (status)
        free(text);
    else
        text[size] = 0;
    *out = status ? NULL : text;
    return status;
}

sd_status policy_open(policy **out, const char *path, sd_error *err) {
    char *text;
    *out = NULL;
    sd_status status = read_file(path, &text, err);
    if (status)
        return status;
    cJSON *json = json_parse(text, strlen(text));
    free(text);
    status = check(json, path, err);
    policy *p = status ? NULL : calloc(1, sizeof *p);
    if (!status && !p)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (status)
        cJSON_Delete(json);
    else
        p->json = json;
    *out = p;
    return status;
}

void policy_close(policy **p) {
    if (!*p)
        return;
    cJSON_Delete((*p)->json);
    free(*p);
    *p = NULL;
}

/* Letters and digits; bytes of other alphabets too. */
static bool in_word(char c) {
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static const char *skip_gap(const char *p) {
    while (*p && !in_word(*p))
        p++;
    return p;
}

/* The end of the next word of both where they are the same, else NULL. */
static const char *same_word(const char *text, const char **term) {
    const char *t = *term;
    while (in_word(*text) && in_word(*t) && tolower((unsigned char)*text) == tolower((unsigned char)*t))
        text++, t++;
    if (in_word(*text) || in_word(*t))
        return NULL;
    *term = t;
    return text;
}

bool policy_has_term(const char *text, const char *term) {
    for (text = skip_gap(text); *text; text = skip_gap(text)) {
        const char *at = text, *words = skip_gap(term);
        while (*words && at && *at) {
            at = same_word(skip_gap(at), &words);
            words = skip_gap(words);
        }
        if (!*words && at)
            return true;
        while (in_word(*text))
            text++;
    }
    return false;
}

/* The rule of the key, else the general one. */
static const cJSON *rule(const policy *p, const char *owner, const char *name) {
    const cJSON *keys = cJSON_GetObjectItemCaseSensitive(p->json, "keys"),
                *own = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(keys, owner), name);
    return own ? own
               : cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(p->json, "rules"), name);
}

static void block(struct verdict *v, const char *field, const char *format, const char *detail) {
    if (!v->allowed)
        return;
    v->allowed = false;
    snprintf(v->field, sizeof v->field, "%s", field);
    snprintf(v->reason, sizeof v->reason, format, detail);
}

static void judge_words(const policy *p, const char *owner, const struct job_request *r, struct verdict *v) {
    const char *prompt = r->params.prompt ? r->params.prompt : "";
    const cJSON *blocked = rule(p, owner, "blocked"), *required = rule(p, owner, "required");
    for (const cJSON *t = blocked ? blocked->child : NULL; t; t = t->next)
        if (policy_has_term(prompt, t->valuestring))
            block(v, "prompt", "prompt: the policy blocks '%.100s'", t->valuestring);
    for (const cJSON *t = required ? required->child : NULL; t; t = t->next)
        if (!policy_has_term(prompt, t->valuestring))
            block(v, "prompt", "prompt: the policy requires '%.100s'", t->valuestring);
}

static void judge_count(const policy *p, const char *owner, const char *name, const char *field, double found,
                        struct verdict *v) {
    const cJSON *most = rule(p, owner, name);
    char text[64];
    if (!most || found <= most->valuedouble)
        return;
    snprintf(text, sizeof text, "%.0f, found %.0f", most->valuedouble, found);
    if (!strcmp(field, "steps"))
        block(v, field, "steps: the policy allows at most %s", text);
    else if (!strcmp(field, "count"))
        block(v, field, "count: the policy allows at most %s", text);
    else
        block(v, field, "width x height: the policy allows at most %s", text);
}

uint64_t policy_pixels(const policy *p, const char *owner) {
    const cJSON *most = p ? rule(p, owner, "max_pixels") : NULL;
    return most ? (uint64_t)most->valuedouble : UINT64_MAX;
}

static bool listed(const cJSON *list, const char *name) {
    for (const cJSON *i = list->child; i; i = i->next)
        if (!strcmp(i->valuestring, name))
            return true;
    return false;
}

static void judge_names(const policy *p, const char *owner, const char *model, const struct job_request *r,
                        struct verdict *v) {
    const cJSON *models = rule(p, owner, "models"), *loras = rule(p, owner, "loras");
    if (models && !listed(models, model))
        block(v, "model", "model: the policy does not list '%.100s'", model);
    for (size_t i = 0; loras && i < r->params.lora_count; i++)
        if (!listed(loras, r->loras[i].path))
            block(v, "loras", "loras: the policy does not list '%.100s'", r->loras[i].path);
    if (loras && r->params.prompt && strstr(r->params.prompt, "<lora:"))
        block(v, "prompt", "prompt: the policy lists LoRAs, so that they must be named in %s", "loras");
}

void policy_judge(const policy *p, const char *owner, const char *default_model, const struct job_request *r,
                  struct verdict *out) {
    *out = (struct verdict){.allowed = true};
    if (!p)
        return;
    snprintf(out->version, sizeof out->version, "%s",
             cJSON_GetObjectItemCaseSensitive(p->json, "version")->valuestring);
    judge_words(p, owner, r, out);
    judge_count(p, owner, "max_steps", "steps", job_request_steps(r), out);
    judge_count(p, owner, "max_count", "count", r->params.count ? r->params.count : 1, out);
    judge_count(p, owner, "max_pixels", "width", (double)r->params.width * r->params.height, out);
    judge_names(p, owner, r->model ? r->model : default_model, r, out);
}
