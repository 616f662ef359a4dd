#include "server/job_request.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the options table states; some models have fewer. */
enum { usual_steps = 20 };

struct reader {
    struct job_request *out;
    const struct config *config;
    char *field;
    sd_error *err;
    sd_status status;
};

static void refuse(struct reader *r, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct reader *r, const char *field, const char *format, ...) {
    va_list args;
    if (r->status)
        return;
    r->status = SD_E_ARGUMENT;
    r->err->status = SD_E_ARGUMENT;
    va_start(args, format);
    vsnprintf(r->err->message, sizeof r->err->message, format, args);
    va_end(args);
    snprintf(r->field, 64, "%s", field);
}

static const char *expected(const sd_option *o) {
    return o->kind == SD_OPTION_TEXT || o->kind == SD_OPTION_CHOICE ? "a string"
           : o->kind == SD_OPTION_NUMBER                            ? "a number"
                                                                    : "a whole number";
}

/* Goes the way of the command line: the value as text. */
static void read_option(struct reader *r, const sd_option *o, const cJSON *item) {
    char text[64], shown[80];
    const char *value = text;
    bool words = o->kind == SD_OPTION_TEXT || o->kind == SD_OPTION_CHOICE;
    if (words ? !cJSON_IsString(item) : !cJSON_IsNumber(item)) {
        refuse(r, o->name, "%s: expected %s, found %s", o->name, expected(o),
               json_show(item, shown, sizeof shown));
        return;
    }
    if (words)
        value = item->valuestring;
    else
        snprintf(text, sizeof text, "%.17g", item->valuedouble);
    sd_status status = sd_params_set(&r->out->params, o->name, value, r->err);
    if (status) {
        r->status = status;
        snprintf(r->field, 64, "%s", o->name);
    }
}

static bool name_is_clean(const char *name) {
    return *name && *name != '/' && !strstr(name, "..") && !strchr(name, '\\');
}

/* Names only: a request must not reach files elsewhere. */
static void read_name(struct reader *r, const char *field, const cJSON *item, char **out) {
    char shown[80];
    if (!cJSON_IsString(item) || !name_is_clean(item->valuestring))
        refuse(r, field, "%s: expected the name of a file in the model folder, found %s", field,
               json_show(item, shown, sizeof shown));
    else
        *out = item->valuestring;
}

static void read_strength(struct reader *r, const cJSON *lora, const char *field, float otherwise,
                          float *out) {
    const cJSON *item = json_get(lora, field);
    char shown[80];
    *out = otherwise;
    if (item && (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= 100)))
        refuse(r, "loras", "loras: %s: expected a number from -100 to 100, found %s", field,
               json_show(item, shown, sizeof shown));
    else if (item)
        *out = (float)item->valuedouble;
}

static void read_lora(struct reader *r, const cJSON *item) {
    static const char *const known[] = {"name", "unet", "text", "blocks", NULL};
    struct job_request *out = r->out;
    char shown[80], *name = NULL;
    if (out->params.lora_count == JOB_LORAS) {
        refuse(r, "loras", "loras: expected at most %d, found more", JOB_LORAS);
        return;
    }
    if (!cJSON_IsObject(item)) {
        refuse(r, "loras", "loras: expected objects such as {\"name\": \"acme\", \"unet\": 0.8}, found %s",
               json_show(item, shown, sizeof shown));
        return;
    }
    for (const cJSON *m = item->child; m; m = m->next) {
        bool fits = false;
        for (int i = 0; known[i]; i++)
            fits = fits || !strcmp(m->string, known[i]);
        if (!fits)
            refuse(r, "loras", "loras: unknown field '%.40s'; there are name, unet, text, blocks", m->string);
    }
    sd_lora_use *use = &out->loras[out->params.lora_count++];
    read_name(r, "loras", cJSON_GetObjectItemCaseSensitive(item, "name"), &name);
    use->path = name;
    read_strength(r, item, "unet", 1, &use->unet);
    read_strength(r, item, "text", use->unet, &use->text);
    const cJSON *blocks = json_get(item, "blocks");
    if (blocks && !cJSON_IsString(blocks))
        refuse(r, "loras", "loras: blocks: expected a string such as \"1,0,0.5,...\", found %s",
               json_show(blocks, shown, sizeof shown));
    use->blocks = cJSON_IsString(blocks) ? blocks->valuestring : NULL;
    out->params.loras = out->loras;
}

