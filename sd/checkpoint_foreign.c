/* Files that are no Stable Diffusion model, by name. */
#include "sd/checkpoint_internal.h"

#include <stdio.h>
#include <string.h>

/* Families that are not Stable Diffusion 1, 2 or XL, by a tensor that only they have. */
static const char *foreign_family(const sd_tensor_file *file) {
    static const struct {
        const char *tensor, *family;
    } known[] = {
        {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "a Stable Diffusion 3 model"},
        {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "a Flux model"},
        {"double_blocks.0.img_attn.qkv.weight", "a Flux model"},
        {"transformer_blocks.0.attn.add_q_proj.weight", "a Stable Diffusion 3 or Flux (diffusers) model"},
        {"model.diffusion_model.effnet_mapper.0.weight", "a Stable Cascade model"},
        {"clip_txt_mapper.weight", "a Stable Cascade model"},
        {"model.diffusion_model.text_embedding.0.weight", "a Wan model"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sd_tensor_file_find(file, known[i].tensor))
            return known[i].family;
    return NULL;
}

const char *sd_checkpoint_foreign(const sd_tensor_file *file) {
    const char *family = foreign_family(file);
    for (size_t i = 0; i < sd_tensor_file_count(file) && !family; i++) {
        const char *name = sd_tensor_file_at(file, i)->name;
        if (strstr(name, "lora_down") || strstr(name, "lora_A") || strstr(name, "lora.down"))
            return "a LoRA";
    }
    return family;
}

static const char *const shown[] = {[SD_PART_UNET] = "a UNet",
                                    [SD_PART_VAE] = "a VAE",
                                    [SD_PART_TEXT] = "a text encoder",
                                    [SD_PART_TEXT_2] = "a text encoder",
                                    [SD_PART_TAESD] = "a TAESD decoder"};

/* What part of a Stable Diffusion model a file is, or NULL. */
static const char *part_of(sd_checkpoint *c, sd_tensor_file *file) {
    struct sd_checkpoint_part found = {0};
    for (int i = 0; i < SD_PARTS; i++)
        if (sd_checkpoint_place_part(c, (sd_part)i, file, c->path, &found))
            return shown[i];
    return NULL;
}

sd_status sd_checkpoint_not_the_part(sd_checkpoint *c, sd_part part, sd_tensor_file *file, const char *path,
                                     sd_error *err) {
    const char *found = part_of(c, file);
    found = found ? found : sd_checkpoint_foreign(file);
    if (found)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected %s, found %s", path, shown[part], found);
    if (!sd_tensor_file_count(file))
        return sd_fail(err, SD_E_FORMAT, "%s: expected %s, found no tensors", path, shown[part]);
    return sd_fail(err, SD_E_FORMAT, "%s: expected %s, found tensors such as %.200s", path, shown[part],
                   sd_tensor_file_at(file, 0)->name);
}

sd_status sd_checkpoint_not_a_model(sd_checkpoint *c, sd_tensor_file *file, sd_error *err) {
    const char *foreign = sd_checkpoint_foreign(file), *part = part_of(c, file);
    size_t count = sd_tensor_file_count(file);
    if (foreign && !strcmp(foreign, "a LoRA"))
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: this is a LoRA, not a model; it needs a base model beside it", c->path);
    if (foreign)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: this is %s; supported are SD 1, SD 2 and SDXL", c->path,
                       foreign);
    if (part)
        return sd_fail(err, SD_E_UNSUPPORTED,
                       "%s: this is %s alone; expected a model with a UNet, beside which it can be given",
                       c->path, part);
    if (!count)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: expected a Stable Diffusion model, found no tensors",
                       c->path);
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
