#include "lora/family.h"
#include "lora/targets.h"

#include <string.h>

/* Parts of names that only one family has. */
static const struct {
    const char *part, *family;
} marks[] = {
    {"double_blocks", "Flux"},
    {"single_blocks", "Flux"},
    {"single_transformer_blocks", "Flux"},
    {"joint_blocks", "SD 3"},
    {"add_k_proj", "SD 3"},
    {"context_refiner", "Lumina 2 or Z-Image"},
    {"img_mod", "Qwen-Image"},
    {"cross_attn_k_img", "Wan"},
    {"blocks_0_cross_attn", "Wan"},
    {"blocks.0.cross_attn", "Wan"},
    {"caption_projection", "PixArt"},
    {"down_0_attentions", "Stable Cascade"},
    {"lora_te3", "SD 3 or Flux"},
    {"text_encoder_3", "SD 3 or Flux"},
    {"lora_te2_", "SDXL"},
    {"text_encoder_2.", "SDXL"},
    {"clip_g.", "SDXL"},
};

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), n = strlen(ending);
    return length >= n && !strcmp(text + length - n, ending);
}

static const char *family_of_width(uint32_t context) {
    switch (context) {
    case 768:
        return "SD 1";
    case 1024:
        return "SD 2";
    case 1280:
        return "SDXL refiner";
    case 2048:
        return "SDXL";
    default:
        return NULL;
    }
}

/* Width of the text that cross-attention reads: inputs of its keys. */
static uint32_t context_width(const struct sd_lora_module *m) {
    const sd_file_tensor *down = m->tensor[ROLE_DOWN] ? m->tensor[ROLE_DOWN] : m->tensor[ROLE_HADA_W1_B];
    return down && (ends_with(m->name, "attn2_to_k") || ends_with(m->name, "attn2.to_k"))
               ? sd_lora_dim(down, 1)
               : 0;
}

/* What trainers write, by how it begins; asked only where names and shapes are those of several families. */
static const char *written_family(const sd_tensor_file *file) {
    static const char *const keys[] = {"ss_base_model_version", "modelspec.architecture"};
    static const struct {
        const char *start, *family;
    } known[] = {
        {"sd_v1", "SD 1"},
        {"stable-diffusion-v1", "SD 1"},
        {"sd_v2", "SD 2"},
        {"stable-diffusion-v2", "SD 2"},
        {"sdxl_", "SDXL"},
        {"stable-diffusion-xl-v1-refiner", "SDXL refiner"},
        {"stable-diffusion-xl", "SDXL"},
        {"sd3", "SD 3"},
        {"stable-diffusion-3", "SD 3"},
        {"flux", "Flux"},
    };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const char *value = sd_tensor_file_metadata(file, keys[k]);
        for (size_t i = 0; value && i < sizeof known / sizeof *known; i++)
            if (!strncmp(value, known[i].start, strlen(known[i].start)))
                return known[i].family;
    }
    return NULL;
}

const char *sd_lora_family(const sd_lora *lora) {
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
        for (uint32_t i = 0; i < lora->module_count; i++)
            if (strstr(lora->modules[i].name, marks[k].part))
                return marks[k].family;
    for (uint32_t i = 0; i < lora->module_count; i++) {
        const char *family = family_of_width(context_width(&lora->modules[i]));
        if (family)
            return family;
    }
    return written_family(lora->file);
}

const char *sd_lora_model_family(const sd_lora_targets *targets) {
    return family_of_width(sd_lora_targets_context(targets));
}

bool sd_lora_family_known(const char *family) {
    return !strncmp(family, "SD 1", 4) || !strncmp(family, "SD 2", 4) || !strncmp(family, "SDXL", 4);
}
