/* What a picture was made with beside the model, for its metadata. Internal to the sd room. */
#ifndef SD_USED_H
#define SD_USED_H

#include "sd/base/str.h"
#include "sd/model.h"

struct cJSON;

/* Fills in the hashes of the model's adapters. */
sd_status sd_used_hash(sd_model *model, sd_error *err);

/* "acme: 0123456789ab, ink: ...", the value of A1111's "Lora hashes"; nothing without LoRAs. */
void sd_used_lora_hashes(const sd_model *model, sd_str *out);

/* Adds "loras" where there are any; false when memory runs out. */
bool sd_used_record(const sd_model *model, struct cJSON *json);

#endif
