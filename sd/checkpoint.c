#include "sd/checkpoint_internal.h"
#include "sd/checkpoint_metadata.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *sd_part_name(sd_part part) {
    static const char *const names[] = {"unet", "vae", "text_encoder", "text_encoder_2", "taesd"};
    return names[part];
}

bool sd_is_file(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* What a file is that is given for a safetensors file by mistake; NULL when its first bytes do not tell. */
static const char *foreign_format(const char *path) {
    static const struct {
        const char *magic, *what;
    } known[] = {{"\x89PNG", "a PNG picture"},
                 {"\xFF\xD8\xFF", "a JPEG picture"},
                 {"version ", "a Git LFS pointer to the real file"},
                 {"<!DOCTYPE", "a web page"},
                 {"<html", "a web page"}};
    char first[32] = {0};
    FILE *file = sd_is_file(path) ? fopen(path, "rb") : NULL; /* a pipe would block */
    size_t n = file ? fread(first, 1, sizeof first, file) : 0;
    if (file)
        fclose(file);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n >= strlen(known[i].magic) && !memcmp(first, known[i].magic, strlen(known[i].magic)))
            return known[i].what;
    return NULL;
}

sd_status sd_checkpoint_file(sd_checkpoint *c, const char *path, sd_tensor_file **out, sd_error *err) {
    sd_status status = sd_tensor_file_open(path, out, err);
    const char *foreign = status == SD_E_FORMAT ? foreign_format(path) : NULL;
    if (foreign)
        return sd_fail(err, SD_E_FORMAT, "%s: expected a safetensors file, found %s", path, foreign);
    if (!status)
        c->files[c->file_count++] = *out;
    return status;
}

static char *joined(sd_checkpoint *c, const char *folder, const char *file) {
    return sd_arena_printf(&c->arena, "%s/%s", folder, file);
}

/* NULL when the file does not exist; errors other than that are reported. */
static sd_status read_optional(sd_checkpoint *c, const char *folder, const char *file, sd_bytes *out,
                               sd_error *err) {
    char *path = joined(c, folder, file);
    *out = (sd_bytes){0};
    if (!path)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    return sd_is_file(path) ? sd_file_read(path, 0, out, err) : SD_OK;
}

static sd_status read_text(sd_checkpoint *c, const char *folder, const char *file, const char **out,
                           sd_error *err) {
    sd_bytes bytes;
    sd_status status = read_optional(c, folder, file, &bytes, err);
    *out = NULL;
    if (!status && bytes.data && !(*out = sd_arena_strdup(&c->arena, (const char *)bytes.data)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_bytes_clear(&bytes);
    return status;
}

/* Names of weights, the preferred one first: full precision before half, safetensors before pickles, and any
 * of them in shards. */
static const char *const network_files[] = {"diffusion_pytorch_model.safetensors",
                                            "diffusion_pytorch_model.safetensors.index.json",
                                            "diffusion_pytorch_model.fp16.safetensors",
                                            "diffusion_pytorch_model.safetensors.index.fp16.json",
                                            "diffusion_pytorch_model.bin",
                                            "diffusion_pytorch_model.fp16.bin",
                                            NULL};
static const char *const text_files[] = {"model.safetensors",
                                         "model.safetensors.index.json",
                                         "model.fp16.safetensors",
                                         "model.safetensors.index.fp16.json",
                                         "pytorch_model.bin",
                                         "pytorch_model.fp16.bin",
                                         NULL};

static sd_status find_weights(sd_checkpoint *c, sd_part part, const char *folder, char **out, sd_error *err) {
    bool text = part == SD_PART_TEXT || part == SD_PART_TEXT_2;
    const char *const *names = text ? text_files : network_files;
    for (; *names; names++) {
        *out = joined(c, folder, *names);
        if (!*out)
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        if (sd_is_file(*out))
            return SD_OK;
    }
    return sd_fail(err, SD_E_NOT_FOUND, "%s: no weights: expected %s (or its .fp16, sharded or .bin form)",
                   folder, text ? *text_files : *network_files);
}

sd_status sd_checkpoint_part_folder(sd_checkpoint *c, sd_part part, const char *folder,
                                    struct sd_checkpoint_part *out, sd_error *err) {
    char *weights, *model = joined(c, folder, "model_index.json");
    sd_tensor_file *file;
    if (model && sd_is_file(model))
        return sd_fail(err, SD_E_ARGUMENT,
                       "%s: expected the folder of one part, found a whole model; try %s/%s", folder, folder,
                       sd_part_name(part));
    out->config_path = joined(c, folder, "config.json");
    if (!model || !out->config_path)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = read_text(c, folder, "config.json", &out->config, err);
    if (!status && !out->config)
        status =
            sd_fail(err, SD_E_NOT_FOUND, "%s: expected the file config.json, which is not there", folder);
    if (status || (status = find_weights(c, part, folder, &weights, err)) ||
        (status = sd_checkpoint_file(c, weights, &file, err)))
        return status;
    if (!sd_checkpoint_place_part(c, part, file, weights, out))
        status = sd_checkpoint_not_the_part(c, part, file, weights, err);
    return status;
}

/* Parts that model_index.json names, as bits: "vae": ["diffusers", "AutoencoderKL"], or [null, null]. */
static sd_status read_index(sd_checkpoint *c, unsigned *listed, sd_error *err) {
    const char *text;
    sd_status status = read_text(c, c->path, "model_index.json", &text, err);
    *listed = 0;
    if (status)
        return status;
    if (!text)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: not a model folder: expected model_index.json in it",
                       c->path);
    cJSON *json = cJSON_Parse(text);
    if (!cJSON_IsObject(json))
        status = sd_fail(err, SD_E_FORMAT, "%s/model_index.json: expected a JSON object", c->path);
    for (int i = 0; i < SD_PARTS; i++)
        if (cJSON_IsString(
                cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, sd_part_name((sd_part)i)), 0)))
            *listed |= 1u << i;
    cJSON_Delete(json);
    return status;
}

