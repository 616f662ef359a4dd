/* Element types of tensors, on disk and on the device. */
#ifndef SD_BASE_DTYPE_H
#define SD_BASE_DTYPE_H

#include <stdbool.h>
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
    /* Quantised, in blocks of several values: see sd/base/quant.h. */
    SD_Q4_0,
    SD_Q4_1,
    SD_Q5_0,
    SD_Q5_1,
    SD_Q8_0,
    SD_Q2_K,
    SD_Q3_K,
    SD_Q4_K,
    SD_Q5_K,
    SD_Q6_K,
    SD_IQ4_NL,
    SD_IQ4_XS,
    SD_DTYPES
} sd_dtype;

/* Bytes of one element; 0 for quantised types and for a value outside the enum. */
uint32_t sd_dtype_size(sd_dtype dtype);

/* `values` neighbouring elements lie in `bytes` bytes. */
typedef struct sd_dtype_block {
    uint32_t values, bytes;
} sd_dtype_block;

/* {1, size} for plain types, {0, 0} for a value outside the enum. */
sd_dtype_block sd_dtype_block_of(sd_dtype dtype);

bool sd_dtype_quantised(sd_dtype dtype);

/* The name that safetensors and GGUF files use ("F16", "Q4_K"); never NULL. */
const char *sd_dtype_name(sd_dtype dtype);

#endif
