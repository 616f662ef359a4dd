#include "sd/info.h"

#include "sd/base/str.h"
#include "sd/layers.h"
#include "sd/library.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* Tags of the training pictures that are listed, and digits of a LoRA's hash that A1111 writes. */
enum { most_tags = 20, shown_digits = 12 };

struct tag {
    const char *name;
    double count;
};

static int by_count(const void *a, const void *b) {
    const struct tag *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->name, y->name);
}

static int by_tag(const void *a, const void *b) {
    return strcmp(((const struct tag *)a)->name, ((const struct tag *)b)->name);
}

/* Adds up what several folders have, and leaves every tag once. */
static size_t join_tags(struct tag *tags, size_t count) {
    size_t kept = 0;
    qsort(tags, count, sizeof *tags, by_tag);
    for (size_t i = 0; i < count; i++)
        if (kept && !strcmp(tags[kept - 1].name, tags[i].name))
            tags[kept - 1].count += tags[i].count;
        else
            tags[kept++] = tags[i];
    return kept;
}

/* kohya's ss_tag_frequency: {"10_folder": {"tag": 12, ...}, ...}. Something else is shown as metadata only.
 */
static sd_status add_tags(cJSON *json, const char *text, sd_error *err) {
    cJSON *all = text ? cJSON_Parse(text) : NULL, *folder, *tag;
    size_t count = 0;
    cJSON_ArrayForEach(folder, all) count += (size_t)cJSON_GetArraySize(folder);
    struct tag *tags = calloc(count + 1, sizeof *tags);
    if (!tags) {
        cJSON_Delete(all);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    count = 0;
    cJSON_ArrayForEach(folder, all) if (cJSON_IsObject(folder))
        cJSON_ArrayForEach(tag, folder) if (cJSON_IsNumber(tag) && tag->string) tags[count++] =
            (struct tag){tag->string, tag->valuedouble};
    cJSON *out = count ? cJSON_AddObjectToObject(json, "frequent_tags") : NULL;
    if (count) {
        count = join_tags(tags, count);
        qsort(tags, count, sizeof *tags, by_count);
    }
    for (size_t i = 0; i < count && i < most_tags; i++)
        cJSON_AddNumberToObject(out, tags[i].name, tags[i].count);
    free(tags);
    cJSON_Delete(all);
    return SD_OK;
}

static void add_text(cJSON *json, const char *name, const char *value) {
    if (value && *value)
        cJSON_AddStringToObject(json, name, value);
}

/* What the file says of the model that it was trained on. */
static void add_base(cJSON *json, const sd_tensor_file *file, const char *base) {
    static const struct {
        const char *name, *key;
    } fields[] = {{"architecture", "modelspec.architecture"},
                  {"name", "ss_sd_model_name"},
                  {"sha256", "ss_new_sd_model_hash"},
                  {"short_hash", "ss_sd_model_hash"}};
    cJSON *object = cJSON_CreateObject();
    add_text(object, "version", base);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        add_text(object, fields[i].name, sd_tensor_file_metadata(file, fields[i].key));
    if (cJSON_GetArraySize(object))
        cJSON_AddItemToObject(json, "base", object);
    else
        cJSON_Delete(object);
}

/* kohya's trainer writes the hash of the tensors' bytes into the header, so that a change shows. */
static sd_status add_data_hashes(cJSON *json, const sd_lora *lora, sd_hash_cache *hashes, sd_error *err) {
    const sd_tensor_file *file = sd_lora_tensors(lora);
    const char *written = sd_tensor_file_metadata(file, "sshs_model_hash");
    char hex[SD_SHA256_HEX];
    sd_status status = sd_hash_cache_get(hashes, sd_lora_file(lora), SD_HASH_DATA, hex, err);
    if (status)
        return status;
    cJSON_AddStringToObject(json, "data_sha256", hex);
    add_text(json, "sshs_model_hash", written);
    add_text(json, "sshs_legacy_hash", sd_tensor_file_metadata(file, "sshs_legacy_hash"));
    if (written)
        cJSON_AddBoolToObject(json, "data_as_trained", !strcmp(written, hex));
    hex[shown_digits] = 0;
    cJSON_AddStringToObject(json, "lora_hash", hex);
    return SD_OK;
}

static void add_count(cJSON *json, const char *name, struct sd_lora_count changed, struct sd_lora_count all) {
    cJSON *part = cJSON_AddObjectToObject(json, name);
    cJSON_AddNumberToObject(part, "layers", all.layers);
    cJSON_AddNumberToObject(part, "changed_layers", changed.layers);
    cJSON_AddNumberToObject(part, "norms", all.norms);
    cJSON_AddNumberToObject(part, "changed_norms", changed.norms);
}

static void add_coverage(cJSON *json, const struct sd_lora_report *r, const sd_lora_targets *targets,
                         const char *of) {
    static const char *const parts[] = {"unet", "text_encoder", "text_encoder_2"};
    cJSON *coverage = cJSON_AddObjectToObject(json, "coverage");
    cJSON_AddStringToObject(coverage, "of", of);
    cJSON_AddNumberToObject(coverage, "modules", r->modules);
    cJSON_AddNumberToObject(coverage, "matched", r->matched);
    for (int part = 0; part < SD_LORA_PARTS; part++) {
        struct sd_lora_count all = sd_lora_targets_count(targets, (sd_lora_part)part);
        if (all.layers)
            add_count(coverage, parts[part], r->changed[part], all);
    }
    cJSON *unmatched = cJSON_AddArrayToObject(coverage, "unmatched");
    for (uint32_t i = 0; i < r->unmatched_count; i++)
        cJSON_AddItemToArray(unmatched, cJSON_CreateString(r->unmatched[i]));
}

/* The layers that the file is compared with, and how many of its modules fit. */
struct candidate {
    sd_lora_targets *targets;
    sd_lora_match *match; /* NULL: it does not fit */
    sd_error reason;
};

static uint32_t matched(const struct candidate *c) {
    return c->match ? sd_lora_match_report(c->match)->matched : 0;
}

static void clear(struct candidate *c) {
    sd_lora_match_destroy(&c->match);
    sd_lora_targets_destroy(&c->targets);
}

static sd_status compare(struct candidate *c, const sd_lora *lora, sd_error *err) {
    sd_status status = sd_lora_match_create(&c->match, lora, c->targets, false, &c->reason);
    return status == SD_E_MEMORY ? sd_fail(err, status, "%s", c->reason.message) : SD_OK;
}

static sd_status cover_model(cJSON *json, const sd_lora *lora, const sd_info_options *options,
                             sd_error *err) {
    struct candidate c = {0};
    sd_checkpoint *model = NULL;
    char *path = NULL;
    sd_status status = sd_library_resolve(options->models, SD_LIBRARY_CHECKPOINT, options->model, &path, err);
    if (!status && !(status = sd_checkpoint_open(&model, path, NULL, err)) &&
        !(status = sd_layers_of_model(&c.targets, model, err)))
        status = compare(&c, lora, err);
    if (!status && c.match)
        add_coverage(json, sd_lora_match_report(c.match), c.targets, model->name);
    else if (!status)
        cJSON_AddStringToObject(json, "problem", c.reason.message);
    if (!status)
        cJSON_AddStringToObject(json, "family", sd_lora_about(lora)->family);
    clear(&c);
    sd_checkpoint_close(&model);
    free(path);
    return status;
}

enum { families = 4 };

/* Those families that fit best, "SD 1 or SD 2", or what the file is foreign to. */
static bool add_family(cJSON *json, const struct candidate all[families], uint32_t most, const char *told) {
    sd_str names = {0};
    for (size_t i = 0; i < families; i++)
        if (most && matched(&all[i]) == most)
            sd_str_printf(&names, "%s%s", names.size ? " or " : "", sd_layers_family(i));
    cJSON *added = cJSON_AddStringToObject(json, "family", names.size ? names.text : told);
    sd_str_clear(&names);
    return added;
}

/* Names and the shapes of attention layers tell most files' family. Others are compared with all families;
 * those that fit the most modules are theirs. */
static sd_status cover_family(cJSON *json, const sd_lora *lora, sd_error *err) {
    struct candidate all[families] = {{NULL, NULL, {0}}};
    const char *told = sd_lora_about(lora)->family;
    bool known = false;
    size_t best = 0;
    sd_status status = SD_OK;
    for (size_t i = 0; i < families; i++)
        if (!strcmp(told, sd_layers_family(i))) {
            known = true;
            best = i;
        }
    for (size_t i = 0; i < families && !status; i++) {
        if (known && i != best)
            continue;
        if (!(status = sd_layers_of_family(&all[i].targets, i, err)))
            status = compare(&all[i], lora, err);
        if (matched(&all[i]) > matched(&all[best]))
            best = i;
    }
    if (!status && !add_family(json, all, matched(&all[best]), told))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status && all[best].match)
        add_coverage(json, sd_lora_match_report(all[best].match), all[best].targets, sd_layers_family(best));
    else if (!status)
        cJSON_AddStringToObject(json, "problem", all[best].reason.message);
    for (size_t i = 0; i < families; i++)
        clear(&all[i]);
    return status;
}

