/* The layers that adapters change, named without a device. Internal to the sd room. */
#ifndef SD_LAYERS_H
#define SD_LAYERS_H

#include "lora/lora.h"
#include "sd/checkpoint.h"

/* Adds those of a network. `unet` gives the numbering of LDM's names, for the UNet alone. */
sd_status sd_layers_add(sd_lora_targets *targets, sd_lora_part part, const sd_weights *weights,
                        const struct sd_weight_source *source, const struct sd_unet_config *unet,
                        sd_error *err);

/* All of a model, as its configurations or the shapes of its weights tell. */
sd_status sd_layers_of_model(sd_lora_targets **out, sd_checkpoint *checkpoint, sd_error *err);

/* The families by index: "SD 1", "SD 2", "SDXL", "SDXL refiner"; NULL behind the last. */
const char *sd_layers_family(size_t index);
/* All of the family's usual model. Adapters that turn inputs take all of its layers for linear ones. */
sd_status sd_layers_of_family(sd_lora_targets **out, size_t index, sd_error *err);

#endif
