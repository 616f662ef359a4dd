/* Changing which LoRAs are merged into a model. */
#include "sd/distilled.h"
#include "sd/layers.h"
#include "sd/model.h"

#include <stdlib.h>
#include <string.h>

sd_weights *sd_model_adapted_weights(const sd_model *m, sd_lora_part part) {
    if (part == SD_LORA_UNET)
        return m->unet_weights;
    const struct sd_text_part *text = &m->text[part == SD_LORA_TEXT ? 0 : 1];
    return text->present ? text->weights : NULL;
}

struct sd_weight_source sd_model_source(sd_model *m, sd_lora_part part) {
    static const sd_part parts[] = {
        [SD_LORA_UNET] = SD_PART_UNET, [SD_LORA_TEXT] = SD_PART_TEXT, [SD_LORA_TEXT_2] = SD_PART_TEXT_2};
    m->adapted[part] = (struct sd_adapted){m->files->part[parts[part]].source, &m->adapters, part};
    struct sd_weight_source source = sd_adapted_source(&m->adapted[part]);
    sd_cancel_source(&source, m->cancel);
    return source;
}

static sd_status name_layers(sd_model *m, sd_error *err) {
    sd_status status = sd_lora_targets_create(&m->targets, err);
    for (int part = 0; part < SD_LORA_PARTS && !status; part++) {
        const sd_weights *weights = sd_model_adapted_weights(m, (sd_lora_part)part);
        struct sd_weight_source source = sd_model_source(m, (sd_lora_part)part);
        if (weights)
            status = sd_layers_add(m->targets, (sd_lora_part)part, weights, &source, &m->files->unet, err);
    }
    return status ? status : sd_lora_targets_finish(m->targets, err);
}

/* The model's set, then the prompt's. */
static sd_status open_set(const sd_model *m, const struct sd_lora_uses *uses,
                          const struct sd_lora_uses *prompt, struct sd_adapter_set *out, sd_error *err) {
    struct sd_adapter_set more = {0};
    sd_status status = sd_adapter_set_open(out, uses->items, uses->count, !uses->lenient, m->targets, err);
    if (!status)
        status = sd_adapter_set_open(&more, prompt->items, prompt->count, !prompt->lenient, m->targets, err);
    if (!status)
        status = sd_adapter_set_append(out, &more, err);
    if (status)
        sd_adapter_set_close(out);
    out->apart = m->lora_mode == SD_LORA_RUNTIME;
    return status;
}

sd_status sd_model_adapt(sd_model *m, const sd_model_options *options, sd_error *err) {
    sd_status status = name_layers(m, err);
    if (!status)
        status = sd_lora_uses_copy(&m->loras, m->context, options->loras, options->lora_count,
                                   options->lenient, err);
    return status ? status : open_set(m, &m->loras, &m->prompt_loras, &m->adapters, err);
}

/* What the set was and is, for one network. */
struct change {
    const struct sd_adapter_set *before, *after;
    sd_lora_part part;
};

static bool changed(void *user, const char *name) {
    const struct change *c = user;
    return !sd_adapter_sets_agree(c->before, c->after, c->part, name);
}

/* Brings the device's weights from one set to the model's present one. */
static sd_status load_changes(sd_model *m, const struct sd_adapter_set *before, sd_error *err) {
    bool again = m->broken; /* nothing of what lies on the device can be relied on */
    sd_status status = SD_OK;
    m->broken = true;
    for (int part = 0; part < SD_LORA_PARTS && !status; part++) {
        struct change change = {before, &m->adapters, (sd_lora_part)part};
        sd_weights *weights = sd_model_adapted_weights(m, (sd_lora_part)part);
        struct sd_weight_source source = sd_model_source(m, (sd_lora_part)part);
        if (!weights)
            continue;
        if (again)
            status = sd_weights_reload(weights, m->context->vk, &source, m->precision, err);
        else
            status = sd_weights_update(weights, m->context->vk, &source, m->precision, changed, &change, err);
    }
    m->broken = status != SD_OK;
    return status;
}

