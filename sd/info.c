/* What `sdvk info` says of a file, without a device. */
#include "clip/inversion.h"
#include "sd/checkpoint.h"
#include "sd/sd.h"

#include "sd/io/image.h"
#include "sd/io/infotext.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool looks_like_picture(const char *path) {
    unsigned char magic[4] = {0};
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(magic, 1, sizeof magic, file) : 0;
    if (file)
        fclose(file);
    return n == 4 && (!memcmp(magic, "\x89PNG", 4) || !memcmp(magic, "\xFF\xD8\xFF", 3));
}

static void add_infotext(cJSON *json, const char *text) {
    sd_infotext info = {0};
    cJSON *parsed = cJSON_AddObjectToObject(json, "parsed_parameters");
    if (sd_infotext_parse(text, &info, NULL))
        return;
    cJSON_AddStringToObject(parsed, "prompt", info.prompt);
    cJSON_AddStringToObject(parsed, "negative_prompt", info.negative);
    for (size_t i = 0; i < info.count; i++)
        cJSON_AddStringToObject(parsed, info.fields[i].key, info.fields[i].value);
    sd_infotext_clear(&info);
}

static sd_status describe_picture(cJSON *json, const char *path, sd_error *err) {
    sd_image image = {0};
    sd_image_texts texts = {0};
    sd_status status = sd_image_read(path, 0, &image, &texts, err);
    if (status)
        return status;
    cJSON_AddStringToObject(json, "kind", "picture");
    cJSON_AddNumberToObject(json, "width", image.width);
    cJSON_AddNumberToObject(json, "height", image.height);
    cJSON *all = cJSON_AddObjectToObject(json, "texts");
    for (size_t i = 0; i < texts.count; i++) {
        cJSON *record = strcmp(texts.items[i].key, "sdvk") ? NULL : cJSON_Parse(texts.items[i].text);
        if (record)
            cJSON_AddItemToObject(json, "sdvk", record);
        else
            cJSON_AddStringToObject(all, texts.items[i].key, texts.items[i].text);
    }
    const char *parameters = sd_image_texts_find(&texts, SD_TEXT_PARAMETERS);
    if (parameters)
        add_infotext(json, parameters);
    sd_image_texts_clear(&texts);
    sd_image_clear(&image);
    return SD_OK;
}

static void add_metadata(cJSON *json, const sd_tensor_file *file) {
    cJSON *metadata = cJSON_AddObjectToObject(json, "metadata");
    for (size_t i = 0; i < sd_tensor_file_metadata_count(file); i++) {
        const sd_file_metadata *m = sd_tensor_file_metadata_at(file, i);
        cJSON_AddStringToObject(metadata, m->key, m->value);
    }
}

/* Tensors by element type: {"F16": {"tensors": 686, "bytes": 1719123}}. */
static void add_types(cJSON *json, sd_tensor_file *const *files, size_t count) {
    cJSON *types = cJSON_AddObjectToObject(json, "types");
    double tensors[SD_FILE_DTYPES] = {0}, bytes[SD_FILE_DTYPES] = {0};
    for (size_t f = 0; f < count; f++)
        for (size_t i = 0; i < sd_tensor_file_count(files[f]); i++) {
            const sd_file_tensor *t = sd_tensor_file_at(files[f], i);
            tensors[t->dtype]++;
            bytes[t->dtype] += (double)t->bytes;
        }
    for (int i = 0; i < SD_FILE_DTYPES; i++)
        if (tensors[i] > 0) {
            cJSON *row = cJSON_AddObjectToObject(types, sd_file_dtype_name((sd_file_dtype)i));
            cJSON_AddNumberToObject(row, "tensors", tensors[i]);
            cJSON_AddNumberToObject(row, "bytes", bytes[i]);
        }
}

static sd_status add_hashes(cJSON *json, const char *path, sd_error *err) {
    char hex[SD_SHA256_HEX], short_hash[SD_SHORT_HASH];
    sd_status status = sd_file_sha256(path, 0, hex, err);
    if (status)
        return status;
    sd_short_hash(hex, short_hash);
    cJSON_AddStringToObject(json, "sha256", hex);
    cJSON_AddStringToObject(json, "short_hash", short_hash);
    return SD_OK;
}

