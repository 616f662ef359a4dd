/* Which base model an adapter file was made for. Internal to the lora room. */
#ifndef LORA_FAMILY_H
#define LORA_FAMILY_H

#include "lora/file.h"

/* "SD 1", "SDXL", "Flux" ... by names and shapes, else by metadata; NULL when they do not tell. */
const char *sd_lora_family(const sd_lora *lora);
/* "SD 1" ... of a model, NULL when its shapes are those of none. */
const char *sd_lora_model_family(const sd_lora_targets *targets);
/* Whether this version has models of that family. */
bool sd_lora_family_known(const char *family);

#endif
