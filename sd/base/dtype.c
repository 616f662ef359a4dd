#include "sd/base/dtype.h"

static const struct {
    const char *name;
    uint32_t size;
} types[SD_DTYPES] = {
    [SD_F32] = {"F32", 4}, [SD_F16] = {"F16", 2},         [SD_BF16] = {"BF16", 2},
    [SD_F64] = {"F64", 8}, [SD_F8_E4M3] = {"F8_E4M3", 1}, [SD_F8_E5M2] = {"F8_E5M2", 1},
    [SD_I64] = {"I64", 8}, [SD_I32] = {"I32", 4},         [SD_I16] = {"I16", 2},
    [SD_I8] = {"I8", 1},   [SD_U8] = {"U8", 1},           [SD_BOOL] = {"BOOL", 1},
};

uint32_t sd_dtype_size(sd_dtype dtype) {
    return (unsigned)dtype < SD_DTYPES ? types[dtype].size : 0;
}

const char *sd_dtype_name(sd_dtype dtype) {
    return (unsigned)dtype < SD_DTYPES ? types[dtype].name : "unknown";
}
