#include "lora/family.h"

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

/* Width of the text that cross-attention reads: inputs of its keys. */
static uint32_t context_width(const struct sd_lora_module *m) {
    const sd_file_tensor *down = m->tensor[ROLE_DOWN] ? m->tensor[ROLE_DOWN] : m->tensor[ROLE_HADA_W1_B];
    return down && (ends_with(m->name, "attn2_to_k") || ends_with(m->name, "attn2.to_k"))
               ? sd_lora_dim(down, 1)
               : 0;
}

const char *sd_lora_family(const sd_lora *lora) {
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
        for (uint32_t i = 0; i < lora->module_count; i++)
            if (strstr(lora->modules[i].name, marks[k].part))
                return marks[k].family;
    for (uint32_t i = 0; i < lora->module_count; i++)
        switch (context_width(&lora->modules[i])) {
        case 768:
            return "SD 1";
        case 1024:
            return "SD 2";
        case 1280:
            return "SDXL refiner";
        case 2048:
            return "SDXL";
        default:
            break;
        }
    return NULL;
}

bool sd_lora_family_known(const char *family) {
    return !strncmp(family, "SD 1", 4) || !strncmp(family, "SD 2", 4) || !strncmp(family, "SDXL", 4);
}