static void read_loras(struct reader *r, const cJSON *list) {
    char shown[80];
    if (!cJSON_IsArray(list))
        refuse(r, "loras", "loras: expected an array, found %s", json_show(list, shown, sizeof shown));
    /* An empty list switches off what the model was opened with. */
    r->out->params.loras = r->out->loras;
    for (const cJSON *item = list->child; item && !r->status; item = item->next)
        read_lora(r, item);
}

static void read_format(struct reader *r, const cJSON *item) {
    char shown[80];
    if (!cJSON_IsString(item) || (strcmp(item->valuestring, "png") && strcmp(item->valuestring, "jpeg")))
        refuse(r, "format", "format: expected \"png\" or \"jpeg\", found %s",
               json_show(item, shown, sizeof shown));
    else
        r->out->encoding.jpeg = !strcmp(item->valuestring, "jpeg");
}

static void read_count(struct reader *r, const char *field, const cJSON *item, uint32_t low, uint32_t high,
                       uint32_t *out) {
    char shown[80];
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(value >= low && value <= high) || value != floor(value))
        refuse(r, field, "%s: expected a whole number from %u to %u, found %s", field, low, high,
               json_show(item, shown, sizeof shown));
    else
        *out = (uint32_t)value;
}

static void expect_text(struct reader *r, const char *field, const cJSON *item) {
    char shown[80];
    if (!cJSON_IsString(item))
        refuse(r, field, "%s: expected a picture as base64, found %s", field,
               json_show(item, shown, sizeof shown));
}

static const struct job_field fields[] = {
    {"model", JOB_FIELD_MODEL, 0, 0, "a checkpoint of the model folder; default: the server's"},
    {"vae", JOB_FIELD_VAE, 0, 0, "a VAE of the model folder; default: the model's own"},
    {"loras", JOB_FIELD_LORAS, 0, 0, "LoRAs of the model folder with their strengths"},
    {"init_image", JOB_FIELD_PICTURE, 0, 0, "the picture to start from, PNG or JPEG as base64"},
    {"mask", JOB_FIELD_PICTURE, 0, 0, "white where init_image is made anew, PNG or JPEG as base64"},
    {"format", JOB_FIELD_FORMAT, 0, 0, "of the pictures; default: png"},
    {"quality", JOB_FIELD_COUNT, 1, 100, "of JPEG; default: 90"},
    {"preview_every", JOB_FIELD_COUNT, 0, 1000, "steps between previews; default: none"},
};

const struct job_field *job_field_at(size_t index) {
    return index < sizeof fields / sizeof *fields ? &fields[index] : NULL;
}

static void read_own(struct reader *r, const struct job_field *f, const cJSON *item) {
    struct job_request *out = r->out;
    switch (f->kind) {
    case JOB_FIELD_MODEL:
        read_name(r, f->name, item, &out->model);
        break;
    case JOB_FIELD_VAE:
        read_name(r, f->name, item, &out->vae);
        break;
    case JOB_FIELD_LORAS:
        read_loras(r, item);
        break;
    case JOB_FIELD_PICTURE:
        expect_text(r, f->name, item);
        break;
    case JOB_FIELD_FORMAT:
        read_format(r, item);
        break;
    case JOB_FIELD_COUNT:
        read_count(r, f->name, item, f->low, f->high,
                   !strcmp(f->name, "quality") ? &out->encoding.quality : &out->params.preview_every);
    }
}

static void read_field(struct reader *r, const cJSON *item) {
    const char *name = item->string;
    const sd_option *option = sd_option_find(name);
    const struct job_field *own;
    if (cJSON_IsNull(item))
        return;
    if (option) {
        read_option(r, option, item);
        return;
    }
    for (size_t i = 0; (own = job_field_at(i)); i++)
        if (!strcmp(own->name, name)) {
            read_own(r, own, item);
            return;
        }
    refuse(r, name, "unknown field '%.60s'", name);
}

