/* Tensors by their canonical names. */
#include "sd/checkpoint_internal.h"

#include "clip/text_model.h"
#include "sd/base/quant.h"
#include "unet/names.h"
#include "vae/taesd.h"

#include <stdio.h>
#include <string.h>

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
    if (part->part == SD_PART_UNET || part->part == SD_PART_TAESD)
        return false;
    snprintf(other, sizeof other, "text_model.%s", name); /* transformers before 5 */
    if (find_named(part, other, out))
        return true;
    /* stable-diffusion.cpp renames OpenCLIP's tensors, but leaves the projection [in,out]. */
    return !strcmp(name, "text_projection.weight") && find_named(part, "text_projection", out) &&
           transpose(part->checkpoint, out);
}

/* Authors' files: a half's own, or both halves with these prefixes. */
static bool find_taesd(struct sd_checkpoint_part *part, const char *name, struct sd_raw *out) {
    char theirs[96];
    return sd_taesd_old_name(name, *part->prefix != 0, theirs, sizeof theirs) &&
           find_named(part, theirs, out);
}

bool sd_checkpoint_find(void *user, const char *name, struct sd_raw *out) {
    struct sd_checkpoint_part *part = user;
    switch (part->spelling) {
    case SD_SPELLING_DIFFUSERS:
        return find_diffusers(part, name, out);
    case SD_SPELLING_LDM:
        return find_ldm(part, name, out);
    case SD_SPELLING_OPENCLIP:
        return find_openclip(part, name, out);
    case SD_SPELLING_TAESD:
        return find_taesd(part, name, out);
    default:
        return false;
    }
}
