#include "sd/checkpoint.h"

#include "clip/text_model.h"
#include "sd/base/quant.h"
#include "unet/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool find_named(struct sd_checkpoint_part *part, const char *name, struct sd_raw *out) {
    char full[256];
    int n = snprintf(full, sizeof full, "%s%s", part->prefix, name);
    const sd_file_tensor *t = n > 0 && (size_t)n < sizeof full ? sd_tensor_file_find(part->file, full) : NULL;
    *out = (struct sd_raw){0};
    if (!t || sd_file_dtype_base(t->dtype) == SD_DTYPES)
        return false;
    out->dtype = sd_file_dtype_base(t->dtype);
    out->rank = t->rank;
    memcpy(out->shape, t->shape, sizeof out->shape);
    out->data = t->data;
    out->bytes = t->bytes;
    return true;
}

/* Makes the raw tensor a copy as f32, for what has to be turned, which quantised blocks cannot. */
static bool expand(sd_checkpoint *c, struct sd_raw *raw) {
    sd_dtype_block block = sd_dtype_block_of(raw->dtype);
    uint64_t values = raw->bytes / block.bytes * block.values;
    float *copy = sd_arena_array(&c->arena, values, sizeof *copy);
    if (!copy)
        return false;
    sd_dequantise(raw->dtype, raw->data, 0, values, copy);
    raw->dtype = SD_F32;
    raw->data = copy;
    raw->bytes = values * sizeof *copy;
    return true;
}

/* OpenCLIP stacks query, key and value as row blocks of one tensor. The third of whole quantised blocks is
 * whole blocks too, because their sizes are powers of two. */
static bool take_third(struct sd_raw *raw, int part) {
    if (!raw->rank || raw->shape[0] % 3)
        return false;
    raw->shape[0] /= 3;
    raw->bytes /= 3;
    raw->data = (const char *)raw->data + (uint64_t)part * raw->bytes;
    return true;
}

/* OpenCLIP keeps its projection as [in,out]; the copy lives as long as the checkpoint. */
static bool transpose(sd_checkpoint *c, struct sd_raw *raw) {
    if (raw->rank != 2 || (sd_dtype_quantised(raw->dtype) && !expand(c, raw)))
        return false;
    uint32_t size = sd_dtype_size(raw->dtype);
    uint64_t rows = raw->shape[0], columns = raw->shape[1];
    char *copy = sd_arena_alloc(&c->arena, raw->bytes);
    if (!copy)
        return false;
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < columns; j++)
            memcpy(copy + (j * rows + i) * size, (const char *)raw->data + (i * columns + j) * size, size);
    raw->data = copy;
    raw->shape[0] = columns;
    raw->shape[1] = rows;
    return true;
}

static bool find_openclip(struct sd_checkpoint_part *part, const char *name, struct sd_raw *out) {
    struct sd_text_openclip_name theirs;
    if (!sd_text_openclip_name(name, &theirs) || !find_named(part, theirs.name, out))
        return false;
    if (theirs.part >= 0)
        return take_third(out, theirs.part);
    return !theirs.transposed || transpose(part->checkpoint, out);
}

static bool find_ldm(struct sd_checkpoint_part *part, const char *name, struct sd_raw *out) {
    sd_checkpoint *c = part->checkpoint;
    char theirs[192];
    bool known = part->part == SD_PART_UNET ? sd_unet_ldm_name(&c->unet, name, theirs, sizeof theirs)
                                            : sd_vae_ldm_name(&c->vae, name, theirs, sizeof theirs);
    return known && find_named(part, theirs, out);
}

static bool find_diffusers(struct sd_checkpoint_part *part, const char *name, struct sd_raw *out) {
    char other[192];
    if (find_named(part, name, out))
        return true;
    if (part->part == SD_PART_VAE)
        return sd_vae_old_name(name, other, sizeof other) && find_named(part, other, out);
    if (part->part == SD_PART_UNET)
        return false;
    snprintf(other, sizeof other, "text_model.%s", name); /* transformers before 5 */
    if (find_named(part, other, out))
        return true;
    /* stable-diffusion.cpp renames OpenCLIP's tensors, but leaves the projection [in,out]. */
    return !strcmp(name, "text_projection.weight") && find_named(part, "text_projection", out) &&
           transpose(part->checkpoint, out);
}