static void describe_networks(cJSON *json, sd_checkpoint *c) {
    const struct sd_checkpoint_part *unet = &c->part[SD_PART_UNET];
    cJSON *parts = cJSON_AddArrayToObject(json, "parts");
    for (int i = 0; i < SD_PARTS; i++)
        if (c->part[i].file)
            cJSON_AddItemToArray(parts, cJSON_CreateString(sd_part_name((sd_part)i)));
    sd_status status = unet->config ? sd_unet_config_parse(&c->unet, unet->config, strlen(unet->config),
                                                           unet->config_path, NULL)
                                    : sd_unet_detect(&c->unet, &unet->source, NULL);
    if (status)
        return;
    const char *family = c->unet.add_dim           ? (c->part[SD_PART_TEXT].file ? "SDXL" : "SDXL refiner")
                         : c->unet.context == 1024 ? "SD 2"
                                                   : "SD 1";
    cJSON_AddStringToObject(json, "family", family);
    if (c->unet.name)
        cJSON_AddStringToObject(json, "unet", c->unet.name);
    cJSON_AddNumberToObject(json, "input_channels", c->unet.in_channels);
}

static sd_status describe_model(cJSON *json, const char *path, sd_error *err) {
    sd_checkpoint *c = NULL;
    sd_status status = sd_checkpoint_open(&c, path, NULL, err);
    if (status)
        return status;
    cJSON_AddStringToObject(json, "kind", "model");
    cJSON_AddStringToObject(json, "form", c->folder ? "diffusers folder" : "single file");
    describe_networks(json, c);
    add_types(json, c->files, c->file_count);
    add_metadata(json, c->part[SD_PART_UNET].file);
    status = add_hashes(json, c->part[SD_PART_UNET].label, err);
    sd_checkpoint_close(&c);
    return status;
}

static bool is_lora(const sd_tensor_file *file, size_t *modules) {
    *modules = 0;
    for (size_t i = 0; i < sd_tensor_file_count(file); i++) {
        const char *name = sd_tensor_file_at(file, i)->name;
        *modules +=
            strstr(name, "lora_down.weight") || strstr(name, "lora_A") || strstr(name, "lora.down.weight");
    }
    return *modules > 0;
}

static bool is_embedding(const char *path, cJSON *json) {
    sd_inversion x;
    if (sd_inversion_open(&x, path, NULL))
        return false;
    cJSON *widths = cJSON_CreateArray();
    cJSON_AddStringToObject(json, "kind", "embedding");
    cJSON_AddNumberToObject(json, "vectors", x.vectors);
    for (uint32_t i = 0; i < x.encoders; i++)
        cJSON_AddItemToArray(widths, cJSON_CreateNumber(x.width[i]));
    cJSON_AddItemToObject(json, "widths", widths);
    sd_inversion_clear(&x);
    return true;
}

/* LoRAs and embeddings cannot be opened as models, but they can be described. */
static sd_status describe_addition(cJSON *json, const char *path, bool *found, sd_error *err) {
    sd_tensor_file *file = NULL;
    size_t modules;
    sd_status status = sd_tensor_file_open(path, &file, err);
    bool lora = !status && is_lora(file, &modules);
    *found = lora || (!status && is_embedding(path, json));
    if (lora) {
        cJSON_AddStringToObject(json, "kind", "LoRA");
        cJSON_AddNumberToObject(json, "modules", (double)modules);
    }
    if (*found) {
        add_types(json, &file, 1);
        add_metadata(json, file);
        status = add_hashes(json, path, err);
    }
    sd_tensor_file_close(&file);
    return status;
}

sd_status sd_file_info(const char *path, char **out, sd_error *err) {
    struct stat st;
    *out = NULL;
    if (stat(path, &st))
        return sd_fail(err, errno == ENOENT || errno == ENOTDIR ? SD_E_NOT_FOUND : SD_E_IO, "%s: %s", path,
                       strerror(errno));
    cJSON *json = cJSON_CreateObject();
    if (!cJSON_AddStringToObject(json, "path", path)) {
        cJSON_Delete(json);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    bool addition = false;
    sd_status status = SD_OK;
    if (S_ISREG(st.st_mode) && looks_like_picture(path))
        status = describe_picture(json, path, err);
    else {
        if (S_ISREG(st.st_mode))
            status = describe_addition(json, path, &addition, err);
        if (!status && !addition)
            status = describe_model(json, path, err);
    }
    if (!status && !(*out = cJSON_Print(json)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    cJSON_Delete(json);
    return status;
}