/* Merges these and no others; both are taken over when their files can be used, and freed otherwise. */
static sd_status exchange(sd_model *m, struct sd_lora_uses *uses, struct sd_lora_uses *prompt,
                          sd_error *err) {
    struct sd_adapter_set before = m->adapters, after;
    sd_status status = open_set(m, uses, prompt, &after, err);
    if (status) {
        sd_lora_uses_clear(uses);
        sd_lora_uses_clear(prompt);
        return status;
    }
    sd_lora_uses_clear(&m->loras);
    sd_lora_uses_clear(&m->prompt_loras);
    m->loras = *uses;
    m->prompt_loras = *prompt;
    m->adapters = after;
    status = load_changes(m, &before, err);
    sd_adapter_set_close(&before);
    return status;
}

sd_status sd_model_set_loras(sd_model *m, const sd_lora_use *uses, size_t count, bool lenient,
                             sd_error *err) {
    struct sd_lora_uses set, none = {0};
    sd_status status = sd_lora_uses_copy(&set, m->context, uses, count, lenient, err);
    return status ? status : exchange(m, &set, &none, err);
}

sd_status sd_model_use_loras(sd_model *m, const sd_params *p, const struct sd_prompt *prompt, sd_error *err) {
    struct sd_lora_uses set = {0}, tags = {0};
    if (!p->loras && !prompt->lora_count && !m->prompt_loras.count && !m->broken)
        return SD_OK;
    sd_status status = sd_lora_uses_read(&tags, m->context, prompt, p->lenient, err);
    if (status)
        return status;
    if (p->loras)
        status = sd_lora_uses_copy(&set, m->context, p->loras, p->lora_count, p->lenient, err);
    else
        status = sd_lora_uses_copy(&set, m->context, m->loras.items, m->loras.count, m->loras.lenient, err);
    if (!status)
        return exchange(m, &set, &tags, err);
    sd_lora_uses_clear(&tags);
    return status;
}

/* How many weights the adapter changes, at their sides and in themselves. */
static void count_changes(const sd_model *m, const struct sd_adapter *a, sd_lora_info *out) {
    for (int part = 0; part < SD_LORA_PARTS; part++) {
        const sd_weights *all = sd_model_adapted_weights(m, (sd_lora_part)part);
        const sd_weight *w;
        for (size_t i = 0; all && (w = sd_weights_at(all, i)); i++)
            for (uint32_t k = 0; k < w->parts; k++)
                if (sd_lora_changes(a->match, &a->strength, (sd_lora_part)part, w->names[k]))
                    (*(w->side ? &out->apart : &out->merged))++;
    }
}

bool sd_model_lora(const sd_model *m, size_t index, sd_lora_info *out) {
    if (index >= m->adapters.count)
        return false;
    const struct sd_adapter *a = &m->adapters.items[index];
    const struct sd_lora_report *r = sd_lora_match_report(a->match);
    *out = (sd_lora_info){.path = r->path,
                          .name = r->name,
                          .kinds = r->kinds,
                          .rank_min = r->rank_min,
                          .rank_max = r->rank_max,
                          .modules = r->modules,
                          .matched = r->matched,
                          .unmatched = r->unmatched,
                          .family = r->family,
                          .base = r->base,
                          .trigger = r->trigger,
                          .license = r->license,
                          .unet = a->strength.unet,
                          .text = a->strength.text,
                          .in_prompt = index >= m->loras.count};
    struct sd_distilled d;
    if (a->strength.unet > 0 && sd_distilled_find(a->file, &d)) {
        out->method = d.method;
        out->sampler = d.sampler;
        out->steps = d.steps;
        out->cfg_scale = d.cfg_scale;
    }
    count_changes(m, a, out);
    return true;
}
