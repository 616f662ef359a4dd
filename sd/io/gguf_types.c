#include "sd/io/gguf_internal.h"

/* Named and numbered as ggml does. */
static const struct sd_gguf_element elements[] = {
    [0] = {"F32", SD_FILE_F32},
    [1] = {"F16", SD_FILE_F16},
    [2] = {"Q4_0", SD_FILE_Q4_0},
    [3] = {"Q4_1", SD_FILE_Q4_1},
    [4] = {"Q4_2", SD_FILE_DTYPES},
    [5] = {"Q4_3", SD_FILE_DTYPES},
    [6] = {"Q5_0", SD_FILE_Q5_0},
    [7] = {"Q5_1", SD_FILE_Q5_1},
    [8] = {"Q8_0", SD_FILE_Q8_0},
    [9] = {"Q8_1", SD_FILE_DTYPES},
    [10] = {"Q2_K", SD_FILE_Q2_K},
    [11] = {"Q3_K", SD_FILE_Q3_K},
    [12] = {"Q4_K", SD_FILE_Q4_K},
    [13] = {"Q5_K", SD_FILE_Q5_K},
    [14] = {"Q6_K", SD_FILE_Q6_K},
    [15] = {"Q8_K", SD_FILE_DTYPES},
    [16] = {"IQ2_XXS", SD_FILE_DTYPES},
    [17] = {"IQ2_XS", SD_FILE_DTYPES},
    [18] = {"IQ3_XXS", SD_FILE_DTYPES},
    [19] = {"IQ1_S", SD_FILE_DTYPES},
    [20] = {"IQ4_NL", SD_FILE_IQ4_NL},
    [21] = {"IQ3_S", SD_FILE_DTYPES},
    [22] = {"IQ2_S", SD_FILE_DTYPES},
    [23] = {"IQ4_XS", SD_FILE_IQ4_XS},
    [24] = {"I8", SD_FILE_I8},
    [25] = {"I16", SD_FILE_I16},
    [26] = {"I32", SD_FILE_I32},
    [27] = {"I64", SD_FILE_I64},
    [28] = {"F64", SD_FILE_F64},
    [29] = {"IQ1_M", SD_FILE_DTYPES},
    [30] = {"BF16", SD_FILE_BF16},
    [31] = {"Q4_0_4_4", SD_FILE_DTYPES},
    [32] = {"Q4_0_4_8", SD_FILE_DTYPES},
    [33] = {"Q4_0_8_8", SD_FILE_DTYPES},
    [34] = {"TQ1_0", SD_FILE_DTYPES},
    [35] = {"TQ2_0", SD_FILE_DTYPES},
    [36] = {"IQ4_NL_4_4", SD_FILE_DTYPES},
    [37] = {"IQ4_NL_4_8", SD_FILE_DTYPES},
    [38] = {"IQ4_NL_8_8", SD_FILE_DTYPES},
    [39] = {"MXFP4", SD_FILE_DTYPES},
    [40] = {"NVFP4", SD_FILE_DTYPES},
    [41] = {"Q1_0", SD_FILE_DTYPES},
};

enum { element_count = sizeof elements / sizeof *elements };

const struct sd_gguf_element *sd_gguf_element(uint32_t number) {
    return number < element_count ? &elements[number] : NULL;
}

bool sd_gguf_element_number(sd_file_dtype dtype, uint32_t *number) {
    for (uint32_t i = 0; i < element_count; i++)
        if (elements[i].dtype == dtype && dtype < SD_FILE_DTYPES) {
            *number = i;
            return true;
        }
    return false;
}

static const struct {
    const char *name;
    uint32_t size;
} types[SD_GGUF_TYPES] = {
    [SD_GGUF_U8] = {"U8", 1},       [SD_GGUF_I8] = {"I8", 1},     [SD_GGUF_U16] = {"U16", 2},
    [SD_GGUF_I16] = {"I16", 2},     [SD_GGUF_U32] = {"U32", 4},   [SD_GGUF_I32] = {"I32", 4},
    [SD_GGUF_F32] = {"F32", 4},     [SD_GGUF_BOOL] = {"BOOL", 1}, [SD_GGUF_STRING] = {"STRING", 0},
    [SD_GGUF_ARRAY] = {"ARRAY", 0}, [SD_GGUF_U64] = {"U64", 8},   [SD_GGUF_I64] = {"I64", 8},
    [SD_GGUF_F64] = {"F64", 8},
};

const char *sd_gguf_type_name(sd_gguf_type type) {
    return (unsigned)type < SD_GGUF_TYPES ? types[type].name : "?";
}

uint32_t sd_gguf_type_size(sd_gguf_type type) {
    return (unsigned)type < SD_GGUF_TYPES ? types[type].size : 0;
}