static void check_limit(struct reader *r, const char *field, double found, double most) {
    if (found > most)
        refuse(r, field, "%s: this server allows at most %.0f, found %.0f", field, most, found);
}

static void check_limits(struct reader *r) {
    const sd_params *p = &r->out->params;
    const struct config *c = r->config;
    check_limit(r, "width", p->width, c->max_side);
    check_limit(r, "height", p->height, c->max_side);
    double pixels = (double)p->width * p->height, most = (double)c->max_pixels * 1000;
    if (pixels > most)
        refuse(r, "width", "width x height: this server allows at most %.0f pixels, found %.0f", most,
               pixels);
    check_limit(r, "steps", p->steps, c->max_steps);
    check_limit(r, "count", p->count, c->max_count);
}

sd_status job_request_read(struct job_request *out, const struct config *config, cJSON *json, char *field,
                           sd_error *err) {
    struct reader r = {out, config, field, err, SD_OK};
    char shown[80];
    *out = (struct job_request){.params.seed = -1, .params.lenient = config->lenient, .json = json};
    *field = 0;
    if (!cJSON_IsObject(json))
        refuse(&r, "", "expected a JSON object, found %s",
               json ? json_show(json, shown, sizeof shown) : "none");
    for (const cJSON *item = json ? json->child : NULL; item && !r.status; item = item->next)
        read_field(&r, item);
    if (!r.status && !json_get(json, "prompt"))
        refuse(&r, "prompt", "prompt: expected a string, found none");
    check_limits(&r);
    /* The usual number of steps, where the server allows it. */
    if (!out->params.steps && config->max_steps < usual_steps)
        out->params.steps = config->max_steps;
    if (r.status)
        job_request_clear(out);
    return r.status;
}

static sd_status load_picture(const struct job_request *r, const struct config *config, const char *field,
                              sd_picture *out, sd_error *err) {
    const char *text = json_text(r->json, field, NULL);
    size_t size;
    if (!text)
        return SD_OK;
    uint8_t *data = base64_decode(text, &size);
    if (!data)
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a picture as base64, found other characters", field);
    sd_status status = sd_picture_decode(out, field, data, size, (uint64_t)config->max_pixels * 1000, err);
    free(data);
    return status;
}

sd_status job_request_load(struct job_request *r, const struct config *config, sd_error *err) {
    sd_status status = load_picture(r, config, "init_image", &r->init, err);
    if (!status)
        status = load_picture(r, config, "mask", &r->mask, err);
    /* Where no size is asked for, the picture's own is used. */
    bool sized = r->params.width || r->params.height;
    if (!status && !sized && (r->init.width > config->max_side || r->init.height > config->max_side))
        status = sd_fail(err, SD_E_ARGUMENT,
                         "init_image: this server allows sides of at most %u pixels, found %u x %u",
                         config->max_side, r->init.width, r->init.height);
    r->params.init_image = r->init.pixels ? &r->init : NULL;
    r->params.mask = r->mask.pixels ? &r->mask : NULL;
    return status;
}

void job_request_keep_seed(struct job_request *r) {
    while (cJSON_GetObjectItemCaseSensitive(r->json, "seed"))
        cJSON_DeleteItemFromObjectCaseSensitive(r->json, "seed");
    json_add_integer(r->json, "seed", r->params.seed);
}

uint32_t job_request_steps(const struct job_request *r) {
    return r->params.steps ? r->params.steps : usual_steps;
}

/* Parameters point into the request itself. */
void job_request_move(struct job_request *out, struct job_request *from) {
    *out = *from;
    out->params.loras = from->params.loras ? out->loras : NULL;
    out->params.init_image = from->params.init_image ? &out->init : NULL;
    out->params.mask = from->params.mask ? &out->mask : NULL;
    *from = (struct job_request){0};
}

void job_request_clear(struct job_request *r) {
    sd_picture_free(&r->init);
    sd_picture_free(&r->mask);
    cJSON_Delete(r->json);
    *r = (struct job_request){0};
}
