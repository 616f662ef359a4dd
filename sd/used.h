/* What a picture was made with beside the model, for its metadata. Internal to the sd room. */
#ifndef SD_USED_H
#define SD_USED_H

#include "sd/base/str.h"
#include "sd/embeddings.h"
#include "sd/model.h"

struct cJSON;

/* Fills in the hashes of the model's separate parts and adapters and of the embeddings that were used. */
sd_status sd_used_hash(sd_model *model, struct sd_embeddings *embeddings, sd_error *err);

/* "acme: 0123456789ab, ink: ...", the value of A1111's "Lora hashes"; nothing without LoRAs. */
void sd_used_lora_hashes(const sd_model *model, sd_str *out);

/* The same of A1111's "TI hashes". */
void sd_used_embedding_hashes(const struct sd_embeddings *embeddings, sd_str *out);

/* Adds "parts", "loras" and "embeddings" where there are any; false when memory runs out. */
bool sd_used_record(const sd_model *model, const struct sd_embeddings *embeddings, struct cJSON *json);

#endif