static bool find(void *user, const char *name, struct sd_raw *out) {
    struct sd_checkpoint_part *part = user;
    switch (part->spelling) {
    case SD_SPELLING_DIFFUSERS:
        return find_diffusers(part, name, out);
    case SD_SPELLING_LDM:
        return find_ldm(part, name, out);
    case SD_SPELLING_OPENCLIP:
        return find_openclip(part, name, out);
    default:
        return false;
    }
}

static void set_part(sd_checkpoint *c, sd_part part, sd_tensor_file *file, sd_spelling spelling,
                     const char *prefix, const char *label) {
    struct sd_checkpoint_part *p = &c->part[part];
    *p = (struct sd_checkpoint_part){.checkpoint = c,
                                     .part = part,
                                     .spelling = spelling,
                                     .prefix = prefix,
                                     .file = file,
                                     .config = p->config,
                                     .config_path = p->config_path};
    p->label = sd_arena_strdup(&c->arena, label);
    p->source = (struct sd_weight_source){.label = p->label ? p->label : "model", .user = p, .find = find};
}

static bool has(const sd_tensor_file *file, const char *name) {
    return sd_tensor_file_find(file, name) != NULL;
}

/* Families that are not Stable Diffusion 1, 2 or XL, by a tensor that only they have. */
static const char *foreign_family(const sd_tensor_file *file) {
    static const struct {
        const char *tensor, *family;
    } known[] = {
        {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"},
        {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "Flux"},
        {"double_blocks.0.img_attn.qkv.weight", "Flux"},
        {"transformer_blocks.0.attn.add_q_proj.weight", "Stable Diffusion 3 or Flux (diffusers)"},
        {"model.diffusion_model.effnet_mapper.0.weight", "Stable Cascade"},
        {"clip_txt_mapper.weight", "Stable Cascade"},
        {"model.diffusion_model.text_embedding.0.weight", "Wan"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (has(file, known[i].tensor))
            return known[i].family;
    return NULL;
}

static sd_status not_a_model(const sd_checkpoint *c, const sd_tensor_file *file, sd_error *err) {
    const char *family = foreign_family(file);
    if (family)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: this is a %s model; supported are SD 1, SD 2 and SDXL",
                       c->path, family);
    size_t count = sd_tensor_file_count(file);
    if (!count)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected a Stable Diffusion model, found no tensors",
                       c->path);
    for (size_t i = 0; i < count; i++) {
        const char *name = sd_tensor_file_at(file, i)->name;
        if (strstr(name, "lora_down") || strstr(name, "lora_A") || strstr(name, "lora.down"))
            return sd_fail(err, SD_E_UNSUPPORTED,
                           "%s: this is a LoRA, not a model; it needs a base model beside it", c->path);
    }
    const char *architecture = sd_tensor_file_metadata(file, "general.architecture");
    if (architecture)
        return sd_fail(
            err, SD_E_UNSUPPORTED,
            "%s: not a Stable Diffusion model: its general.architecture is %.60s; supported are SD 1, SD 2 "
            "and SDXL",
            c->path, architecture);
    char more[48] = "";
    if (count > 1)
        snprintf(more, sizeof more, " and %zu more", count - 1);
    return sd_fail(err, SD_E_UNSUPPORTED,
                   "%s: not a Stable Diffusion model: expected tensors named model.diffusion_model..., found "
                   "%.200s%s",
                   c->path, sd_tensor_file_at(file, 0)->name, more);
}

static bool is_file(const char *path) {
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
    FILE *file = is_file(path) ? fopen(path, "rb") : NULL; /* a pipe would block */
    size_t n = file ? fread(first, 1, sizeof first, file) : 0;
    if (file)
        fclose(file);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n >= strlen(known[i].magic) && !memcmp(first, known[i].magic, strlen(known[i].magic)))
            return known[i].what;
    return NULL;
}

