/* Parts that come in files of their own. */
#include "sd/checkpoint_internal.h"

#include <sys/stat.h>

/* Channels of the embedding table; 0 where there is none. */
static uint64_t text_width(const struct sd_checkpoint_part *p) {
    struct sd_raw raw;
    bool found = p->file && p->source.find(p->source.user, "embeddings.token_embedding.weight", &raw);
    return found && raw.rank == 2 ? raw.shape[1] : 0;
}

/* OpenCLIP bigG is SDXL's second encoder, and the refiner's only one. */
enum { bigg_width = 1280 };

/* An encoder belongs where one of the same width was, else where one of its width usually is. */
static sd_part text_slot(const sd_checkpoint *c, uint64_t width) {
    for (sd_part slot = SD_PART_TEXT; slot <= SD_PART_TEXT_2; slot++)
        if (!c->part[slot].replaced && text_width(&c->part[slot]) == width)
            return slot;
    return width >= bigg_width ? SD_PART_TEXT_2 : SD_PART_TEXT;
}

/* Moves a part to its place; its source refers to the place. */
static sd_status settle(sd_checkpoint *c, const struct sd_checkpoint_part *found, sd_part slot,
                        sd_error *err) {
    struct sd_checkpoint_part *p = &c->part[slot];
    if (p->replaced)
        return sd_fail(err, SD_E_ARGUMENT,
                       "%s: expected text encoders of two kinds, found two for the same place, the other in "
                       "%s",
                       found->label, p->label);
    *p = *found;
    p->part = slot;
    p->replaced = true;
    p->source.user = p;
    return SD_OK;
}

static sd_status replace(sd_checkpoint *c, sd_part part, const char *path, sd_error *err) {
    struct sd_checkpoint_part found = {0};
    sd_tensor_file *file;
    struct stat st;
    sd_status status;
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        status = sd_checkpoint_part_folder(c, part, path, &found, err);
    else if (!(status = sd_checkpoint_file(c, path, &file, err)) &&
             !sd_checkpoint_place_part(c, part, file, path, &found))
        status = sd_checkpoint_not_the_part(c, part, file, path, err);
    if (status)
        return status;
    found.source.user = &found;
    return settle(c, &found, part == SD_PART_TEXT ? text_slot(c, text_width(&found)) : part, err);
}

sd_status sd_checkpoint_replace(sd_checkpoint *c, const struct sd_separate_parts *separate, sd_error *err) {
    sd_status status = SD_OK;
    if (separate->unet)
        status = replace(c, SD_PART_UNET, separate->unet, err);
    if (!status && separate->vae)
        status = replace(c, SD_PART_VAE, separate->vae, err);
    if (!status && separate->taesd)
        status = replace(c, SD_PART_TAESD, separate->taesd, err);
    for (uint32_t i = 0; i < separate->text_count && !status; i++)
        status = replace(c, SD_PART_TEXT, separate->text[i], err);
    return status;
}
