/* From a request of txt2img or img2img to a native one. */
#include "server/a1111.h"

#include "server/draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What native fields are called here. */
static const char *const names[][2] = {
    {"sampler", "sampler_name"},
    {"schedule", "scheduler"},
    {"strength", "denoising_strength"},
    {"count", "batch_size"},
    {"model", "sd_model_checkpoint"},
    {"vae", "sd_vae"},
    {"clip_skip", "CLIP_stop_at_last_layers"},
    {"init_image", "init_images"},
    {"resize", "resize_mode"},
    {"mask_padding", "inpaint_full_res_padding"},
    {"rng", "randn_source"},
    {"quality", "jpeg_quality"},
};

void a1111_translate(struct a1111_refusal *r, const char *field, const char *message) {
    size_t n = strspn(message, "abcdefghijklmnopqrstuvwxyz_");
    bool prefixed = n && n < sizeof r->field && message[n] == ':';
    snprintf(r->field, sizeof r->field, "%.*s", prefixed ? (int)n : 63, prefixed ? message : field);
    const char *rest = prefixed ? message + n : "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i][0], r->field)) {
            snprintf(r->field, sizeof r->field, "%s", names[i][1]);
            break;
        }
    snprintf(r->text, sizeof r->text, "%s%.900s", prefixed ? r->field : "", prefixed ? rest : message);
    r->status = 422;
}

void a1111_reply_native(exchange *x, const char *field, const char *message) {
    struct a1111_refusal r = {0};
    a1111_translate(&r, field, message);
    a1111_reply_refusal(x, &r);
}

/* ---- samplers ---- */

/* The native 0 means the sampler's own. So little added to an f32 latent leaves it as it is. */
static const double no_noise = 1e-20;

/* How much noise the sampler adds on its way. */
static bool read_noise(const struct a1111_request *q, const sd_names *sampler, cJSON *native,
                       struct a1111_refusal *r) {
    bool adds = sampler->eta > 0;
    double eta =
        json_number(q->fields, "eta", json_number(q->options, adds ? "eta_ancestral" : "eta_ddim", 0));
    double deviation = json_number(q->fields, "s_noise", 1);
    if (adds && eta != 0 && deviation != 1)
        return a1111_refuse(r, "s_noise", "s_noise: the sampler '%s' adds noise of the deviation 1, found %g",
                            sampler->label, deviation);
    if (adds || eta != 0)
        cJSON_AddNumberToObject(native, "eta", eta != 0 ? eta : no_noise);
    return true;
}

/* A schedule in the sampler's name counts more than the field. */
static bool read_sampler(struct a1111_request *q, cJSON *native, struct a1111_refusal *r) {
    const char *field = *json_text(q->fields, "sampler_name", "") ? "sampler_name" : "sampler_index";
    const char *word = json_text(q->fields, field, "Euler"),
               *scheduler = json_text(q->fields, "scheduler", "");
    sd_names sampler, schedule;
    sd_params unused = {0};
    sd_error err;
    if (!strncasecmp(word, "k_", 2))
        word += 2;
    if (!sd_sampler_named(word, &sampler, &schedule)) {
        sd_params_set(&unused, "sampler", word, &err);
        return a1111_refuse(r, field, "%s: %s", field, err.message);
    }
    q->sampler = sampler.label;
    cJSON_AddStringToObject(native, "sampler", sampler.name);
    if (schedule.name)
        cJSON_AddStringToObject(native, "schedule", schedule.name);
    else if (*scheduler && strcasecmp(scheduler, "automatic")) {
        if (sd_params_set(&unused, "schedule", scheduler, &err))
            return a1111_refuse(r, "scheduler", "scheduler: %s", err.message);
        cJSON_AddStringToObject(native, "schedule", scheduler);
    }
    return read_noise(q, &sampler, native, r);
}

/* ---- the rest ---- */

static bool read_count(const struct a1111_request *q, cJSON *native, struct a1111_refusal *r) {
    static const char *const fields[] = {"batch_size", "n_iter"};
    double count = 1;
    for (int i = 0; i < 2; i++) {
        double value = json_number(q->fields, fields[i], 1);
        if (value < 1)
            return a1111_refuse(r, fields[i], "%s: expected 1 or more, found %.0f", fields[i], value);
        count *= value;
    }
    cJSON_AddNumberToObject(native, "count", count);
    return true;
}

