/* Where the parts lie in files, told by tensors that only they have. */
#include "sd/checkpoint_internal.h"
#include "sd/checkpoint_metadata.h"

#include <string.h>

/* Of a whole model's file, and of files with one part; `alone` is not looked for in a whole model. */
static const struct place {
    sd_part part;
    bool alone;
    sd_spelling spelling;
    const char *prefix, *probe; /* the probe without the prefix */
} places[] = {
    {SD_PART_UNET, false, SD_SPELLING_LDM, "model.diffusion_model.", "input_blocks.0.0.weight"},
    {SD_PART_UNET, false, SD_SPELLING_LDM, "", "input_blocks.0.0.weight"}, /* ComfyUI-GGUF */
    {SD_PART_UNET, false, SD_SPELLING_DIFFUSERS, "", "up_blocks.0.resnets.0.time_emb_proj.weight"},
    {SD_PART_VAE, false, SD_SPELLING_LDM, "first_stage_model.", "decoder.conv_in.weight"},
    {SD_PART_VAE, true, SD_SPELLING_LDM, "", "decoder.mid.block_1.norm1.weight"},
    {SD_PART_VAE, true, SD_SPELLING_LDM, "vae.", "decoder.mid.block_1.norm1.weight"},
    {SD_PART_VAE, true, SD_SPELLING_DIFFUSERS, "", "decoder.mid_block.resnets.0.norm1.weight"},
    {SD_PART_TEXT, false, SD_SPELLING_DIFFUSERS, "cond_stage_model.transformer.text_model.",
     "embeddings.token_embedding.weight"},
    {SD_PART_TEXT, false, SD_SPELLING_DIFFUSERS, "cond_stage_model.transformer.",
     "embeddings.token_embedding.weight"},
    {SD_PART_TEXT, false, SD_SPELLING_OPENCLIP, "cond_stage_model.model.", "token_embedding.weight"},
    {SD_PART_TEXT, false, SD_SPELLING_DIFFUSERS, "conditioner.embedders.0.transformer.text_model.",
     "embeddings.token_embedding.weight"},
    /* stable-diffusion.cpp's SDXL */
    {SD_PART_TEXT_2, false, SD_SPELLING_DIFFUSERS, "cond_stage_model.1.transformer.text_model.",
     "embeddings.token_embedding.weight"},
    {SD_PART_TEXT_2, false, SD_SPELLING_OPENCLIP, "conditioner.embedders.1.model.", "token_embedding.weight"},
    {SD_PART_TEXT_2, false, SD_SPELLING_OPENCLIP, "conditioner.embedders.0.model.", "token_embedding.weight"},
    {SD_PART_TEXT, true, SD_SPELLING_DIFFUSERS, "", "text_model.embeddings.token_embedding.weight"},
    {SD_PART_TEXT, true, SD_SPELLING_DIFFUSERS, "", "embeddings.token_embedding.weight"},
    {SD_PART_TEXT, true, SD_SPELLING_DIFFUSERS, "transformer.text_model.",
     "embeddings.token_embedding.weight"},
    {SD_PART_TEXT, true, SD_SPELLING_OPENCLIP, "model.", "token_embedding.weight"},
    {SD_PART_TEXT, true, SD_SPELLING_OPENCLIP, "", "token_embedding.weight"},
    {SD_PART_TAESD, true, SD_SPELLING_DIFFUSERS, "", "decoder.layers.2.conv.0.weight"},
    {SD_PART_TAESD, true, SD_SPELLING_TAESD, "taesd_", "decoder.3.conv.0.weight"},
    {SD_PART_TAESD, true, SD_SPELLING_TAESD, "", "3.conv.0.weight"},
};

enum { place_count = sizeof places / sizeof *places };

static bool is_text(sd_part part) {
    return part == SD_PART_TEXT || part == SD_PART_TEXT_2;
}

static bool is_there(const struct place *place, const sd_tensor_file *file) {
    char name[160];
    size_t n = strlen(place->prefix);
    memcpy(name, place->prefix, n);
    memcpy(name + n, place->probe, strlen(place->probe) + 1);
    return sd_tensor_file_find(file, name) != NULL;
}

static void set(sd_checkpoint *c, const struct place *place, sd_tensor_file *file, const char *path,
                struct sd_checkpoint_part *out) {
    *out = (struct sd_checkpoint_part){.checkpoint = c,
                                       .part = place->part,
                                       .spelling = place->spelling,
                                       .prefix = place->prefix,
                                       .file = file,
                                       .config = out->config,
                                       .config_path = out->config_path};
    out->label = sd_arena_strdup(&c->arena, path);
    out->source = (struct sd_weight_source){.label = out->label ? out->label : "model",
                                            .user = out,
                                            .find = sd_checkpoint_find,
                                            .advise = sd_checkpoint_advise};
    if (!out->config) /* config.json goes first */
        sd_checkpoint_read_config(c, out);
}

void sd_checkpoint_place_model(sd_checkpoint *c, sd_tensor_file *file, const char *path) {
    for (size_t i = 0; i < place_count; i++)
        if (!places[i].alone && !c->part[places[i].part].file && is_there(&places[i], file))
            set(c, &places[i], file, path, &c->part[places[i].part]);
}

bool sd_checkpoint_place_part(sd_checkpoint *c, sd_part part, sd_tensor_file *file, const char *path,
                              struct sd_checkpoint_part *out) {
    for (size_t i = 0; i < place_count; i++) {
        bool wanted = places[i].part == part || (is_text(part) && is_text(places[i].part));
        if (wanted && is_there(&places[i], file)) {
            set(c, &places[i], file, path, out);
            return true;
        }
    }
    return false;
}