/* One part of a model's folder. Those that are not required may be absent. */
static sd_status open_part(sd_checkpoint *c, sd_part part, bool required, sd_error *err) {
    struct stat st;
    char *folder = joined(c, c->path, sd_part_name(part));
    if (!folder)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    bool there = !stat(folder, &st) && S_ISDIR(st.st_mode);
    if (!there && required)
        return sd_fail(err, SD_E_NOT_FOUND, "%s: expected the folder %s, which is not there", c->path,
                       sd_part_name(part));
    sd_status status = there ? sd_checkpoint_part_folder(c, part, folder, &c->part[part], err) : SD_OK;
    c->part[part].part = part;
    return status;
}

static sd_status open_tokenizers(sd_checkpoint *c, sd_error *err) {
    static const char *const names[] = {"tokenizer", "tokenizer_2"};
    for (int i = 0; i < 2; i++) {
        char *folder = joined(c, c->path, names[i]);
        if (!folder)
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        sd_status status = read_optional(c, folder, "vocab.json", &c->vocabulary[i], err);
        if (status || (status = read_optional(c, folder, "merges.txt", &c->merges[i], err)))
            return status;
    }
    return SD_OK;
}

static sd_status open_folder(sd_checkpoint *c, const struct sd_separate_parts *separate, sd_error *err) {
    char *scheduler = joined(c, c->path, "scheduler");
    bool text = !separate->text_count;
    unsigned listed = 0;
    sd_status status = scheduler ? read_index(c, &listed, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (status || (!separate->unet && (status = open_part(c, SD_PART_UNET, true, err))) ||
        (!separate->vae && (status = open_part(c, SD_PART_VAE, !separate->taesd, err))) ||
        (status = open_part(c, SD_PART_TEXT, text && listed >> SD_PART_TEXT & 1, err)) ||
        (status = open_part(c, SD_PART_TEXT_2, text && listed >> SD_PART_TEXT_2 & 1, err)) ||
        (status = read_text(c, scheduler, "scheduler_config.json", &c->scheduler, err)))
        return status;
    if (!(c->scheduler_path = joined(c, scheduler, "scheduler_config.json")))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    return open_tokenizers(c, err);
}

static sd_status open_single(sd_checkpoint *c, const struct sd_separate_parts *separate, sd_error *err) {
    sd_tensor_file *file;
    sd_status status = sd_checkpoint_file(c, c->path, &file, err);
    if (status)
        return status;
    sd_checkpoint_place_model(c, file, c->path);
    if (!c->part[SD_PART_UNET].file && !separate->unet)
        return sd_checkpoint_not_a_model(c, file, err);
    return sd_checkpoint_read_metadata(c, file, err);
}

static sd_status open_parts(sd_checkpoint *c, const struct sd_separate_parts *separate, sd_error *err) {
    struct stat st;
    if (stat(c->path, &st))
        return sd_fail(err, errno == ENOENT || errno == ENOTDIR ? SD_E_NOT_FOUND : SD_E_IO,
                       "%s: cannot open the model: %s", c->path, strerror(errno));
    c->folder = S_ISDIR(st.st_mode);
    sd_status status = c->folder ? open_folder(c, separate, err) : open_single(c, separate, err);
    if (!status)
        status = sd_checkpoint_replace(c, separate, err);
    if (!status && c->folder && !c->part[SD_PART_TEXT].file && !c->part[SD_PART_TEXT_2].file)
        status = sd_fail(err, SD_E_NOT_FOUND,
                         "%s: expected the folder text_encoder or text_encoder_2, found neither", c->path);
    return status;
}

static sd_status create(sd_checkpoint **out, const char *path, sd_error *err) {
    char name[256];
    sd_checkpoint *c = *out = calloc(1, sizeof *c);
    if (!c)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    c->vae = sd_vae_sd1;
    sd_tensor_file_name(path, name, sizeof name);
    c->path = sd_arena_strdup(&c->arena, path);
    c->name = sd_arena_strdup(&c->arena, name);
    return c->path && c->name ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
}

sd_status sd_checkpoint_open(sd_checkpoint **out, const char *path, const struct sd_separate_parts *separate,
                             sd_error *err) {
    static const struct sd_separate_parts none;
    sd_status status = create(out, path, err);
    if (!status)
        status = open_parts(*out, separate ? separate : &none, err);
    if (status)
        sd_checkpoint_close(out);
    return status;
}

sd_status sd_checkpoint_open_taesd(sd_checkpoint **out, const char *path, sd_error *err) {
    sd_status status = create(out, path, err);
    if (!status)
        status = sd_checkpoint_replace(*out, &(struct sd_separate_parts){.taesd = path}, err);
    if (status)
        sd_checkpoint_close(out);
    return status;
}

void sd_checkpoint_close(sd_checkpoint **checkpoint) {
    sd_checkpoint *c = *checkpoint;
    if (!c)
        return;
    for (uint32_t i = 0; i < c->file_count; i++)
        sd_tensor_file_close(&c->files[i]);
    for (int i = 0; i < 2; i++) {
        sd_bytes_clear(&c->vocabulary[i]);
        sd_bytes_clear(&c->merges[i]);
    }
    for (int i = 0; i < SD_PARTS; i++)
        free(c->turned[i].copy);
    sd_arena_clear(&c->arena);
    free(c);
    *checkpoint = NULL;
}
