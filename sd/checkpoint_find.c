/* Tensors by their canonical names. */
#include "sd/checkpoint_internal.h"

#include "clip/text_model.h"
#include "sd/base/quant.h"
#include "unet/names.h"
#include "vae/taesd.h"

#include <stdio.h>
#include <stdlib.h>
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

/* Fills copy[columns][rows] from data[rows][columns]. */
static void turn(char *copy, const char *data, uint64_t rows, uint64_t columns, uint32_t size) {
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < columns; j++)
            memcpy(copy + (j * rows + i) * size, data + (i * columns + j) * size, size);
}

/* A copy with rows and columns exchanged; of quantised blocks as f32, because they cannot be turned. */
static void *turned_copy(const struct sd_raw *raw, sd_dtype dtype, uint64_t bytes) {
    char *copy = malloc(bytes);
    float *values = dtype == raw->dtype ? NULL : malloc(bytes);
    bool ready = copy && (values || dtype == raw->dtype);
    if (ready && values)
        sd_dequantise(raw->dtype, raw->data, 0, bytes / sizeof *values, values);
    if (ready)
        turn(copy, values ? (const char *)values : raw->data, raw->shape[0], raw->shape[1],
             sd_dtype_size(dtype));
    free(values);
    if (ready)
        return copy;
    free(copy);
    return NULL;
}

/* OpenCLIP keeps its projection as [in,out]. The copy lasts until it was read (advise), or another tensor of
 * the part is transposed. */
static bool transpose(struct sd_checkpoint_part *part, struct sd_raw *raw) {
    struct sd_turned *t = &part->checkpoint->turned[part->part];
    const sd_dtype_block block = sd_dtype_block_of(raw->dtype);
    sd_dtype dtype = sd_dtype_quantised(raw->dtype) ? SD_F32 : raw->dtype;
    uint64_t rows = raw->shape[0], bytes = raw->bytes / block.bytes * block.values * sd_dtype_size(dtype);
    if (raw->rank != 2 || !bytes)
        return false;
    if (t->of != raw->data) {
        free(t->copy);
        t->copy = turned_copy(raw, dtype, bytes);
        t->of = t->copy ? raw->data : NULL;
    }
    raw->dtype = dtype;
    raw->bytes = bytes;
    raw->data = t->copy;
    raw->shape[0] = raw->shape[1];
    raw->shape[1] = rows;
    return t->copy != NULL;
}

void sd_checkpoint_advise(void *user, const struct sd_raw *raw, bool done) {
    const struct sd_checkpoint_part *part = user;
    struct sd_turned *t = &part->checkpoint->turned[part->part];
    if (!t->copy || raw->data != t->copy)
        sd_tensor_file_advise(part->file, raw->data, raw->bytes, done ? SD_FILE_DONE : SD_FILE_SOON);
    else if (done) {
        free(t->copy);
        *t = (struct sd_turned){0};
    }
}

static bool find_openclip(struct sd_checkpoint_part *part, const char *name, struct sd_raw *out) {
    struct sd_text_openclip_name theirs;
    if (!sd_text_openclip_name(name, &theirs) || !find_named(part, theirs.name, out))
        return false;
    if (theirs.part >= 0)
        return take_third(out, theirs.part);
    return !theirs.transposed || transpose(part, out);
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
           transpose(part, out);
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
