/* POST png-info and interrogate. */
#include "server/a1111.h"
#include "server/a1111_routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint8_t *a1111_picture_bytes(const cJSON *body, const char *field, size_t *size, struct a1111_refusal *r) {
    const cJSON *item = json_get(body, field);
    uint8_t *data =
        cJSON_IsString(item) && *item->valuestring ? base64_decode(item->valuestring, size) : NULL;
    if (!data)
        a1111_refuse(r, field, "%s: expected a picture as base64, found %s", field,
                     !item                  ? "none"
                     : cJSON_IsString(item) ? "other characters"
                                            : "another type");
    return data;
}

/* ---- png-info ---- */

/* What A1111 fills in where a text does not say. */
static const char *const fallbacks[][2] = {
    {"Clip skip", "1"},
    {"Hypernet", ""},
    {"Hires resize-1", "0"},
    {"Hires resize-2", "0"},
    {"Hires sampler", "Use same sampler"},
    {"Hires schedule type", "Use same scheduler"},
    {"Hires checkpoint", "Use same checkpoint"},
    {"Hires prompt", ""},
    {"Hires negative prompt", ""},
    {"Mask mode", "Inpaint masked"},
    {"Masked content", "original"},
    {"Inpaint area", "Whole picture"},
    {"Masked area padding", "32"},
    {"RNG", "GPU"},
    {"Schedule type", "Automatic"},
    {"Schedule max sigma", "0"},
    {"Schedule min sigma", "0"},
    {"Schedule rho", "0"},
    {"VAE Encoder", "Full"},
    {"VAE Decoder", "Full"},
    {"FP8 weight", "Disable"},
    {"Cache FP16 weight for LoRA", "False"},
    {"Emphasis", "Original"},
    {"Refiner switch by sampling steps", "False"},
};

static bool is_size(const char *text, unsigned *w, unsigned *h) {
    int end = 0;
    return sscanf(text, "%5ux%5u%n", w, h, &end) == 2 && !text[end];
}

/* "Size": "512x640" is two entries, as A1111's readers want it. */
static void add_parameter(cJSON *out, const cJSON *item) {
    char key[160], number[16];
    unsigned side[2];
    const char *name = !strcmp(item->string, "prompt")            ? "Prompt"
                       : !strcmp(item->string, "negative_prompt") ? "Negative prompt"
                                                                  : item->string;
    if (!is_size(item->valuestring, &side[0], &side[1])) {
        cJSON_AddStringToObject(out, name, item->valuestring);
        return;
    }
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "%.140s-%d", name, i + 1);
        snprintf(number, sizeof number, "%u", side[i]);
        cJSON_AddStringToObject(out, key, number);
    }
}

static cJSON *parameters_of(const cJSON *info) {
    cJSON *out = cJSON_CreateObject();
    const cJSON *item, *parsed = cJSON_GetObjectItemCaseSensitive(info, "parsed_parameters");
    cJSON_ArrayForEach(item, parsed) {
        if (!json_get(out, item->string))
            add_parameter(out, item);
    }
    for (size_t i = 0; parsed && i < sizeof fallbacks / sizeof *fallbacks; i++)
        if (!json_get(out, fallbacks[i][0]))
            cJSON_AddStringToObject(out, fallbacks[i][0], fallbacks[i][1]);
    return out;
}

/* The texts beside the one that is "info". */
static cJSON *items_of(cJSON *info) {
    cJSON *texts = cJSON_DetachItemFromObjectCaseSensitive(info, "texts");
    const cJSON *record = cJSON_GetObjectItemCaseSensitive(info, "sdvk");
    char *text = record ? cJSON_PrintUnformatted(record) : NULL;
    if (text)
        cJSON_AddStringToObject(texts, "sdvk", text);
    cJSON_free(text);
    return texts;
}

static cJSON *read_info(struct server *server, const cJSON *body, struct a1111_refusal *r) {
    size_t size;
    char *text = NULL;
    sd_error err;
    uint8_t *data = a1111_picture_bytes(body, "image", &size, r);
    if (data && sd_picture_info("image", data, size, (uint64_t)server->config.max_pixels * 1000, &text, &err))
        a1111_refuse(r, "image", "%s", err.message);
    free(data);
    cJSON *info = text ? cJSON_Parse(text) : NULL;
    free(text);
    return info;
}

void a1111_png_info(struct server *server, exchange *x, const struct route_parts *parts) {
    struct a1111_refusal r = {0};
    cJSON *body = a1111_body(x, true), *info, *reply;
    (void)parts;
    if (!body)
        return;
    if (!(info = read_info(server, body, &r))) {
        cJSON_Delete(body);
        a1111_reply_refusal(x, &r);
        return;
    }
    cJSON *items = items_of(info);
    cJSON *parameters = cJSON_DetachItemFromObjectCaseSensitive(items, "parameters");
    reply = cJSON_CreateObject();
    cJSON_AddStringToObject(reply, "info", parameters ? parameters->valuestring : "");
    cJSON_AddItemToObject(reply, "items", items);
    cJSON_AddItemToObject(reply, "parameters", parameters_of(info));
    cJSON_Delete(parameters);
    cJSON_Delete(info);
    cJSON_Delete(body);
    reply_json(x, 200, reply);
}

/* ---- interrogate ---- */

/* As A1111 answers for a model that it does not have. */
void a1111_interrogate(struct server *server, exchange *x, const struct route_parts *parts) {
    cJSON *body = a1111_body(x, true);
    (void)server;
    (void)parts;
    if (!body)
        return;
    cJSON_Delete(body);
    reply_error(x, 404, NULL, "Model not found");
}
