/* One view of every file format that holds tensors. */
#ifndef SD_IO_TENSOR_FILE_H
#define SD_IO_TENSOR_FILE_H

#include <stddef.h>

#include "sd/base/status.h"
#include "sd/io/file.h"
#include "sd/io/file_tensor.h"

/* Immutable: usable from any thread until closed. */
typedef struct sd_tensor_file sd_tensor_file;

/* Opens a safetensors file, the index of a sharded one, a GGUF file, or a file of torch.save. The content
 * decides which, never the name. Errors are those of the format's own reader; what is none of the formats is
 * an error of the safetensors reader. Every pointer that the getters return lives until sd_tensor_file_close.
 */
sd_status sd_tensor_file_open(const char *path, sd_tensor_file **out, sd_error *err);
void sd_tensor_file_close(sd_tensor_file **file);

/* "safetensors", "GGUF" or "PyTorch". */
const char *sd_tensor_file_format(const sd_tensor_file *file);

/* The GGUF file behind it, for its typed metadata; NULL when it is another format. */
const struct sd_gguf *sd_tensor_file_gguf(const sd_tensor_file *file);

/* Tensors in the order of their data. */
size_t sd_tensor_file_count(const sd_tensor_file *file);
const sd_file_tensor *sd_tensor_file_at(const sd_tensor_file *file, size_t index);

/* NULL when there is no tensor of this name. O(log n). */
const sd_file_tensor *sd_tensor_file_find(const sd_tensor_file *file, const char *name);

/* sd_mapping_advise for data of this file's tensors; what is not mapped is left alone. Thread-safe. */
void sd_tensor_file_advise(const sd_tensor_file *file, const void *data, size_t size, sd_file_advice advice);

/* What the file says about itself, as text, in its own order. */
size_t sd_tensor_file_metadata_count(const sd_tensor_file *file);
const sd_file_metadata *sd_tensor_file_metadata_at(const sd_tensor_file *file, size_t index);
const char *sd_tensor_file_metadata(const sd_tensor_file *file, const char *key); /* NULL when absent */

/* ---- names ---- */

/* Length of a file's name without its extension, where that is one of files that hold tensors; 0 otherwise.
 */
size_t sd_tensor_file_stem(const char *name);
/* What a file or folder is called: the last part of its path without such an extension, cut when it does not
 * fit. */
void sd_tensor_file_name(const char *path, char *out, size_t size);

#endif
