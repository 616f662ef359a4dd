/* The "info" of txt2img and img2img: what was made, for each picture. */
#include "server/a1111.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void add_each(cJSON *info, const char *name, const cJSON *value, uint32_t count) {
    cJSON *list = cJSON_AddArrayToObject(info, name);
    for (uint32_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, cJSON_Duplicate(value, true));
}

/* Pictures that were made, or that were asked for where none was. */
static uint32_t pictures(const job *j) {
    return j->row.images ? j->row.images : j->images;
}

/* `offset` from their seeds. */
static void add_seeds(cJSON *info, const char *name, int64_t offset, const job *j) {
    cJSON *list = cJSON_AddArrayToObject(info, name);
    for (uint32_t i = 0; i < pictures(j); i++)
        cJSON_AddItemToArray(list,
                             json_integer(offset + (j->row.images ? j->results[i].seed : j->row.seed + i)));
}

static void copy(cJSON *info, const cJSON *fields, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(fields, name);
    cJSON_AddItemToObject(info, name, value ? cJSON_Duplicate(value, true) : cJSON_CreateNull());
}

static void copy_all(cJSON *info, const cJSON *fields, const char *const *which) {
    for (; *which; which++)
        copy(info, fields, *which);
}

/* Of the record that the picture carries; a job that was interrupted has none. */
static void add_model(cJSON *info, const struct a1111_request *q, const job *j) {
    cJSON *record = j->row.images ? cJSON_Parse(j->results[0].json) : NULL;
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(record, "model"), *part, *vae = NULL;
    const char *hash = json_text(model, "sha256", "");
    char shown[16];
    cJSON_AddStringToObject(info, "sd_model_name",
                            json_text(model, "name", json_text(q->options, "sd_model_checkpoint", "")));
    snprintf(shown, sizeof shown, "%.10s", hash);
    cJSON_AddItemToObject(info, "sd_model_hash", *hash ? cJSON_CreateString(shown) : cJSON_CreateNull());
    cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(record, "parts")) {
        if (!strcmp(json_text(part, "part", ""), "vae"))
            vae = part;
    }
    snprintf(shown, sizeof shown, "%.10s", json_text(vae, "sha256", ""));
    cJSON_AddItemToObject(info, "sd_vae_name",
                          vae ? cJSON_CreateString(json_text(q->options, "sd_vae", "")) : cJSON_CreateNull());
    cJSON_AddItemToObject(info, "sd_vae_hash", vae ? cJSON_CreateString(shown) : cJSON_CreateNull());
    cJSON_Delete(record);
}

static void add_timestamp(cJSON *info, double seconds) {
    char text[32];
    time_t whole = (time_t)seconds;
    struct tm tm;
    localtime_r(&whole, &tm);
    strftime(text, sizeof text, "%Y%m%d%H%M%S", &tm);
    cJSON_AddStringToObject(info, "job_timestamp", text);
}

static void add_texts(cJSON *info, const struct a1111_request *q, const job *j) {
    cJSON *texts = cJSON_AddArrayToObject(info, "infotexts");
    for (uint32_t i = 0; i < j->row.images; i++)
        cJSON_AddItemToArray(texts, cJSON_CreateString(j->results[i].infotext));
    const cJSON *styles = json_get(q->fields, "styles");
    cJSON_AddItemToObject(info, "styles", styles ? cJSON_Duplicate(styles, true) : cJSON_CreateArray());
    add_timestamp(info, j->row.started > 0 ? j->row.started : j->row.created);
}

cJSON *a1111_info(const struct a1111_request *q, const job *j) {
    static const char *const size[] = {"subseed_strength", "width", "height", NULL};
    static const char *const settings[] = {"cfg_scale", "steps", "batch_size", NULL};
    static const char *const more[] = {"seed_resize_from_w", "seed_resize_from_h", "denoising_strength",
                                       NULL};
    const cJSON *f = q->fields, *prompt = cJSON_GetObjectItemCaseSensitive(f, "prompt"),
                *negative = cJSON_GetObjectItemCaseSensitive(f, "negative_prompt");
    uint32_t count = pictures(j);
    cJSON *info = cJSON_CreateObject();
    copy(info, f, "prompt");
    add_each(info, "all_prompts", prompt, count);
    copy(info, f, "negative_prompt");
    add_each(info, "all_negative_prompts", negative, count);
    json_add_integer(info, "seed", j->row.seed);
    add_seeds(info, "all_seeds", 0, j);
    json_add_integer(info, "subseed", q->subseed);
    add_seeds(info, "all_subseeds", q->subseed - j->row.seed, j);
    copy_all(info, f, size);
    cJSON_AddStringToObject(info, "sampler_name", q->sampler);
    copy_all(info, f, settings);
    cJSON_AddBoolToObject(info, "restore_faces", false);
    cJSON_AddNullToObject(info, "face_restoration_model");
    add_model(info, q, j);
    copy_all(info, f, more);
    cJSON_AddObjectToObject(info, "extra_generation_params");
    cJSON_AddNumberToObject(info, "index_of_first_image", 0);
    add_texts(info, q, j);
    cJSON_AddNumberToObject(info, "clip_skip", json_number(q->options, "CLIP_stop_at_last_layers", 1));
    cJSON_AddBoolToObject(info, "is_using_inpainting_conditioning", false);
    cJSON_AddStringToObject(info, "version", "sdvk " SD_VERSION);
    cJSON_AddItemToObject(info, "warnings", cJSON_Duplicate(q->warnings, true));
    return info;
}
