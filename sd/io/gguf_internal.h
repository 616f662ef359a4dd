/* What the files of the GGUF format share. */
#ifndef SD_IO_GGUF_INTERNAL_H
#define SD_IO_GGUF_INTERNAL_H

#include "sd/io/file.h"
#include "sd/io/gguf.h"

enum {
    SD_GGUF_ALIGNMENT = 32,
    SD_GGUF_MOST_ALIGNMENT = 1 << 20,
    SD_GGUF_RANK = 4,
    SD_GGUF_QUANTISATION = 2,
    SD_GGUF_MOST = 100000
};

#define SD_GGUF_ALIGNMENT_KEY "general.alignment"
#define SD_GGUF_QUANTISATION_KEY "general.quantization_version"
#define SD_GGUF_SHAPE_KEY "comfy.gguf.orig_shape."

struct sd_gguf {
    sd_arena arena;                 /* names, tensors, tables */
    sd_mapping map;                 /* empty for parsed memory */
    sd_file_tensor *tensors;        /* [count], in data order */
    const sd_file_tensor **by_name; /* [count], sorted */
    size_t count;
    sd_gguf_value *values;      /* [value_count] */
    sd_file_metadata *metadata; /* [value_count], the same as text */
    size_t value_count;
};

/* Element types by their number in files. Those that are not read have SD_FILE_DTYPES. */
struct sd_gguf_element {
    const char *name;
    sd_file_dtype dtype;
};
/* NULL when the number has no meaning. */
const struct sd_gguf_element *sd_gguf_element(uint32_t number);
/* False when GGUF has no such type. */
bool sd_gguf_element_number(sd_file_dtype dtype, uint32_t *number);

/* The alignment that a file with these values has; 0 when its value is of no use. */
uint64_t sd_gguf_alignment(const sd_gguf_value *values, size_t count);

/* Bytes of a number or BOOL; 0 for strings and arrays. */
uint32_t sd_gguf_type_size(sd_gguf_type type);

/* Reads the file from front to back. Errors are sticky, as in sd_json_reader. */
struct sd_gguf_cursor {
    const uint8_t *data;
    uint64_t size, at;
    const char *label;
    sd_error *err;
    sd_status status;
    /* What is being read, for messages: "tensor 'x'", or "tensor 3" before its name is known. */
    const char *kind, *name;
    uint64_t number;
};

/* Sets the sticky error: "LABEL: tensor 'x': MESSAGE"; returns false. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
bool sd_gguf_fail(struct sd_gguf_cursor *c, sd_status status, const char *format, ...);

bool sd_gguf_no_memory(struct sd_gguf_cursor *c);

/* `what` names the thing that the bytes are, for the message that they are missing. */
bool sd_gguf_take(struct sd_gguf_cursor *c, const char *what, uint64_t bytes, const uint8_t **out);
bool sd_gguf_take_u32(struct sd_gguf_cursor *c, const char *what, uint32_t *out);
bool sd_gguf_take_u64(struct sd_gguf_cursor *c, const char *what, uint64_t *out);
/* A length and as many bytes. */
bool sd_gguf_take_string(struct sd_gguf_cursor *c, const char *what, const uint8_t **text, uint64_t *bytes);

/* A key or name, as a string in the arena. */
bool sd_gguf_take_name(struct sd_gguf_cursor *c, sd_arena *arena, const char *what, const char **out);

/* The type and the value that follow a key. */
bool sd_gguf_take_value(struct sd_gguf_cursor *c, sd_gguf_value *out);

/* The whole list and the places of the data. */
bool sd_gguf_take_tensors(struct sd_gguf_cursor *c, sd_gguf *f, uint64_t alignment);

/* The value as text in the arena; NULL when memory runs out. */
const char *sd_gguf_value_text(sd_arena *arena, const sd_gguf_value *value);

/* A value of this key in the list, or NULL. */
const sd_gguf_value *sd_gguf_lookup(const sd_gguf_value *values, size_t count, const char *key);

/* A key that stands in the list twice, or NULL; false when memory runs out. */
bool sd_gguf_find_twice(const sd_gguf_value *values, size_t count, const char **key);

/* The dimensions as an array of I32. */
void sd_gguf_add_dimensions(sd_gguf_values *list, const char *key, uint32_t rank, const uint64_t *shape);

#endif
