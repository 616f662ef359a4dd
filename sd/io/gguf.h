/* The GGUF format (github.com/ggml-org/ggml, docs/gguf.md), versions 2 and 3, little-endian: typed metadata,
 * a list of tensors, then their data. Files are mapped; a tensor is paged in when its bytes are read. */
#ifndef SD_IO_GGUF_H
#define SD_IO_GGUF_H

#include <stddef.h>

#include "sd/base/status.h"
#include "sd/io/file.h"
#include "sd/io/file_tensor.h"

/* ---- values ---- */

/* Numbered as in files. */
typedef enum sd_gguf_type {
    SD_GGUF_U8,
    SD_GGUF_I8,
    SD_GGUF_U16,
    SD_GGUF_I16,
    SD_GGUF_U32,
    SD_GGUF_I32,
    SD_GGUF_F32,
    SD_GGUF_BOOL,
    SD_GGUF_STRING,
    SD_GGUF_ARRAY,
    SD_GGUF_U64,
    SD_GGUF_I64,
    SD_GGUF_F64,
    SD_GGUF_TYPES
} sd_gguf_type;

/* A value of the metadata, or an element of one that is an array. */
typedef struct sd_gguf_value {
    const char *key; /* UTF-8; NULL for an element */
    sd_gguf_type type;
    sd_gguf_type element; /* an array's elements, which may be arrays again; otherwise as type */
    uint64_t count;       /* of an array's elements; otherwise 1 */
    const uint8_t *data;  /* as in the file, unaligned: of a string its text, which need not end in NUL nor be
                           * well-formed; of an array its elements one after the other */
    uint64_t bytes;       /* of data */
} sd_gguf_value;

/* "U8" and so on; "?" outside the enumeration. */
const char *sd_gguf_type_name(sd_gguf_type type);

/* The number, when the value is one and the result can hold it exactly; f64 also takes whole numbers and
 * rounds. A BOOL is 0 or 1. */
bool sd_gguf_u64(const sd_gguf_value *value, uint64_t *out);
bool sd_gguf_i64(const sd_gguf_value *value, int64_t *out);
bool sd_gguf_f64(const sd_gguf_value *value, double *out);

/* The elements of an array one after the other: *at is 0 before the first call. False at the end. */
bool sd_gguf_next(const sd_gguf_value *array, uint64_t *at, sd_gguf_value *element);

/* ---- reading ---- */

/* Immutable: usable from any thread until closed. */
typedef struct sd_gguf sd_gguf;

/* Opens a file and checks all of its header: version; at most 100,000 tensors and metadata values, for which
 * the file has room; well-formed, unique names; known types; arrays nested at most 8 deep; at most 4
 * dimensions, whose product is checked; rows of whole blocks; offsets that are multiples of the alignment,
 * inside the file, without overlap. Element types that are not read are refused by name (SD_E_UNSUPPORTED).
 * Every pointer that the getters return lives until sd_gguf_close. */
sd_status sd_gguf_open(const char *path, sd_gguf **out, sd_error *err);

/* Parses bytes that the caller keeps alive and unchanged; `label` begins the messages. */
sd_status sd_gguf_parse(const char *label, const void *data, size_t size, sd_gguf **out, sd_error *err);

void sd_gguf_close(sd_gguf **file);
/* sd_mapping_advise for data of its tensors. */
void sd_gguf_advise(const sd_gguf *file, const void *data, size_t size, sd_file_advice advice);

/* Tensors in the order of their data. Shapes are outermost first, the other way round than in the file. Where
 * the metadata hold "comfy.gguf.orig_shape.NAME" (ComfyUI-GGUF reshapes tensors whose rows are not whole
 * blocks), the shape is that one. */
size_t sd_gguf_count(const sd_gguf *file);
const sd_file_tensor *sd_gguf_at(const sd_gguf *file, size_t index);

/* NULL when there is no tensor of this name. O(log n). */
const sd_file_tensor *sd_gguf_find(const sd_gguf *file, const char *name);

/* The metadata in the file's order. */
size_t sd_gguf_value_count(const sd_gguf *file);
const sd_gguf_value *sd_gguf_value_at(const sd_gguf *file, size_t index);
const sd_gguf_value *sd_gguf_value_find(const sd_gguf *file, const char *key); /* NULL when absent */

/* The same as text: numbers in decimals, short arrays as "[1, 2]"; what is long or no text is described. */
const sd_file_metadata *sd_gguf_metadata_at(const sd_gguf *file, size_t index);

/* ---- writing ---- */

/* Values for a file to be written. {0} is an empty list; one owner. The strings and data are copied. After a
 * failed call (no memory) `failed` stays set and sd_gguf_write reports it. */
typedef struct sd_gguf_values {
    sd_arena arena;
    sd_gguf_value *items;
    size_t count, capacity;
    bool failed;
} sd_gguf_values;

void sd_gguf_add(sd_gguf_values *list, const sd_gguf_value *value);
void sd_gguf_add_string(sd_gguf_values *list, const char *key, const char *text);
void sd_gguf_add_u32(sd_gguf_values *list, const char *key, uint32_t number);
void sd_gguf_values_clear(sd_gguf_values *list);

/* Writes version 3 atomically. Names must be unique and well-formed UTF-8, `bytes` must match the shape, and
 * the type must be one that GGUF knows. The same input gives the same bytes: tensors are laid out by name. A
 * tensor of more than 4 dimensions, or whose rows are not whole blocks, is reshaped as ComfyUI-GGUF does,
 * with its shape in the metadata. general.quantization_version is added where it is needed and `values` (may
 * be NULL) do not hold it. With a producer the tensors' `data` are not looked at. */
sd_status sd_gguf_write(const char *path, const sd_file_tensor *tensors, size_t count,
                        const sd_gguf_values *values, const struct sd_tensor_producer *producer,
                        sd_error *err);

#endif
