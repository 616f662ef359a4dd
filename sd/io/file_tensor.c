#include "sd/io/file_tensor.h"

#include "sd/base/checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bits;
} dtypes[SD_FILE_DTYPES] = {
    [SD_FILE_F64] = {"F64", 64},
    [SD_FILE_F32] = {"F32", 32},
    [SD_FILE_F16] = {"F16", 16},
    [SD_FILE_BF16] = {"BF16", 16},
    [SD_FILE_F8_E4M3] = {"F8_E4M3", 8},
    [SD_FILE_F8_E5M2] = {"F8_E5M2", 8},
    [SD_FILE_F8_E8M0] = {"F8_E8M0", 8},
    [SD_FILE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [SD_FILE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [SD_FILE_F4] = {"F4", 4},
    [SD_FILE_F6_E2M3] = {"F6_E2M3", 6},
    [SD_FILE_F6_E3M2] = {"F6_E3M2", 6},
    [SD_FILE_C64] = {"C64", 64},
    [SD_FILE_I64] = {"I64", 64},
    [SD_FILE_I32] = {"I32", 32},
    [SD_FILE_I16] = {"I16", 16},
    [SD_FILE_I8] = {"I8", 8},
    [SD_FILE_U64] = {"U64", 64},
    [SD_FILE_U32] = {"U32", 32},
    [SD_FILE_U16] = {"U16", 16},
    [SD_FILE_U8] = {"U8", 8},
    [SD_FILE_BOOL] = {"BOOL", 8},
};

const char *sd_file_dtype_name(sd_file_dtype dtype) {
    return (unsigned)dtype < SD_FILE_DTYPES ? dtypes[dtype].name : "?";
}

unsigned sd_file_dtype_bits(sd_file_dtype dtype) {
    return (unsigned)dtype < SD_FILE_DTYPES ? dtypes[dtype].bits : 0;
}

sd_file_dtype sd_file_dtype_from_name(const char *name) {
    unsigned i = 0;
    while (i < SD_FILE_DTYPES && strcmp(dtypes[i].name, name) != 0)
        i++;
    return (sd_file_dtype)i;
}

bool sd_file_tensor_size(sd_file_dtype dtype, uint32_t rank, const uint64_t *shape, uint64_t *bytes) {
    uint64_t bits = sd_file_dtype_bits(dtype);
    for (uint32_t i = 0; i < rank; i++)
        if (!sd_mul_u64(bits, shape[i], &bits))
            return false;
    *bytes = bits / 8;
    return bits % 8 == 0;
}

void sd_file_shape_text(uint32_t rank, const uint64_t *shape, char *out, unsigned size) {
    unsigned used = 0;
    for (uint32_t i = 0; i <= rank && used < size; i++) {
        int n = i < rank ? snprintf(out + used, size - used, "%c%" PRIu64, i ? ',' : '[', shape[i])
                         : snprintf(out + used, size - used, rank ? "]" : "[]");
        used += n > 0 ? (unsigned)n : 0;
    }
}
