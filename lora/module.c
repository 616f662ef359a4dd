#include "lora/module.h"

#include <stdlib.h>

static const struct sd_lora_kind *const kinds[] = {
    &sd_lora_kind_lora,     &sd_lora_kind_loha,      &sd_lora_kind_lokr,       &sd_lora_kind_oft,
    &sd_lora_kind_boft,     &sd_lora_kind_oft_input, &sd_lora_kind_boft_input, &sd_lora_kind_ia3,
    &sd_lora_kind_ia3_peft, &sd_lora_kind_glora,     &sd_lora_kind_diff,       &sd_lora_kind_norm,
};

const struct sd_lora_kind *sd_lora_find_kind(const struct sd_lora_module *module) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i]->fits(module))
            return kinds[i];
    return NULL;
}

uint32_t sd_lora_dim(const sd_file_tensor *tensor, uint32_t i) {
    return i < tensor->rank ? (uint32_t)tensor->shape[i] : 1;
}

uint64_t sd_lora_count(const sd_file_tensor *tensor) {
    uint64_t count = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

static bool is_real(sd_file_dtype dtype, sd_dtype *out) {
    switch (dtype) {
    case SD_FILE_F32:
        *out = SD_F32;
        return true;
    case SD_FILE_F16:
        *out = SD_F16;
        return true;
    case SD_FILE_BF16:
        *out = SD_BF16;
        return true;
    case SD_FILE_F8_E4M3:
        *out = SD_F8_E4M3;
        return true;
    case SD_FILE_F8_E5M2:
        *out = SD_F8_E5M2;
        return true;
    default:
        return false;
    }
}

static const sd_file_tensor *need(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role) {
    const sd_file_tensor *t = site->module->tensor[role];
    if (!t)
        sd_edit_fail(e, SD_E_FORMAT, "%s: %s: a tensor of its %s is missing", site->path, site->module->name,
                     site->module->kind ? site->module->kind->name : "change");
    return t;
}

/* The first dimension is the matrix's rows and the others its columns, in whatever form they are written. */
sd_matrix sd_lora_load(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role, uint32_t rows,
                       uint32_t columns) {
    const sd_file_tensor *t = need(site, e, role);
    struct sd_raw raw = {.rank = 2, .shape = {rows, columns}};
    if (!t)
        return (sd_matrix){0};
    if (!is_real(t->dtype, &raw.dtype)) {
        sd_edit_fail(e, SD_E_UNSUPPORTED, "%s: tensor %s: expected F32, F16, BF16 or F8 values, found %s",
                     site->path, t->name, sd_file_dtype_name(t->dtype));
        return (sd_matrix){0};
    }
    bool vector = rows == 1 || columns == 1;
    if (sd_lora_count(t) != (uint64_t)rows * columns || (!vector && sd_lora_dim(t, 0) != rows)) {
        char found[64];
        sd_file_shape_text(t->rank, t->shape, found, sizeof found);
        sd_edit_fail(e, SD_E_FORMAT,
                     "%s: tensor %s: expected %u x %u values for a layer of shape [%u,%u%s], found %s",
                     site->path, t->name, rows, columns, site->target->n, site->target->c,
                     site->target->taps > 1 ? ",3,3" : "", found);
        return (sd_matrix){0};
    }
    raw.data = t->data;
    raw.bytes = t->bytes;
    return sd_edit_load(e, &raw, rows, columns);
}

float sd_lora_scalar(const sd_file_tensor *tensor) {
    return tensor->bytes ? sd_file_tensor_value(tensor, 0) : 0;
}

float *sd_lora_values(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role) {
    const sd_file_tensor *t = need(site, e, role);
    sd_dtype dtype;
    uint64_t count = t ? sd_lora_count(t) : 0;
    if (t && !is_real(t->dtype, &dtype))
        sd_edit_fail(e, SD_E_UNSUPPORTED, "%s: tensor %s: expected F32, F16 or BF16 values, found %s",
                     site->path, t->name, sd_file_dtype_name(t->dtype));
    float *values = e->failed ? NULL : calloc(count + 1, sizeof *values);
    if (!values) {
        sd_edit_fail(e, SD_E_MEMORY, "out of memory");
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++)
        values[i] = sd_file_tensor_value(t, i);
    return values;
}

sd_matrix sd_lora_tucker(const struct sd_lora_site *site, sd_edit *e, const struct sd_lora_tucker *t) {
    const sd_file_tensor *core = need(site, e, t->core);
    uint32_t r = core ? sd_lora_dim(core, 0) : 1, k = t->taps;
    sd_matrix c = sd_lora_load(site, e, t->core, r, r * k), right = sd_lora_load(site, e, t->right, r, t->i);
    sd_matrix left =
        t->transposed ? sd_lora_load(site, e, t->left, r, t->o) : sd_lora_load(site, e, t->left, t->o, r);
    sd_matrix inner = sd_edit_new(e, r, t->i * k), outer = sd_edit_new(e, t->o, t->i * k);
    const struct matrix_product first = {.m =
                                             t->i, /* inner[m][q,k] = sum over n of right[n,q] core[m][n,k] */
                                         .n = k,
                                         .k = r,
                                         .batch = r,
                                         .a_row = 1,
                                         .a_column = t->i,
                                         .b_row = k,
                                         .b_column = 1,
                                         .b_batch = r * k,
                                         .to_row = k,
                                         .to_batch = t->i * k,
                                         .alpha = 1};
    const struct matrix_product second = {
        .m = t->o, /* outer[p][q,k] = sum over m of left[p,m] inner[m][q,k] */
        .n = t->i * k,
        .k = r,
        .batch = 1,
        .a_row = t->transposed ? 1 : r,
        .a_column = t->transposed ? t->o : 1,
        .b_row = t->i * k,
        .b_column = 1,
        .to_row = t->i * k,
        .alpha = 1};
    sd_edit_products(e, inner, right, c, &first);
    sd_edit_products(e, outer, left, inner, &second);
    return outer;
}
