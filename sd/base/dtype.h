/* Element types of tensors, on disk and on the device. */
#ifndef SD_BASE_DTYPE_H
#define SD_BASE_DTYPE_H

#include <stdint.h>

typedef enum sd_dtype {
    SD_F32,
    SD_F16,
    SD_BF16,
    SD_F64,
    SD_F8_E4M3,
    SD_F8_E5M2,
    SD_I64,
    SD_I32,
    SD_I16,
    SD_I8,
    SD_U8,
    SD_BOOL,
    SD_DTYPES
} sd_dtype;

/* Bytes of one element; 0 for a value outside the enum. */
uint32_t sd_dtype_size(sd_dtype dtype);

/* The name that safetensors files use ("F16"); never NULL. */
const char *sd_dtype_name(sd_dtype dtype);

#endif
