/* What `sdvk info` says of a file, without a device. */
#include "sd/info.h"

#include "clip/inversion.h"
#include "lora/lora.h"
#include "sd/checkpoint.h"
#include "sd/context.h"

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

/* Both are taken over. */
static void describe_image(cJSON *json, sd_image *image, sd_image_texts *texts) {
    cJSON_AddStringToObject(json, "kind", "picture");
    cJSON_AddNumberToObject(json, "width", image->width);
    cJSON_AddNumberToObject(json, "height", image->height);
    cJSON *all = cJSON_AddObjectToObject(json, "texts");
    for (size_t i = 0; i < texts->count; i++) {
        const sd_image_text *t = &texts->items[i];
        cJSON *record = strcmp(t->key, "sdvk") ? NULL : cJSON_Parse(t->text);
        if (record)
            cJSON_AddItemToObject(json, "sdvk", record);
        else
            cJSON_AddStringToObject(all, t->key, t->text);
    }
    const char *parameters = sd_image_texts_find(texts, SD_TEXT_PARAMETERS);
    if (parameters)
        add_infotext(json, parameters);
    sd_image_texts_clear(texts);
    sd_image_clear(image);
}

static sd_status describe_picture(cJSON *json, const char *path, sd_error *err) {
    sd_image image = {0};
    sd_image_texts texts = {0};
    sd_status status = sd_image_read(path, 0, &image, &texts, err);
    if (!status)
        describe_image(json, &image, &texts);
    return status;
}

void sd_info_metadata(cJSON *json, const sd_tensor_file *file) {
    cJSON *metadata = cJSON_AddObjectToObject(json, "metadata");
    for (size_t i = 0; i < sd_tensor_file_metadata_count(file); i++) {
        const sd_file_metadata *m = sd_tensor_file_metadata_at(file, i);
        cJSON_AddStringToObject(metadata, m->key, m->value);
    }
}

