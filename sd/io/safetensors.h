/* The safetensors format (github.com/huggingface/safetensors, "Format"): an 8-byte little-endian header
 * length, a JSON header, then the data. Files are mapped; a tensor is paged in when its bytes are read. */
#ifndef SD_IO_SAFETENSORS_H
#define SD_IO_SAFETENSORS_H

#include <stddef.h>

#include "sd/base/status.h"
#include "sd/io/file.h"
#include "sd/io/file_tensor.h"

/* One file, or several shards that look like one. Immutable: usable from any thread until closed. */
typedef struct sd_safetensors sd_safetensors;

/* Opens one file and checks all of its header: length at most 100 MB, strict JSON, unique names, known
 * element types, rank at most 8, shape times element size equal to the data range, ranges contiguous from 0
 * and covering the data. Every pointer that the getters return lives until sd_safetensors_close. */
sd_status sd_safetensors_open(const char *path, sd_safetensors **out, sd_error *err);

/* Opens the shards that a `*.safetensors.index.json` lists, from the same folder. Every tensor of its
 * weight_map must be in the shard named for it, and every tensor of a shard must be in the weight_map. */
sd_status sd_safetensors_open_index(const char *path, sd_safetensors **out, sd_error *err);

/* Parses bytes that the caller keeps alive and unchanged; `label` begins the messages. */
sd_status sd_safetensors_parse(const char *label, const void *data, size_t size, sd_safetensors **out,
                               sd_error *err);

void sd_safetensors_close(sd_safetensors **file);
/* sd_mapping_advise for data of its tensors. */
void sd_safetensors_advise(const sd_safetensors *file, const void *data, size_t size, sd_file_advice advice);

/* Tensors in the order of their data, shard after shard in the order of the shards' names. */
size_t sd_safetensors_count(const sd_safetensors *file);
const sd_file_tensor *sd_safetensors_at(const sd_safetensors *file, size_t index);

/* NULL when there is no tensor of this name. O(log n). */
const sd_file_tensor *sd_safetensors_find(const sd_safetensors *file, const char *name);

/* The header's __metadata__ in its own order; of the first shard when there are several. */
size_t sd_safetensors_metadata_count(const sd_safetensors *file);
const sd_file_metadata *sd_safetensors_metadata_at(const sd_safetensors *file, size_t index);
const char *sd_safetensors_metadata(const sd_safetensors *file, const char *key); /* NULL when absent */

/* Where the data begins in the (first) file: the offset for A1111's LoRA hash. */
uint64_t sd_safetensors_data_offset(const sd_safetensors *file);

/* Writes tensors and metadata atomically. The same input gives the same bytes: tensors are laid out by
 * falling element size, then by name, so that each is aligned. Names must be unique, well-formed UTF-8 and
 * not
 * "__metadata__", and `bytes` must match the shape. */
sd_status sd_safetensors_write(const char *path, const sd_file_tensor *tensors, size_t count,
                               const sd_file_metadata *metadata, size_t metadata_count, sd_error *err);
/* The same for tensors that are not in memory: their `data` are not looked at. */
sd_status sd_safetensors_produce(const char *path, const sd_file_tensor *tensors, size_t count,
                                 const sd_file_metadata *metadata, size_t metadata_count,
                                 const struct sd_tensor_producer *producer, sd_error *err);

#endif
