/* Which type a tensor is written as. */
#include "sd/convert.h"

#include "sd/base/str.h"
#include "sd/base/values.h"
#include "unet/names.h"

#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    regex_t pattern;
    sd_file_dtype type;
    size_t fits, wins; /* tensors whose names fit; those that no rule before it took */
};

struct chooser {
    const struct sd_conversion *c;
    struct rule *rules;
    size_t count;       /* compiled ones */
    sd_file_dtype type; /* for what no rule fits; SD_FILE_DTYPES: as it is */
};

/* ---- names of types ---- */

/* What tensors may be asked to become, in the spelling of the command line. */
static const char *const type_names[] = {"f32",  "f16",  "bf16", "f8_e4m3", "f8_e5m2", "q8_0",
                                         "q6_k", "q5_k", "q5_1", "q5_0",    "q4_k",    "q4_1",
                                         "q4_0", "q3_k", "q2_k", "iq4_nl",  "iq4_xs",  NULL};

const char *sd_convert_type_name(size_t index) {
    return index < sizeof type_names / sizeof *type_names ? type_names[index] : NULL;
}

static bool storable(bool gguf, sd_file_dtype type) {
    bool eighth = type == SD_FILE_F8_E4M3 || type == SD_FILE_F8_E5M2;
    return gguf ? !eighth : !sd_file_dtype_quantised(type);
}

static void to_upper(const char *text, char out[16]) {
    size_t i = 0;
    for (; text[i] && i < 15; i++)
        out[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
    out[i] = 0;
}

static sd_status unknown_type(const char *what, const char *name, sd_error *err) {
    const char *near = sd_closest(name, type_names);
    sd_str list = {0};
    if (near)
        return sd_fail(err, SD_E_ARGUMENT, "%s: unknown type '%.40s'; did you mean '%s'?", what, name, near);
    for (size_t i = 0; type_names[i]; i++)
        sd_str_printf(&list, "%s%s", i ? ", " : "", type_names[i]);
    sd_status status = sd_fail(err, SD_E_ARGUMENT, "%s: expected one of %s, found '%.40s'", what,
                               list.text ? list.text : "", name);
    sd_str_clear(&list);
    return status;
}

static sd_status read_type(bool gguf, const char *what, const char *name, sd_file_dtype *out, sd_error *err) {
    char given[16], known[16];
    to_upper(name, given);
    for (size_t i = 0; type_names[i]; i++) {
        to_upper(type_names[i], known);
        if (strcmp(known, given))
            continue;
        *out = sd_file_dtype_from_name(known);
        if (storable(gguf, *out))
            return SD_OK;
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a type that %s files can hold, found '%s'", what,
                       gguf ? "GGUF" : "safetensors", type_names[i]);
    }
    return unknown_type(what, name, err);
}

/* ---- rules ---- */

static sd_status compile(struct chooser *h, sd_error *err) {
    const sd_convert_params *p = h->c->params;
    h->rules = calloc(p->rule_count + 1, sizeof *h->rules);
    if (!h->rules)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    for (size_t i = 0; i < p->rule_count; i++) {
        const sd_convert_rule *rule = &p->rules[i];
        char what[120], reason[160];
        snprintf(what, sizeof what, "rule '%.90s'", rule->pattern ? rule->pattern : "");
        if (!rule->pattern || !*rule->pattern || !rule->type)
            return sd_fail(err, SD_E_ARGUMENT, "rule %zu: expected a pattern and a type", i + 1);
        sd_status status = read_type(h->c->gguf, what, rule->type, &h->rules[i].type, err);
        if (status)
            return status;
        int failed = regcomp(&h->rules[i].pattern, rule->pattern, REG_EXTENDED | REG_NOSUB);
        if (failed) {
            regerror(failed, &h->rules[i].pattern, reason, sizeof reason);
            return sd_fail(err, SD_E_ARGUMENT, "%s: expected an extended regular expression: %s", what,
                           reason);
        }
        h->count++;
    }
    return SD_OK;
}

/* The first rule whose pattern is found in the name, or NULL. */
static const struct rule *find_rule(struct chooser *h, const char *name) {
    const struct rule *first = NULL;
    for (size_t i = 0; i < h->count; i++) {
        struct rule *r = &h->rules[i];
        if (regexec(&r->pattern, name, 0, NULL, 0))
            continue;
        r->fits++;
        if (!first) {
            r->wins++;
            first = r;
        }
    }
    return first;
}

static sd_status check_used(const struct chooser *h, sd_error *err) {
    for (size_t i = 0; i < h->count; i++) {
        const char *pattern = h->c->params->rules[i].pattern;
        if (!h->rules[i].fits)
            return sd_fail(err, SD_E_ARGUMENT, "rule '%.200s': fits none of the %zu tensors; the first is %s",
                           pattern, h->c->count, h->c->count ? h->c->by_name[0]->name : "none");
        if (!h->rules[i].wins)
            return sd_fail(err, SD_E_ARGUMENT,
                           "rule '%.200s': has no effect, as rules before it fit all of its %zu tensors",
                           pattern, h->rules[i].fits);
    }
    return SD_OK;
}

/* ---- choosing ---- */

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), n = strlen(ending);
    return length >= n && !strcmp(text + length - n, ending);
}