sd_status sd_info_lora(cJSON *json, const char *path, const sd_info_options *options, sd_hash_cache *hashes,
                       sd_error *err) {
    sd_lora *lora;
    sd_status status = sd_lora_open(&lora, path, err);
    if (status)
        return status;
    const sd_tensor_file *file = sd_lora_tensors(lora);
    const struct sd_lora_report *about = sd_lora_about(lora);
    cJSON_AddStringToObject(json, "kind", "LoRA");
    cJSON_AddStringToObject(json, "algorithms", about->kinds);
    if (about->rank_max) {
        cJSON_AddNumberToObject(json, "rank_min", about->rank_min);
        cJSON_AddNumberToObject(json, "rank_max", about->rank_max);
    }
    cJSON_AddNumberToObject(json, "modules", about->modules);
    status = options->model ? cover_model(json, lora, options, err) : cover_family(json, lora, err);
    if (!status) {
        add_base(json, file, about->base);
        add_text(json, "trigger_words", about->trigger);
        add_text(json, "license", about->license);
        status = add_tags(json, sd_tensor_file_metadata(file, "ss_tag_frequency"), err);
    }
    if (!status) {
        sd_info_types(json, &file, 1);
        sd_info_metadata(json, file);
        status = sd_info_hashes(json, sd_lora_file(lora), hashes, err);
    }
    if (!status)
        status = add_data_hashes(json, lora, hashes, err);
    sd_lora_close(&lora);
    return status;
}
