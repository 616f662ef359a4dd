/* What a model's networks look like: from its config.json files, else from the shapes of its weights. */
#include "sd/checkpoint.h"

#include <string.h>

sd_status sd_checkpoint_read_unet(sd_checkpoint *c, sd_error *err) {
    const struct sd_checkpoint_part *p = &c->part[SD_PART_UNET];
    return p->config ? sd_unet_config_parse(&c->unet, p->config, strlen(p->config), p->config_path, err)
                     : sd_unet_detect(&c->unet, &p->source, err);
}

sd_status sd_checkpoint_read_text(const sd_checkpoint *c, int which, struct sd_text_config *out,
                                  sd_error *err) {
    const struct sd_checkpoint_part *p = &c->part[which ? SD_PART_TEXT_2 : SD_PART_TEXT];
    return p->config ? sd_text_config_parse(out, p->config, strlen(p->config), p->config_path, err)
                     : sd_text_detect(out, &p->source, err);
}
