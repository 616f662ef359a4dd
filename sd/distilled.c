#include "sd/distilled.h"

#include "sd/model.h"

#include <stdio.h>
#include <string.h>

enum { longest = 256, most_steps = 64 };

/* Sources: what the publishers' model cards run them with. */
static const struct row {
    const char *words; /* one after the other in the name; '*': the last one may go on */
    bool numbered;     /* the name has the steps too: without them the words may mean what is drawn */
    const char *method, *sampler, *schedule;
    uint32_t steps; /* where the name has none */
    float cfg_scale;
    const char *guided; /* a word of those that were trained with guidance, or NULL ... */
    float guided_scale; /* ... and its scale */
} rows[] = {
    {"lcm*", false, "LCM", "lcm", "lcm", 4, 1, NULL, 0},
    {"hyper sd*", true, "Hyper-SD", "ddim", "trailing", 8, 1, "cfg", 5},
    {"lightning", true, "Lightning", "euler", "sgm_uniform", 4, 1, NULL, 0},
    {"tcd", false, "TCD", "ddim", "lcm", 4, 1, NULL, 0}, /* its sampler without noise is this one */
    {"pcm", false, "PCM", "ddim", "trailing", 4, 1, "normalcfg", 7.5f},
    {"dmd2", false, "DMD2", "lcm", "trailing", 4, 1, NULL, 0},
    {"sd xl turbo", false, "Turbo", "euler_a", "trailing", 4, 1, NULL, 0},
    {"sdxl turbo", false, "Turbo", "euler_a", "trailing", 4, 1, NULL, 0},
    {"sd turbo", false, "Turbo", "euler_a", "trailing", 4, 1, NULL, 0},
};

static bool is_letter(char c) {
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Words in lower case with one blank before, between and behind them. */
static void fold(const char *name, char out[longest]) {
    size_t n = 1;
    out[0] = ' ';
    for (; *name && n + 2 < longest; name++) {
        char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
        if (is_letter(c) || is_digit(c) || (unsigned char)c >= 128)
            out[n++] = c;
        else if (out[n - 1] != ' ')
            out[n++] = ' ';
    }
    if (out[n - 1] != ' ')
        out[n++] = ' ';
    out[n] = 0;
}

static bool has_words(const char *folded, const char *words) {
    size_t n = strlen(words);
    bool open = words[n - 1] == '*';
    n -= open;
    for (const char *at = strchr(folded, ' '); at; at = strchr(at + 1, ' '))
        if (!strncmp(at + 1, words, n) && (open || at[1 + n] == ' '))
            return true;
    return false;
}

/* N of "8steps", "4step" or "8 steps"; 0 when there is none. */
static uint32_t steps_in(const char *folded) {
    for (const char *at = strstr(folded, "step"); at; at = strstr(at + 1, "step")) {
        const char *end = at[-1] == ' ' && at - 1 > folded ? at - 1 : at, *digit = end;
        uint32_t steps = 0;
        while (digit > folded && is_digit(digit[-1]))
            digit--;
        for (const char *d = digit; d < end && steps <= most_steps; d++)
            steps = steps * 10 + (uint32_t)(*d - '0');
        if (steps && steps <= most_steps && digit[-1] == ' ')
            return steps;
    }
    return 0;
}

bool sd_distilled_named(const char *name, struct sd_distilled *out) {
    char folded[longest];
    fold(name, folded);
    uint32_t steps = steps_in(folded);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        if (!has_words(folded, r->words) || (r->numbered && !steps))
            continue;
        bool guided = r->guided && has_words(folded, r->guided);
        *out = (struct sd_distilled){.method = r->method,
                                     .sampler = r->sampler,
                                     .schedule = r->schedule,
                                     .steps = steps ? steps : r->steps,
                                     .cfg_scale = guided ? r->guided_scale : r->cfg_scale};
        return true;
    }
    return false;
}

/* diffusers calls every LoRA's file pytorch_lora_weights; its folder then has the name. */
static void name_of(const char *path, char out[longest]) {
    char folder[4096];
    sd_tensor_file_name(path, out, longest);
    const char *slash = strrchr(path, '/');
    if (!slash || strcmp(out, "pytorch_lora_weights") != 0)
        return;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    sd_tensor_file_name(folder, out, longest);
}

bool sd_distilled_find(const sd_lora *lora, struct sd_distilled *out) {
    static const char *const keys[] = {"modelspec.title", "ss_output_name"};
    char name[longest];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *title = sd_tensor_file_metadata(sd_lora_tensors(lora), keys[i]);
        if (title && sd_distilled_named(title, out)) {
            out->told = keys[i];
            return true;
        }
    }
    name_of(sd_lora_about(lora)->path, name);
    bool found = sd_distilled_named(name, out);
    out->told = "file name";
    return found;
}

static void say(const sd_model *m, const char *name, const struct sd_distilled *d, const sd_params *p) {
    sd_log(&m->context->log, SD_LOG_INFO,
           "%s is made for few steps (%s, by its %s): sampler %s, schedule %s, %u steps and cfg_scale %g, "
           "where the request "
           "does not say otherwise",
           name, d->method, d->told, p->sampler, p->schedule ? p->schedule : "of the sampler", p->steps,
           (double)p->cfg_scale);
}

bool sd_distilled_fill(sd_params *p, const sd_model *m) {
    struct sd_distilled d;
    for (uint32_t i = 0; i < m->adapters.count; i++) {
        const struct sd_adapter *a = &m->adapters.items[i];
        if (!(a->strength.unet > 0) || !sd_distilled_find(a->file, &d))
            continue;
        if (!p->sampler && !p->schedule)
            p->schedule = d.schedule;
        p->sampler = p->sampler ? p->sampler : d.sampler;
        p->steps = p->steps ? p->steps : d.steps;
        p->cfg_scale = p->cfg_scale != 0 ? p->cfg_scale : d.cfg_scale;
        say(m, sd_lora_about(a->file)->name, &d, p);
        return true;
    }
    return false;
}