/* The first and the last convolution of a UNet, whose errors go straight into the picture: LDM's names, and
 * diffusers'. */
static bool is_edge(const char *name) {
    static const char *const names[] = {"input_blocks.0.0.weight", "out.2.weight", "conv_in.weight",
                                        "conv_out.weight"};
    size_t prefix = strlen(SD_UNET_LDM_PREFIX);
    const char *inner = strncmp(name, SD_UNET_LDM_PREFIX, prefix) ? name : name + prefix;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(inner, names[i]))
            return true;
    return false;
}

/* What the general type leaves alone unless a rule names it. */
static bool is_spared(const struct sd_convert_item *item, sd_file_dtype type) {
    if (item->part == SD_PARTS)
        return true;
    if (sd_file_dtype_bits(type) >= 16 && !sd_file_dtype_quantised(type))
        return false;
    return item->part == SD_PART_VAE || item->kind == CONVERT_VECTOR || item->kind == CONVERT_EMBEDDING ||
           !ends_with(item->out.name, "weight") || is_edge(item->out.name) ||
           (sd_file_dtype_quantised(type) && item->out.rank != 2);
}

/* The type with blocks of 32 values that is nearest to one with blocks of 256, where rows are not multiples
 * of these; llama.cpp takes the same. */
static sd_file_dtype with_short_blocks(sd_file_dtype type) {
    switch (type) {
    case SD_FILE_Q2_K:
    case SD_FILE_Q3_K:
    case SD_FILE_IQ4_XS:
        return SD_FILE_IQ4_NL;
    case SD_FILE_Q4_K:
        return SD_FILE_Q5_0;
    case SD_FILE_Q5_K:
        return SD_FILE_Q5_1;
    case SD_FILE_Q6_K:
        return SD_FILE_Q8_0;
    default:
        return type;
    }
}

static uint64_t values_of(const sd_file_tensor *t) {
    uint64_t values = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        values *= t->shape[i]; /* was checked when the file was opened */
    return values;
}

/* As it is, or as F16 where the file cannot hold that or it would be a waste. */
static sd_file_dtype kept_type(const struct sd_convert_item *item, bool gguf, bool narrow) {
    bool wide = item->from == SD_FILE_F32 || item->from == SD_FILE_F64;
    bool real = sd_dtype_real(sd_file_dtype_base(item->from));
    if (real && !storable(gguf, item->from))
        return SD_FILE_F16;
    return narrow && wide && item->kind != CONVERT_VECTOR ? SD_FILE_F16 : item->from;
}

/* The wanted type, or the nearest that the tensor's shape allows. A rule may have rows that are not whole
 * blocks reshaped (sd_gguf_write), the general type may not. */
static sd_file_dtype fitting_type(const struct sd_convert_item *item, sd_file_dtype type, bool reshape,
                                  bool gguf) {
    const sd_file_tensor *t = &item->out;
    sd_file_dtype other = with_short_blocks(type);
    if (!sd_file_dtype_quantised(type))
        return type;
    uint64_t row = t->rank ? t->shape[t->rank - 1] : 1, all = values_of(t);
    if (item->kind == CONVERT_VECTOR)
        return kept_type(item, gguf, true);
    if (row % sd_file_dtype_block(type) == 0)
        return type;
    if (row % sd_file_dtype_block(other) == 0)
        return other;
    if (reshape && all % sd_file_dtype_block(type) == 0)
        return type;
    if (reshape && all % sd_file_dtype_block(other) == 0)
        return other;
    return kept_type(item, gguf, true);
}

static sd_status choose_one(struct chooser *h, struct sd_convert_item *item, sd_error *err) {
    bool gguf = h->c->gguf, real = sd_dtype_real(sd_file_dtype_base(item->from));
    bool general = h->type != SD_FILE_DTYPES && real;
    const struct rule *rule = real ? find_rule(h, item->out.name) : NULL;
    sd_file_tensor *out = &item->out;
    if (rule) {
        item->asked = rule->type;
        out->dtype = fitting_type(item, rule->type, true, gguf);
    } else if (general && !is_spared(item, h->type)) {
        item->asked = h->type;
        out->dtype = fitting_type(item, h->type, false, gguf);
    } else
        item->asked = out->dtype = kept_type(item, gguf, general && item->part != SD_PARTS);
    if (sd_file_tensor_size(out->dtype, out->rank, out->shape, &out->bytes))
        return SD_OK;
    return sd_fail(err, SD_E_UNSUPPORTED, "%s: tensor %s has no size in %s", h->c->files->path,
                   sd_show_name(out->name).text, sd_file_dtype_name(out->dtype));
}

sd_status sd_convert_choose(struct sd_conversion *c, sd_error *err) {
    struct chooser h = {.c = c, .type = SD_FILE_DTYPES};
    sd_status status = c->params->type ? read_type(c->gguf, "type", c->params->type, &h.type, err) : SD_OK;
    if (!status)
        status = compile(&h, err);
    for (size_t i = 0; i < c->count && !status; i++) {
        status = choose_one(&h, &c->items[i], err);
        c->tensors[i] = c->items[i].out;
    }
    if (!status)
        status = check_used(&h, err);
    for (size_t i = 0; i < h.count; i++)
        regfree(&h.rules[i].pattern);
    free(h.rules);
    return status;
}
