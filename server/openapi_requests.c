/* Schemas of requests, from the tables that the requests are read with. */
#include "server/openapi.h"

#include "server/openai_request.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- kinds of values; null is the same as absent ---- */

static cJSON *typed(const char *type, const char *help) {
    const char *types[] = {type, "null"};
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "type", cJSON_CreateStringArray(types, 2));
    if (help)
        cJSON_AddStringToObject(json, "description", help);
    return json;
}

static cJSON *ranged(const char *type, double low, double high, const char *help) {
    cJSON *json = typed(type, help);
    if (!strcmp(type, "integer")) {
        json_add_integer(json, "minimum", (int64_t)low);
        json_add_integer(json, "maximum", (int64_t)high);
    } else {
        cJSON_AddNumberToObject(json, "minimum", low);
        cJSON_AddNumberToObject(json, "maximum", high);
    }
    return json;
}

static cJSON *reference(const char *name) {
    char path[64];
    cJSON *json = cJSON_CreateObject();
    snprintf(path, sizeof path, "#/components/schemas/%s", name);
    cJSON_AddStringToObject(json, "$ref", path);
    return json;
}

static void add_name(cJSON *names, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach(item, names) if (!strcmp(item->valuestring, name)) return;
    cJSON_AddItemToArray(names, cJSON_CreateString(name));
}

/* One of `names`, which is taken over. */
static cJSON *choice(cJSON *names, const char *help) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToArray(names, cJSON_CreateNull());
    cJSON_AddItemToObject(json, "enum", names);
    cJSON_AddStringToObject(json, "description", help);
    return json;
}

/* ---- options ---- */

/* Its names, and those that samplers and schedules have elsewhere. */
static cJSON *option_names(const sd_option *o) {
    bool (*at)(size_t, sd_names *) = !strcmp(o->name, "sampler")    ? sd_sampler_at
                                     : !strcmp(o->name, "schedule") ? sd_schedule_at
                                                                    : NULL;
    cJSON *names = cJSON_CreateArray();
    sd_names n;
    for (size_t i = 0; o->choice(i); i++)
        add_name(names, o->choice(i));
    for (size_t i = 0; at && at(i, &n); i++) {
        add_name(names, n.label);
        for (size_t k = 0; n.aliases && n.aliases[k]; k++)
            add_name(names, n.aliases[k]);
    }
    return names;
}

/* The option's range within the server's limits. */
static double highest(const sd_option *o, const struct config *c) {
    const struct {
        const char *name;
        double most;
    } limits[] = {
        {"width", c->max_side}, {"height", c->max_side}, {"steps", c->max_steps}, {"count", c->max_count}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (!strcmp(o->name, limits[i].name))
            return fmin(o->high, limits[i].most);
    return o->high;
}

static cJSON *option_schema(const sd_option *o, const struct config *c) {
    cJSON *json = o->kind == SD_OPTION_CHOICE ? choice(option_names(o), o->help)
                  : o->kind == SD_OPTION_TEXT ? typed("string", o->help)
                                              : ranged(o->kind == SD_OPTION_NUMBER ? "number" : "integer",
                                                       o->low, highest(o, c), o->help);
    if (!strcmp(o->name, "width") || !strcmp(o->name, "height"))
        cJSON_AddNumberToObject(json, "multipleOf", 8);
    return json;
}

/* ---- a native job ---- */

struct names {
    cJSON *lists[SD_LIBRARY_KINDS]; /* of the files that may be named */
};

static void append(void *user, const sd_library_file *file) {
    add_name(user, file->name);
}

static sd_status find_names(struct names *n, const catalog *c, sd_error *err) {
    static const sd_library_kind kinds[] = {SD_LIBRARY_CHECKPOINT, SD_LIBRARY_VAE, SD_LIBRARY_LORA};
    sd_status status = SD_OK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !status; i++) {
        n->lists[kinds[i]] = cJSON_CreateArray();
        status = catalog_each(c, kinds[i], append, n->lists[kinds[i]], err);
    }
    return status;
}

static cJSON *named(const struct names *n, sd_library_kind kind, const char *help) {
    return choice(cJSON_Duplicate(n->lists[kind], true), help);
}