static sd_status open_single(sd_checkpoint *c, sd_error *err) {
    static const struct {
        sd_part part;
        const char *probe, *prefix;
        sd_spelling spelling;
    } places[] = {
        {SD_PART_UNET, "model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.",
         SD_SPELLING_LDM},
        {SD_PART_UNET, "input_blocks.0.0.weight", "", SD_SPELLING_LDM}, /* ComfyUI-GGUF: the UNet alone */
        {SD_PART_VAE, "first_stage_model.decoder.conv_in.weight", "first_stage_model.", SD_SPELLING_LDM},
        {SD_PART_TEXT, "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
         "cond_stage_model.transformer.text_model.", SD_SPELLING_DIFFUSERS},
        {SD_PART_TEXT, "cond_stage_model.transformer.embeddings.token_embedding.weight",
         "cond_stage_model.transformer.", SD_SPELLING_DIFFUSERS},
        {SD_PART_TEXT, "cond_stage_model.model.token_embedding.weight", "cond_stage_model.model.",
         SD_SPELLING_OPENCLIP},
        {SD_PART_TEXT, "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
         "conditioner.embedders.0.transformer.text_model.", SD_SPELLING_DIFFUSERS},
        {SD_PART_TEXT_2, "cond_stage_model.1.transformer.text_model.embeddings.token_embedding.weight",
         "cond_stage_model.1.transformer.text_model.",
         SD_SPELLING_DIFFUSERS}, /* stable-diffusion.cpp's SDXL */
        {SD_PART_TEXT_2, "conditioner.embedders.1.model.token_embedding.weight",
         "conditioner.embedders.1.model.", SD_SPELLING_OPENCLIP},
        {SD_PART_TEXT_2, "conditioner.embedders.0.model.token_embedding.weight",
         "conditioner.embedders.0.model.", SD_SPELLING_OPENCLIP},
    };
    sd_status status = sd_tensor_file_open(c->path, &c->files[0], err);
    const char *foreign = status == SD_E_FORMAT ? foreign_format(c->path) : NULL;
    if (foreign)
        return sd_fail(err, SD_E_FORMAT, "%s: expected a safetensors file, found %s", c->path, foreign);
    if (status)
        return status;
    c->file_count = 1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!c->part[places[i].part].file && has(c->files[0], places[i].probe))
            set_part(c, places[i].part, c->files[0], places[i].spelling, places[i].prefix, c->path);
    return c->part[SD_PART_UNET].file ? SD_OK : not_a_model(c, c->files[0], err);
}

static char *joined(sd_checkpoint *c, const char *sub, const char *file) {
    return sd_arena_printf(&c->arena, "%s/%s%s%s", c->path, sub, *sub ? "/" : "", file);
}

/* NULL when the file does not exist; errors other than that are reported. */
static sd_status read_optional(sd_checkpoint *c, const char *sub, const char *file, sd_bytes *out,
                               sd_error *err) {
    char *path = joined(c, sub, file);
    *out = (sd_bytes){0};
    if (!path)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    return is_file(path) ? sd_file_read(path, 0, out, err) : SD_OK;
}