/* Tensors by element type: {"F16": {"tensors": 686, "bytes": 1719123}}. */
void sd_info_types(cJSON *json, const sd_tensor_file *const *files, size_t count) {
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

sd_status sd_info_hashes(cJSON *json, const char *path, sd_hash_cache *hashes, sd_error *err) {
    char hex[SD_SHA256_HEX], short_hash[SD_SHORT_HASH];
    sd_status status = sd_hash_cache_get(hashes, path, SD_HASH_FILE, hex, err);
    if (status)
        return status;
    sd_short_hash(hex, short_hash);
    cJSON_AddStringToObject(json, "sha256", hex);
    cJSON_AddStringToObject(json, "short_hash", short_hash);
    return SD_OK;
}

static void describe_networks(cJSON *json, sd_checkpoint *c) {
    cJSON *parts = cJSON_AddArrayToObject(json, "parts");
    for (int i = 0; i < SD_PARTS; i++)
        if (c->part[i].file)
            cJSON_AddItemToArray(parts, cJSON_CreateString(sd_part_name((sd_part)i)));
    if (sd_checkpoint_read_unet(c, NULL))
        return;
    const char *family = c->unet.add_dim           ? (c->part[SD_PART_TEXT].file ? "SDXL" : "SDXL refiner")
                         : c->unet.context == 1024 ? "SD 2"
                                                   : "SD 1";
    cJSON_AddStringToObject(json, "family", family);
    if (c->unet.name)
        cJSON_AddStringToObject(json, "unet", c->unet.name);
    cJSON_AddNumberToObject(json, "input_channels", c->unet.in_channels);
}

static sd_status describe_model(cJSON *json, const char *path, sd_hash_cache *hashes, sd_error *err) {
    sd_checkpoint *c = NULL;
    sd_status status = sd_checkpoint_open(&c, path, NULL, err);
    if (status)
        return status;
    cJSON_AddStringToObject(json, "kind", "model");
    cJSON_AddStringToObject(json, "form", c->folder ? "diffusers folder" : "single file");
    describe_networks(json, c);
    sd_info_types(json, (const sd_tensor_file *const *)c->files, c->file_count);
    sd_info_metadata(json, c->part[SD_PART_UNET].file);
    status = sd_info_hashes(json, c->part[SD_PART_UNET].label, hashes, err);
    sd_checkpoint_close(&c);
    return status;
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

/* A file with tensors, or a folder. */
static sd_status describe_tensors(cJSON *json, const char *path, bool folder, const sd_info_options *options,
                                  sd_hash_cache *hashes, sd_error *err) {
    sd_tensor_file *file = NULL;
    if (folder)
        return sd_lora_is_folder(path) ? sd_info_lora(json, path, options, hashes, err)
                                       : describe_model(json, path, hashes, err);
    sd_status status = sd_tensor_file_open(path, &file, err);
    if (status)
        return status;
    if (sd_lora_is_file(file))
        status = sd_info_lora(json, path, options, hashes, err);
    else if (!is_embedding(path, json))
        status = describe_model(json, path, hashes, err);
    else {
        const sd_tensor_file *const files[] = {file};
        sd_info_types(json, files, 1);
        sd_info_metadata(json, file);
        status = sd_info_hashes(json, path, hashes, err);
    }
    sd_tensor_file_close(&file);
    return status;
}

static sd_status open_hashes(sd_hash_cache **out, const sd_info_options *options, sd_error *err) {
    char cache[4096];
    const char *folder = options->cache_dir;
    if (!folder)
        folder = sd_default_cache_dir(cache, sizeof cache) ? cache : NULL;
    return sd_hash_cache_create(out, folder, &options->log, err);
}

/* The object as text, unless something failed; it is taken over. */
static sd_status finish(cJSON *json, sd_status status, char **out, sd_error *err) {
    *out = NULL;
    if (!status && (!json || !(*out = cJSON_Print(json))))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    cJSON_Delete(json);
    return status;
}

sd_status sd_file_info(const char *path, const sd_info_options *options, char **out, sd_error *err) {
    static const sd_info_options defaults;
    struct stat st;
    sd_hash_cache *hashes = NULL;
    *out = NULL;
    options = options ? options : &defaults;
    if (stat(path, &st))
        return sd_fail(err, errno == ENOENT || errno == ENOTDIR ? SD_E_NOT_FOUND : SD_E_IO, "%s: %s", path,
                       strerror(errno));
    sd_status status = open_hashes(&hashes, options, err);
    if (status)
        return status;
    cJSON *json = cJSON_CreateObject();
    if (!cJSON_AddStringToObject(json, "path", path))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    else if (S_ISREG(st.st_mode) && looks_like_picture(path))
        status = describe_picture(json, path, err);
    else
        status = describe_tensors(json, path, S_ISDIR(st.st_mode), options, hashes, err);
    sd_hash_cache_destroy(&hashes);
    return finish(json, status, out, err);
}

sd_status sd_picture_info(const char *label, const void *data, size_t size, uint64_t max_pixels, char **out,
                          sd_error *err) {
    sd_image image = {0};
    sd_image_texts texts = {0};
    cJSON *json = cJSON_CreateObject();
    sd_status status = sd_image_decode(label, data, size, max_pixels, &image, &texts, err);
    if (!status)
        describe_image(json, &image, &texts);
    return finish(json, status, out, err);
}

sd_status sd_file_metadata_texts(const char *path, char **out, sd_error *err) {
    sd_tensor_file *file = NULL;
    cJSON *json = cJSON_CreateObject();
    sd_status status = sd_tensor_file_open(path, &file, err);
    if (!status)
        sd_info_metadata(json, file);
    sd_tensor_file_close(&file);
    cJSON *texts = cJSON_DetachItemFromObjectCaseSensitive(json, "metadata");
    cJSON_Delete(json);
    return finish(texts, status, out, err);
}
