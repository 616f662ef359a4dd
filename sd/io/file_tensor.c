#include "sd/io/file_tensor.h"

#include "sd/base/checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Quantised types have their block from sd/base/dtype.h. */
static const struct {
    const char *name;
    unsigned bits; /* of one element; 0 when quantised */
    sd_dtype base;
} dtypes[SD_FILE_DTYPES] = {
    [SD_FILE_F64] = {"F64", 64, SD_F64},
    [SD_FILE_F32] = {"F32", 32, SD_F32},
    [SD_FILE_F16] = {"F16", 16, SD_F16},
    [SD_FILE_BF16] = {"BF16", 16, SD_BF16},
    [SD_FILE_F8_E4M3] = {"F8_E4M3", 8, SD_F8_E4M3},
    [SD_FILE_F8_E5M2] = {"F8_E5M2", 8, SD_F8_E5M2},
    [SD_FILE_F8_E8M0] = {"F8_E8M0", 8, SD_DTYPES},
    [SD_FILE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, SD_DTYPES},
    [SD_FILE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, SD_DTYPES},
    [SD_FILE_F4] = {"F4", 4, SD_DTYPES},
    [SD_FILE_F6_E2M3] = {"F6_E2M3", 6, SD_DTYPES},
    [SD_FILE_F6_E3M2] = {"F6_E3M2", 6, SD_DTYPES},
    [SD_FILE_C64] = {"C64", 64, SD_DTYPES},
    [SD_FILE_I64] = {"I64", 64, SD_I64},
    [SD_FILE_I32] = {"I32", 32, SD_I32},
    [SD_FILE_I16] = {"I16", 16, SD_I16},
    [SD_FILE_I8] = {"I8", 8, SD_I8},
    [SD_FILE_U64] = {"U64", 64, SD_DTYPES},
    [SD_FILE_U32] = {"U32", 32, SD_DTYPES},
    [SD_FILE_U16] = {"U16", 16, SD_DTYPES},
    [SD_FILE_U8] = {"U8", 8, SD_U8},
    [SD_FILE_BOOL] = {"BOOL", 8, SD_BOOL},
    [SD_FILE_Q4_0] = {"Q4_0", 0, SD_Q4_0},
    [SD_FILE_Q4_1] = {"Q4_1", 0, SD_Q4_1},
    [SD_FILE_Q5_0] = {"Q5_0", 0, SD_Q5_0},
    [SD_FILE_Q5_1] = {"Q5_1", 0, SD_Q5_1},
    [SD_FILE_Q8_0] = {"Q8_0", 0, SD_Q8_0},
    [SD_FILE_Q2_K] = {"Q2_K", 0, SD_Q2_K},
    [SD_FILE_Q3_K] = {"Q3_K", 0, SD_Q3_K},
    [SD_FILE_Q4_K] = {"Q4_K", 0, SD_Q4_K},
    [SD_FILE_Q5_K] = {"Q5_K", 0, SD_Q5_K},
    [SD_FILE_Q6_K] = {"Q6_K", 0, SD_Q6_K},
    [SD_FILE_IQ4_NL] = {"IQ4_NL", 0, SD_IQ4_NL},
    [SD_FILE_IQ4_XS] = {"IQ4_XS", 0, SD_IQ4_XS},
};

const char *sd_file_dtype_name(sd_file_dtype dtype) {
    return (unsigned)dtype < SD_FILE_DTYPES ? dtypes[dtype].name : "?";
}

sd_dtype sd_file_dtype_base(sd_file_dtype dtype) {
    return (unsigned)dtype < SD_FILE_DTYPES ? dtypes[dtype].base : SD_DTYPES;
}

bool sd_file_dtype_quantised(sd_file_dtype dtype) {
    return sd_dtype_quantised(sd_file_dtype_base(dtype));
}

unsigned sd_file_dtype_block(sd_file_dtype dtype) {
    return sd_file_dtype_quantised(dtype) ? sd_dtype_block_of(sd_file_dtype_base(dtype)).values : 1;
}

unsigned sd_file_dtype_bits(sd_file_dtype dtype) {
    if (sd_file_dtype_quantised(dtype))
        return sd_dtype_block_of(sd_file_dtype_base(dtype)).bytes * 8;
    return (unsigned)dtype < SD_FILE_DTYPES ? dtypes[dtype].bits : 0;
}

sd_file_dtype sd_file_dtype_from_name(const char *name) {
    unsigned i = 0;
    while (i < SD_FILE_DTYPES && strcmp(dtypes[i].name, name) != 0)
        i++;
    return (sd_file_dtype)i;
}

bool sd_file_tensor_size(sd_file_dtype dtype, uint32_t rank, const uint64_t *shape, uint64_t *bytes) {
    uint64_t values = 1, bits, block = sd_file_dtype_block(dtype);
    bool fits = true;
    for (uint32_t i = 0; i < rank; i++)
        fits = fits && sd_mul_u64(values, shape[i], &values);
    if (!fits || values % block || !sd_mul_u64(values / block, sd_file_dtype_bits(dtype), &bits))
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

static int by_name(const void *a, const void *b) {
    return strcmp((*(const sd_file_tensor *const *)a)->name, (*(const sd_file_tensor *const *)b)->name);
}

const sd_file_tensor **sd_file_tensors_by_name(sd_arena *arena, const sd_file_tensor *tensors, size_t count) {
    const sd_file_tensor **sorted = sd_arena_array(arena, count, sizeof *sorted);
    if (!sorted)
        return NULL;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    return sorted;
}

const sd_file_tensor *sd_file_tensors_find(const sd_file_tensor *const *sorted, size_t count,
                                           const char *name) {
    const sd_file_tensor key = {.name = name}, *pointer = &key;
    const sd_file_tensor *const *hit = bsearch(&pointer, sorted, count, sizeof *sorted, by_name);
    return hit ? *hit : NULL;
}

sd_shown_name sd_show_name(const char *name) {
    sd_shown_name out = {{0}};
    size_t n = strlen(name), i = 0;
    bool cut = n > 120;
    if (cut)
        for (n = 117; n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80; n--)
            ;
    for (; i < n; i++)
        out.text[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7F ? '?' : name[i];
    if (cut)
        memcpy(out.text + n, "...", 4);
    return out;
}