static cJSON *loras_schema(const struct names *n, const char *help) {
    cJSON *json = typed("array", help);
    cJSON_AddItemToObject(json, "items", reference("Lora"));
    bool any = cJSON_GetArraySize(n->lists[SD_LIBRARY_LORA]) > 0;
    cJSON_AddNumberToObject(json, "maxItems", any ? JOB_LORAS : 0);
    return json;
}

static cJSON *field_schema(const struct job_field *f, const struct names *n) {
    switch (f->kind) {
    case JOB_FIELD_MODEL:
        return named(n, SD_LIBRARY_CHECKPOINT, f->help);
    case JOB_FIELD_VAE:
        return named(n, SD_LIBRARY_VAE, f->help);
    case JOB_FIELD_LORAS:
        return loras_schema(n, f->help);
    case JOB_FIELD_FORMAT:
        return choice(cJSON_CreateStringArray((const char *const[]){"png", "jpeg"}, 2), f->help);
    case JOB_FIELD_COUNT:
        return ranged("integer", f->low, f->high, f->help);
    default: {
        cJSON *json = typed("string", f->help);
        cJSON_AddStringToObject(json, "contentEncoding", "base64");
        return json;
    }
    }
}

static cJSON *object_schema(const char *const *required, int count, bool open) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", "object");
    cJSON_AddItemToObject(json, "required", cJSON_CreateStringArray(required, count));
    cJSON_AddBoolToObject(json, "additionalProperties", open);
    return json;
}

static void require_text(cJSON *properties, const char *name, const char *help) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", "string");
    cJSON_AddStringToObject(json, "description", help);
    cJSON_ReplaceItemInObjectCaseSensitive(properties, name, json);
}

static cJSON *job_schema(const struct config *c, const struct names *n) {
    static const char *const required[] = {"prompt"};
    cJSON *json = object_schema(required, 1, false),
          *properties = cJSON_AddObjectToObject(json, "properties");
    const struct job_field *f;
    for (size_t i = 0; i < sd_option_count(); i++)
        cJSON_AddItemToObject(properties, sd_option_at(i)->name, option_schema(sd_option_at(i), c));
    for (size_t i = 0; (f = job_field_at(i)); i++)
        cJSON_AddItemToObject(properties, f->name, field_schema(f, n));
    require_text(properties, "prompt", sd_option_find("prompt")->help);
    /* Without a host that may be called, only its absence is valid. */
    cJSON_AddItemToObject(properties, "webhook",
                          c->webhook_hosts[0] ? reference("Webhook")
                                              : choice(cJSON_CreateArray(), "not allowed here"));
    return json;
}

/* ---- OpenAI's calls ---- */

static cJSON *strings(const char *const *words) {
    cJSON *list = cJSON_CreateArray();
    for (; *words; words++)
        cJSON_AddItemToArray(list, cJSON_CreateString(*words));
    return list;
}

static cJSON *either(cJSON *a, cJSON *b, const char *help) {
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "anyOf");
    cJSON_AddItemToArray(list, a);
    cJSON_AddItemToArray(list, b);
    cJSON_AddStringToObject(json, "description", help);
    return json;
}

static cJSON *model_schema(const struct names *n, const char *help) {
    cJSON *own = named(n, SD_LIBRARY_CHECKPOINT, "of this server"), *theirs = typed("string", "OpenAI's");
    cJSON_AddStringToObject(theirs, "pattern", "^($|dall-e-|gpt-image|chatgpt-image)");
    return either(own, theirs, help);
}

static cJSON *picture_schema(const struct openai_field *f, bool form) {
    cJSON *one = typed("string", form ? f->help : "base64 or data:image/png;base64,...");
    if (form) {
        cJSON_AddStringToObject(one, "format", "binary");
        return one;
    }
    if (f->kind == OPENAI_PICTURE)
        return either(one, reference("PictureUrl"), f->help);
    cJSON *list = typed("array", f->help);
    cJSON_AddItemToObject(list, "items", either(one, reference("PictureUrl"), "a picture"));
    cJSON_AddNumberToObject(list, "minItems", 1);
    cJSON_AddNumberToObject(list, "maxItems", 1);
    return list;
}

