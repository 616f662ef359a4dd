/* A tensor as it lies in a file, whatever the file's format. */
#ifndef SD_IO_FILE_TENSOR_H
#define SD_IO_FILE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sd/base/arena.h"
#include "sd/base/dtype.h"
#include "sd/base/status.h"

/* Element types, named as safetensors and GGUF name them. */
typedef enum sd_file_dtype {
    SD_FILE_F64,
    SD_FILE_F32,
    SD_FILE_F16,
    SD_FILE_BF16,
    SD_FILE_F8_E4M3,
    SD_FILE_F8_E5M2,
    SD_FILE_F8_E8M0,
    SD_FILE_F8_E4M3FNUZ,
    SD_FILE_F8_E5M2FNUZ,
    SD_FILE_F4,      /* two values a byte */
    SD_FILE_F6_E2M3, /* four values in three bytes */
    SD_FILE_F6_E3M2,
    SD_FILE_C64,
    SD_FILE_I64,
    SD_FILE_I32,
    SD_FILE_I16,
    SD_FILE_I8,
    SD_FILE_U64,
    SD_FILE_U32,
    SD_FILE_U16,
    SD_FILE_U8,
    SD_FILE_BOOL, /* one byte */
    /* Quantised, in blocks of 32 or 256 values (sd/base/quant.h); only GGUF files hold these. */
    SD_FILE_Q4_0,
    SD_FILE_Q4_1,
    SD_FILE_Q5_0,
    SD_FILE_Q5_1,
    SD_FILE_Q8_0,
    SD_FILE_Q2_K,
    SD_FILE_Q3_K,
    SD_FILE_Q4_K,
    SD_FILE_Q5_K,
    SD_FILE_Q6_K,
    SD_FILE_IQ4_NL,
    SD_FILE_IQ4_XS,
    SD_FILE_DTYPES
} sd_file_dtype;

enum { SD_FILE_RANK = 8 };

typedef struct sd_file_tensor {
    const char *name; /* UTF-8 */
    sd_file_dtype dtype;
    uint32_t rank;                /* 0 for a single value */
    uint64_t shape[SD_FILE_RANK]; /* outermost first */
    const uint8_t *data;          /* little-endian, row-major; may be unaligned: read it with memcpy */
    uint64_t bytes;
} sd_file_tensor;

/* Where the bytes of tensors come from that are to be written and not in memory: fills `out` with the `size`
 * bytes of the tensor from byte `first` on. Called in the order of the bytes, a few MiB of whole blocks at a
 * time. */
struct sd_tensor_producer {
    void *user;
    sd_status (*fill)(void *user, const sd_file_tensor *tensor, uint64_t first, void *out, size_t size,
                      sd_error *err);
};

/* What a file says about itself. */
typedef struct sd_file_metadata {
    const char *key, *value; /* UTF-8 */
} sd_file_metadata;

/* "F16" and so on; "?" outside the enumeration. */
const char *sd_file_dtype_name(sd_file_dtype dtype);
/* SD_FILE_DTYPES when no element type has this name. */
sd_file_dtype sd_file_dtype_from_name(const char *name);

/* Values that lie in one block, and the bits of the block; 1 value unless the type is quantised. Blocks
 * follow the row-major order of the whole tensor: a row need not end where a block does. */
unsigned sd_file_dtype_block(sd_file_dtype dtype);
unsigned sd_file_dtype_bits(sd_file_dtype dtype);
bool sd_file_dtype_quantised(sd_file_dtype dtype);

/* The same type as the rest of the library names it; SD_DTYPES when it has no use for it. */
sd_dtype sd_file_dtype_base(sd_file_dtype dtype);

/* Bytes of a tensor of this shape; false when the product overflows or ends inside a byte or block. */
bool sd_file_tensor_size(sd_file_dtype dtype, uint32_t rank, const uint64_t *shape, uint64_t *bytes);

/* The value at `index` (row-major) as a float. NAN of types that hold no number of their own: F8 without sign
 * or with other rules than those of sd/base/dtype.h, F4 and F6, complex and quantised ones. */
float sd_file_tensor_value(const sd_file_tensor *tensor, uint64_t index);

/* "[320,4,3,3]"; cut when it does not fit. */
void sd_file_shape_text(uint32_t rank, const uint64_t *shape, char *out, unsigned size);

/* Pointers to the tensors in the order of their names, in the arena; NULL when memory runs out. */
const sd_file_tensor **sd_file_tensors_by_name(sd_arena *arena, const sd_file_tensor *tensors, size_t count);
/* The tensor of this name among sorted ones, or NULL. O(log n). */
const sd_file_tensor *sd_file_tensors_find(const sd_file_tensor *const *by_name, size_t count,
                                           const char *name);

/* `name` made fit for a message: at most 120 bytes, cut at a character, control characters as '?'. */
typedef struct sd_shown_name {
    char text[128];
} sd_shown_name;
sd_shown_name sd_show_name(const char *name);

#endif
