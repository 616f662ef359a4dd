#include "sd/convert_names.h"

#include "clip/text_model.h"
#include "unet/names.h"

#include <stdio.h>
#include <string.h>

/* How the names of a part are spelled in the single file. */
struct spelled {
    sd_spelling spelling;
    const char *prefix;
};

/* OpenCLIP's encoder is known by its activation, as in sd_text_detect. */
static bool is_openclip(const sd_checkpoint *c) {
    const struct sd_checkpoint_part *p = &c->part[SD_PART_TEXT];
    struct sd_text_config config;
    return p->config && !sd_text_config_parse(&config, p->config, strlen(p->config), "", NULL) &&
           config.act == SD_ACT_GELU;
}

static struct spelled spelling_of(const sd_checkpoint *c, sd_part part) {
    bool two = c->part[SD_PART_TEXT_2].file != NULL;
    if (!c->folder)
        return (struct spelled){c->part[part].spelling, c->part[part].prefix};
    switch (part) {
    case SD_PART_UNET:
        return (struct spelled){SD_SPELLING_LDM, SD_UNET_LDM_PREFIX};
    case SD_PART_VAE:
        return (struct spelled){SD_SPELLING_LDM, "first_stage_model."};
    case SD_PART_TEXT:
        if (two)
            return (struct spelled){SD_SPELLING_DIFFUSERS, "conditioner.embedders.0.transformer.text_model."};
        if (is_openclip(c))
            return (struct spelled){SD_SPELLING_OPENCLIP, "cond_stage_model.model."};
        return (struct spelled){SD_SPELLING_DIFFUSERS, "cond_stage_model.transformer.text_model."};
    default: /* the refiner's is its only one */
        return (struct spelled){SD_SPELLING_OPENCLIP, c->part[SD_PART_TEXT].file
                                                          ? "conditioner.embedders.1.model."
                                                          : "conditioner.embedders.0.model."};
    }
}

bool sd_single_name(const sd_checkpoint *c, sd_part part, const char *canonical, struct sd_single_name *out) {
    const struct spelled s = spelling_of(c, part);
    struct sd_text_openclip_name open = {.part = -1};
    char inner[192];
    bool known = true;
    if (s.spelling == SD_SPELLING_LDM)
        known = part == SD_PART_UNET ? sd_unet_ldm_name(&c->unet, canonical, inner, sizeof inner)
                                     : sd_vae_ldm_name(&c->vae, canonical, inner, sizeof inner);
    else if (s.spelling == SD_SPELLING_OPENCLIP) {
        known = sd_text_openclip_name(canonical, &open);
        memcpy(inner, open.name, sizeof open.name);
    } else
        known = (size_t)snprintf(inner, sizeof inner, "%s", canonical) < sizeof inner;
    if (!known || s.spelling == SD_SPELLING_NONE)
        return false;
    out->third = open.part;
    out->turned = open.transposed;
    return (size_t)snprintf(out->text, sizeof out->text, "%s%s", s.prefix, inner) < sizeof out->text;
}

bool sd_folder_canonical_name(sd_part part, const char *name, char *out, size_t size) {
    static const char *const old[][2] = {
        {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
    if (part == SD_PART_VAE && strstr(name, "mid_block.attentions."))
        for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
            const char *at = strstr(name, old[i][0]);
            if (at)
                return (size_t)snprintf(out, size, "%.*s%s%s", (int)(at - name), name, old[i][1],
                                        at + strlen(old[i][0])) < size;
        }
    bool wrapped = part >= SD_PART_TEXT && !strncmp(name, "text_model.", 11); /* transformers before 5 */
    return (size_t)snprintf(out, size, "%s", name + (wrapped ? 11 : 0)) < size;
}

sd_status sd_convert_read_configs(sd_checkpoint *c, sd_error *err) {
    const struct sd_checkpoint_part *unet = &c->part[SD_PART_UNET], *vae = &c->part[SD_PART_VAE],
                                    *text = &c->part[SD_PART_TEXT];
    struct sd_text_config config;
    sd_status status =
        sd_unet_config_parse(&c->unet, unet->config, strlen(unet->config), unet->config_path, err);
    if (!status && vae->file)
        status = sd_vae_config_parse(&c->vae, vae->config, strlen(vae->config), vae->config_path, err);
    if (!status && text->file)
        status = sd_text_config_parse(&config, text->config, strlen(text->config), text->config_path, err);
    return status;
}
