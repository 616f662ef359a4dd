#include "sd/layers.h"

#include "clip/text_model.h"
#include "unet/names.h"
#include "unet/unet.h"

#include <stdlib.h>
#include <string.h>

/* What a model is made of; parts that it has not are NULL. */
struct networks {
    const struct sd_unet_config *unet;
    const struct sd_text_config *text[2];
    const struct sd_weight_source *source[SD_LORA_PARTS];
};

static const struct {
    const char *family, *unet;
    const struct sd_text_config *text[2];
} families[] = {
    {"SD 1", "sd1", {&sd_text_clip_l, NULL}},
    {"SD 2", "sd2", {&sd_text_openclip_h, NULL}},
    {"SDXL", "sdxl", {&sd_text_clip_l, &sd_text_openclip_bigg}},
    {"SDXL refiner", "sdxl-refiner", {NULL, &sd_text_openclip_bigg}},
};

static bool ldm_name(const void *user, const char *canonical, char *buffer, size_t size) {
    return sd_unet_ldm_name(user, canonical, buffer, size);
}

sd_status sd_layers_add(sd_lora_targets *targets, sd_lora_part part, const sd_weights *weights,
                        const struct sd_weight_source *source, const struct sd_unet_config *unet,
                        sd_error *err) {
    return sd_lora_targets_add(targets, part, weights, source, part == SD_LORA_UNET ? ldm_name : NULL, unet,
                               err);
}

static sd_status add_network(sd_lora_targets *targets, sd_lora_part part, const struct networks *n,
                             sd_error *err) {
    sd_weights *weights = NULL;
    struct sd_unet *unet = NULL;
    struct sd_text_model text;
    sd_status status = sd_weights_create(&weights, err);
    if (!status && part == SD_LORA_UNET)
        status = sd_unet_bind(&unet, n->unet, false, weights, err);
    else if (!status)
        sd_text_bind(&text, weights, n->text[part == SD_LORA_TEXT ? 0 : 1]);
    if (!status)
        status = sd_layers_add(targets, part, weights, n->source[part], n->unet, err);
    sd_unet_destroy(&unet);
    sd_weights_destroy(NULL, &weights);
    return status;
}

static sd_status name_layers(sd_lora_targets **out, const struct networks *n, sd_error *err) {
    sd_status status = sd_lora_targets_create(out, err);
    for (int part = 0; part < SD_LORA_PARTS && !status; part++)
        if (part == SD_LORA_UNET || n->text[part == SD_LORA_TEXT ? 0 : 1])
            status = add_network(*out, (sd_lora_part)part, n, err);
    if (!status)
        status = sd_lora_targets_finish(*out, err);
    if (status)
        sd_lora_targets_destroy(out);
    return status;
}

sd_status sd_layers_of_model(sd_lora_targets **out, sd_checkpoint *c, sd_error *err) {
    struct sd_text_config text[2];
    struct networks n = {.unet = &c->unet, .source = {&c->part[SD_PART_UNET].source}};
    *out = NULL;
    sd_status status = sd_checkpoint_read_unet(c, err);
    for (int i = 0; i < 2 && !status; i++) {
        const struct sd_checkpoint_part *p = &c->part[i ? SD_PART_TEXT_2 : SD_PART_TEXT];
        if (!p->file)
            continue;
        n.source[i ? SD_LORA_TEXT_2 : SD_LORA_TEXT] = &p->source;
        n.text[i] = &text[i];
        status = sd_checkpoint_read_text(c, i, &text[i], err);
    }
    return status ? status : name_layers(out, &n, err);
}

const char *sd_layers_family(size_t index) {
    return index < sizeof families / sizeof *families ? families[index].family : NULL;
}

static bool find_nothing(void *user, const char *name, struct sd_raw *out) {
    (void)user;
    (void)name;
    (void)out;
    return false;
}

sd_status sd_layers_of_family(sd_lora_targets **out, size_t index, sd_error *err) {
    const struct sd_weight_source none = {.label = families[index].family, .find = find_nothing};
    const struct networks n = {.unet = sd_unet_config_find(families[index].unet),
                               .text = {families[index].text[0], families[index].text[1]},
                               .source = {&none, &none, &none}};
    *out = NULL;
    return name_layers(out, &n, err);
}
