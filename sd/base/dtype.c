#include "sd/base/dtype.h"

static const struct {
    const char *name;
    sd_dtype_block block;
} types[SD_DTYPES] = {
    [SD_F32] = {"F32", {1, 4}},         [SD_F16] = {"F16", {1, 2}},
    [SD_BF16] = {"BF16", {1, 2}},       [SD_F64] = {"F64", {1, 8}},
    [SD_F8_E4M3] = {"F8_E4M3", {1, 1}}, [SD_F8_E5M2] = {"F8_E5M2", {1, 1}},
    [SD_I64] = {"I64", {1, 8}},         [SD_I32] = {"I32", {1, 4}},
    [SD_I16] = {"I16", {1, 2}},         [SD_I8] = {"I8", {1, 1}},
    [SD_U8] = {"U8", {1, 1}},           [SD_BOOL] = {"BOOL", {1, 1}},
    [SD_Q4_0] = {"Q4_0", {32, 18}},     [SD_Q4_1] = {"Q4_1", {32, 20}},
    [SD_Q5_0] = {"Q5_0", {32, 22}},     [SD_Q5_1] = {"Q5_1", {32, 24}},
    [SD_Q8_0] = {"Q8_0", {32, 34}},     [SD_Q2_K] = {"Q2_K", {256, 84}},
    [SD_Q3_K] = {"Q3_K", {256, 110}},   [SD_Q4_K] = {"Q4_K", {256, 144}},
    [SD_Q5_K] = {"Q5_K", {256, 176}},   [SD_Q6_K] = {"Q6_K", {256, 210}},
    [SD_IQ4_NL] = {"IQ4_NL", {32, 18}}, [SD_IQ4_XS] = {"IQ4_XS", {256, 136}},
};

sd_dtype_block sd_dtype_block_of(sd_dtype dtype) {
    return (unsigned)dtype < SD_DTYPES ? types[dtype].block : (sd_dtype_block){0, 0};
}

bool sd_dtype_quantised(sd_dtype dtype) {
    return sd_dtype_block_of(dtype).values > 1;
}

uint32_t sd_dtype_size(sd_dtype dtype) {
    sd_dtype_block block = sd_dtype_block_of(dtype);
    return block.values == 1 ? block.bytes : 0;
}

const char *sd_dtype_name(sd_dtype dtype) {
    return (unsigned)dtype < SD_DTYPES ? types[dtype].name : "unknown";
}