static void copy(const cJSON *fields, cJSON *native, const char *const *which) {
    for (; *which; which++)
        cJSON_AddItemToObject(native, *which,
                              cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(fields, *which), true));
}

static void apply_options(const struct a1111_request *q, const struct server *server, cJSON *native) {
    const cJSON *o = q->options;
    const char *model = json_text(o, "sd_model_checkpoint", ""), *vae = json_text(o, "sd_vae", "");
    double skip = json_number(o, "CLIP_stop_at_last_layers", 1);
    double every = json_number(o, "show_progress_every_n_steps", 0);
    if (strcmp(model, catalog_default(server->catalog)))
        cJSON_AddStringToObject(native, "model", model);
    if (strcasecmp(vae, "Automatic") && strcasecmp(vae, "None"))
        cJSON_AddStringToObject(native, "vae", vae);
    /* 1 means the family's usual layer, which is not the last one of every family. */
    if (skip > 1)
        cJSON_AddNumberToObject(native, "clip_skip", skip);
    cJSON_AddStringToObject(native, "rng",
                            strcasecmp(json_text(o, "randn_source", ""), "CPU") ? "gpu" : "cpu");
    cJSON_AddStringToObject(native, "format",
                            strcasecmp(json_text(o, "samples_format", ""), "png") ? "jpeg" : "png");
    cJSON_AddNumberToObject(native, "quality", json_number(o, "jpeg_quality", 80));
    if (json_flag(o, "live_previews_enable", true) && every > 0)
        cJSON_AddNumberToObject(native, "preview_every", every);
}

static bool translate(struct a1111_request *q, struct server *server, cJSON *native,
                      struct a1111_refusal *r) {
    static const char *const same[] = {"negative_prompt", "width", "height", "steps",
                                       "cfg_scale",       "seed",  NULL};
    uint32_t subseed;
    char *prompt = a1111_prompt(json_text(q->fields, "prompt", ""));
    if (!prompt)
        return false;
    cJSON_AddStringToObject(native, "prompt", prompt);
    free(prompt);
    copy(q->fields, native, same);
    apply_options(q, server, native);
    q->subseed = (int64_t)json_number(q->fields, "subseed", -1);
    if (q->subseed == -1 && draw(&subseed, sizeof subseed))
        q->subseed = subseed;
    return read_sampler(q, native, r) && read_count(q, native, r) &&
           (q->task != A1111_IMG2IMG || a1111_img2img(q, &server->config, native, r));
}

/* Options of this request, and of all later ones when it says so. */
static bool override_options(struct a1111_request *q, struct server *server, struct a1111_refusal *r) {
    const cJSON *changes = json_get(q->fields, "override_settings");
    q->options = a1111_options_copy(server->a1111);
    return a1111_options_change(server->a1111, q->options, changes, "override_settings.", q->warnings, r) &&
           (json_flag(q->fields, "override_settings_restore_afterwards", true) || !changes ||
            a1111_options_keep(server->a1111, changes, r));
}

cJSON *a1111_request_read(struct a1111_request *out, struct server *server, cJSON *body, enum a1111_task task,
                          struct a1111_refusal *r) {
    cJSON *native = cJSON_CreateObject();
    *out = (struct a1111_request){.task = task, .warnings = cJSON_CreateArray()};
    out->fields = a1111_fields(body, task, out->warnings, r);
    bool fits = out->fields && a1111_check(out->fields, task, out->warnings, r) &&
                override_options(out, server, r) && translate(out, server, native, r);
    cJSON_Delete(body);
    if (fits)
        return native;
    cJSON_Delete(native);
    a1111_request_clear(out);
    return NULL;
}

void a1111_request_clear(struct a1111_request *q) {
    cJSON_Delete(q->fields);
    cJSON_Delete(q->options);
    cJSON_Delete(q->warnings);
    *q = (struct a1111_request){0};
}