static cJSON *openai_schema(const struct openai_field *f, const struct config *c, const struct names *n,
                            bool form) {
    cJSON *json;
    switch (f->kind) {
    case OPENAI_COUNT:
        return ranged("integer", f->low, !strcmp(f->name, "n") ? fmin(f->high, c->max_count) : f->high,
                      f->help);
    case OPENAI_FLAG:
        return typed("boolean", f->help);
    case OPENAI_CHOICE:
        return choice(strings(f->choices), f->help);
    case OPENAI_SIZE:
        json = typed("string", f->help);
        cJSON_AddStringToObject(json, "pattern", "^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$");
        return json;
    case OPENAI_PICTURE:
    case OPENAI_PICTURES:
        return picture_schema(f, form);
    default:
        return !strcmp(f->name, "model") ? model_schema(n, f->help) : typed("string", f->help);
    }
}

/* A form has no null. */
static void drop_null(cJSON *schema) {
    cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type"),
          *names = cJSON_GetObjectItemCaseSensitive(schema, "enum");
    if (cJSON_IsArray(type))
        cJSON_ReplaceItemInObjectCaseSensitive(schema, "type", cJSON_CreateString(type->child->valuestring));
    if (names) /* it stands last */
        cJSON_DeleteItemFromArray(names, cJSON_GetArraySize(names) - 1);
    cJSON *any = cJSON_GetObjectItemCaseSensitive(schema, "anyOf"), *item;
    cJSON_ArrayForEach(item, any) drop_null(item);
}

static cJSON *call_schema(enum openai_call call, const struct config *c, const struct names *n, bool form) {
    const char *required[4];
    int count = 0;
    const struct openai_field *f;
    cJSON *properties = cJSON_CreateObject();
    for (size_t i = 0; (f = openai_field_at(i)); i++) {
        if (!(f->calls & call) || (form && !strcmp(f->name, "images")))
            continue;
        cJSON_AddItemToObject(properties, f->name, openai_schema(f, c, n, form));
        if ((f->needed & call) && f->kind == OPENAI_TEXT)
            require_text(properties, f->name, f->help);
        if ((f->needed & call) || (form && !strcmp(f->name, "image")))
            required[count++] = f->name;
    }
    for (size_t i = 0; i < sd_option_count(); i++)
        if (openai_takes(sd_option_at(i)->name))
            cJSON_AddItemToObject(properties, sd_option_at(i)->name, option_schema(sd_option_at(i), c));
    if (cJSON_GetArraySize(n->lists[SD_LIBRARY_VAE]))
        cJSON_AddItemToObject(properties, "vae", named(n, SD_LIBRARY_VAE, "in place of the model's own"));
    cJSON *property;
    if (form)
        cJSON_ArrayForEach(property, properties) drop_null(property);
    else
        cJSON_AddItemToObject(properties, "loras", loras_schema(n, "LoRAs with their strengths"));
    cJSON *json = object_schema(required, count, true);
    cJSON_AddItemToObject(json, "properties", properties);
    return json;
}

sd_status openapi_add_requests(cJSON *schemas, struct server *server, sd_error *err) {
    const struct config *c = &server->config;
    struct names n = {0};
    sd_status status = find_names(&n, server->catalog, err);
    if (!status) {
        cJSON_AddItemToObject(schemas, "JobRequest", job_schema(c, &n));
        cJSON_AddItemToObject(schemas, "Generation", call_schema(OPENAI_GENERATIONS, c, &n, false));
        cJSON_AddItemToObject(schemas, "Edit", call_schema(OPENAI_EDITS, c, &n, false));
        cJSON_AddItemToObject(schemas, "EditForm", call_schema(OPENAI_EDITS, c, &n, true));
        cJSON_AddItemToObject(schemas, "Variation", call_schema(OPENAI_VARIATIONS, c, &n, false));
        cJSON_AddItemToObject(schemas, "VariationForm", call_schema(OPENAI_VARIATIONS, c, &n, true));
        /* A LoRA's name is one of those that are there. */
        cJSON *lora = cJSON_GetObjectItemCaseSensitive(schemas, "Lora");
        cJSON *name =
            cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(lora, "properties"), "name");
        cJSON_AddItemToObject(name, "enum", cJSON_Duplicate(n.lists[SD_LIBRARY_LORA], true));
    }
    for (size_t i = 0; i < SD_LIBRARY_KINDS; i++)
        cJSON_Delete(n.lists[i]);
    return status;
}
