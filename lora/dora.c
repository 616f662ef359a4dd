/* DoRA: weight-decomposed adaptation (arXiv 2402.09353) round any change that is added. */
#include "lora/module.h"

#include <stdlib.h>

/* Rows of ones, for sums with a constant. */
static sd_matrix ones(sd_edit *e, uint32_t rows, uint32_t columns) {
    uint64_t count = (uint64_t)rows * columns;
    float *values = malloc((count + 1) * sizeof *values);
    sd_matrix m = {0};
    if (values) {
        for (uint64_t i = 0; i < count; i++)
            values[i] = 1;
        m = sd_edit_values(e, values, rows, columns);
    } else
        sd_edit_fail(e, SD_E_MEMORY, "out of memory");
    free(values);
    return m;
}

/* PEFT scales inside V and turns the magnitude fully, without an epsilon; the others do the reverse. */
void sd_lora_dora(const struct sd_lora_site *site, sd_edit *e) {
    const struct sd_lora_target *t = site->target;
    bool peft = site->module->tensor[ROLE_MAGNITUDE] != NULL;
    sd_lora_role role = peft ? ROLE_MAGNITUDE : ROLE_DORA;
    const sd_file_tensor *m = site->module->tensor[role];
    bool output = peft || sd_lora_dim(m, 0) == t->n;
    uint32_t rows = output ? t->n : 1, columns = output ? 1 : t->c;
    float s = peft ? 1 : site->strength, epsilon = peft ? 0 : 0x1p-23f;
    sd_matrix w = sd_edit_weight(e), v = sd_edit_new(e, w.rows, w.columns);
    sd_matrix magnitude = sd_lora_load(site, e, role, rows, columns), norms = sd_edit_new(e, rows, columns);
    sd_edit_sum(e, v, w, 1, w, 0);
    site->module->kind->add(site, e, v, peft ? site->strength : 1);
    if (output)
        sd_edit_row_norms(e, norms, v);
    else
        sd_edit_column_norms(e, norms, v, t->taps);
    sd_edit_map(e, norms, magnitude, norms,
                &(struct matrix_map){.op = MATRIX_DIVIDE, .alpha = s, .beta = epsilon});
    sd_edit_sum(e, norms, norms, 1, ones(e, rows, columns), 1 - s);
    const struct matrix_map scale = {
        .op = MATRIX_MULTIPLY, .y_index = output ? MATRIX_ROW : MATRIX_COLUMN, .y_p = t->taps, .alpha = 1};
    sd_edit_map(e, w, v, norms, &scale);
}
