/* What `sdvk info` says of LoRAs. Internal to the sd room. */
#ifndef SD_INFO_H
#define SD_INFO_H

#include "sd/io/hash_cache.h"
#include "sd/io/tensor_file.h"
#include "sd/sd.h"

struct cJSON;

/* Kinds, ranks, base model, words, and what it changes of the model of the options, else of its family's
 * usual one. A LoRA that fits no model is described with the reason. */
sd_status sd_info_lora(struct cJSON *json, const char *path, const sd_info_options *options,
                       sd_hash_cache *hashes, sd_error *err);

/* Shared with other kinds of files: all of the metadata, element types, hashes of the whole file. */
void sd_info_metadata(struct cJSON *json, const sd_tensor_file *file);
void sd_info_types(struct cJSON *json, const sd_tensor_file *const *files, size_t count);
sd_status sd_info_hashes(struct cJSON *json, const char *path, sd_hash_cache *hashes, sd_error *err);

#endif