static sd_status read_text(sd_checkpoint *c, const char *sub, const char *file, char **out, sd_error *err) {
    sd_bytes bytes;
    sd_status status = read_optional(c, sub, file, &bytes, err);
    *out = NULL;
    if (!status && bytes.data && !(*out = sd_arena_strdup(&c->arena, (const char *)bytes.data)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_bytes_clear(&bytes);
    return status;
}

/* The full-precision file wins over the fp16 variant; either may be in shards. */
static sd_status open_weights(sd_checkpoint *c, sd_part part, const char *sub, const char *stem,
                              sd_error *err) {
    static const char *const forms[] = {"%s.safetensors", "%s.safetensors.index.json", "%s.fp16.safetensors",
                                        "%s.safetensors.index.fp16.json"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char file[128];
        snprintf(file, sizeof file, forms[i], stem);
        char *path = joined(c, sub, file);
        if (!path)
            return sd_fail(err, SD_E_MEMORY, "out of memory");
        if (!is_file(path))
            continue;
        sd_tensor_file *opened = NULL;
        sd_status status = sd_tensor_file_open(path, &opened, err);
        if (status)
            return status;
        c->files[c->file_count++] = opened;
        set_part(c, part, opened, SD_SPELLING_DIFFUSERS, "", path);
        return SD_OK;
    }
    return sd_fail(err, SD_E_NOT_FOUND,
                   "%s/%s: no weights: expected %s.safetensors (or its .fp16 or sharded form)", c->path, sub,
                   stem);
}

static sd_status open_part(sd_checkpoint *c, sd_part part, const char *sub, const char *stem, bool required,
                           sd_error *err) {
    char *config = joined(c, sub, "config.json");
    if (!config)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!required && !is_file(config))
        return SD_OK;
    c->part[part].config_path = config;
    sd_status status = read_text(c, sub, "config.json", &c->part[part].config, err);
    if (!status && !c->part[part].config)
        status = sd_fail(err, SD_E_NOT_FOUND, "%s: expected the file %s/config.json, which is not there",
                         c->path, sub);
    return status ? status : open_weights(c, part, sub, stem, err);
}

static sd_status open_folder(sd_checkpoint *c, sd_error *err) {
    static const char *const tokenizers[] = {"tokenizer", "tokenizer_2"};
    char *index = joined(c, "", "model_index.json");
    sd_status status;
    if (!index || !is_file(index))
        return sd_fail(err, SD_E_NOT_FOUND, "%s: not a model folder: expected model_index.json in it",
                       c->path);
    if ((status = open_part(c, SD_PART_UNET, "unet", "diffusion_pytorch_model", true, err)) ||
        (status = open_part(c, SD_PART_VAE, "vae", "diffusion_pytorch_model", true, err)) ||
        (status = open_part(c, SD_PART_TEXT, "text_encoder", "model", false, err)) ||
        (status = open_part(c, SD_PART_TEXT_2, "text_encoder_2", "model", false, err)) ||
        (status = read_text(c, "scheduler", "scheduler_config.json", &c->scheduler, err)))
        return status;
    for (int i = 0; i < 2 && !status; i++)
        if (!(status = read_optional(c, tokenizers[i], "vocab.json", &c->vocabulary[i], err)))
            status = read_optional(c, tokenizers[i], "merges.txt", &c->merges[i], err);
    if (!status && !c->part[SD_PART_TEXT].file && !c->part[SD_PART_TEXT_2].file)
        status = sd_fail(err, SD_E_NOT_FOUND,
                         "%s: expected the folder text_encoder or text_encoder_2, found neither", c->path);
    return status;
}

/* The last part of the path without slashes at its end and without a known extension. */
static char *name_of(sd_arena *arena, const char *path) {
    char *copy = sd_arena_strdup(arena, path);
    if (!copy)
        return NULL;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = 0;
    char *slash = strrchr(copy, '/'), *name = slash && slash[1] ? slash + 1 : copy;
    char *dot = strrchr(name, '.');
    if (dot && dot != name &&
        (!strcmp(dot, ".safetensors") || !strcmp(dot, ".sft") || !strcmp(dot, ".gguf") ||
         !strcmp(dot, ".ckpt")))
        *dot = 0;
    return name;
}

sd_status sd_checkpoint_open(sd_checkpoint **out, const char *path, sd_error *err) {
    struct stat st;
    *out = NULL;
    sd_checkpoint *c = calloc(1, sizeof *c);
    if (!c)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    c->vae = sd_vae_sd1;
    c->path = sd_arena_strdup(&c->arena, path);
    c->name = name_of(&c->arena, path);
    sd_status status = SD_OK;
    if (!c->path || !c->name)
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    else if (stat(path, &st))
        status = sd_fail(err, errno == ENOENT || errno == ENOTDIR ? SD_E_NOT_FOUND : SD_E_IO,
                         "%s: cannot open the model: %s", path, strerror(errno));
    else {
        c->folder = S_ISDIR(st.st_mode);
        status = c->folder ? open_folder(c, err) : open_single(c, err);
    }
    if (status)
        sd_checkpoint_close(&c);
    *out = c;
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
    sd_arena_clear(&c->arena);
    free(c);
    *checkpoint = NULL;
}
