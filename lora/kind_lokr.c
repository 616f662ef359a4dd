/* LoKr: a Kronecker product of two matrices, each whole or of low rank (LyCORIS, arXiv 2309.14859). */
#include "lora/module.h"

static bool has_left(const struct sd_lora_module *m) {
    return m->tensor[ROLE_LOKR_W1] || (m->tensor[ROLE_LOKR_W1_A] && m->tensor[ROLE_LOKR_W1_B]);
}

static bool has_right(const struct sd_lora_module *m) {
    return m->tensor[ROLE_LOKR_W2] || (m->tensor[ROLE_LOKR_W2_A] && m->tensor[ROLE_LOKR_W2_B]);
}

static bool fits(const struct sd_lora_module *m) {
    return has_left(m) && has_right(m);
}

/* Rows of the `_b` tensor: `_a` has other columns in the Tucker form. 0 where both halves are whole. */
static uint32_t rank(const struct sd_lora_module *m) {
    const sd_file_tensor *b =
        m->tensor[ROLE_LOKR_W2_B] ? m->tensor[ROLE_LOKR_W2_B] : m->tensor[ROLE_LOKR_W1_B];
    return b ? sd_lora_dim(b, 0) : 0;
}

static sd_matrix left_half(const struct sd_lora_site *site, sd_edit *e, uint32_t *rows, uint32_t *columns) {
    const struct sd_lora_module *m = site->module;
    const sd_file_tensor *whole = m->tensor[ROLE_LOKR_W1], *b = m->tensor[ROLE_LOKR_W1_B];
    if (whole) {
        *rows = sd_lora_dim(whole, 0);
        *columns = sd_lora_dim(whole, 1);
        return sd_lora_load(site, e, ROLE_LOKR_W1, *rows, *columns);
    }
    uint32_t r = sd_lora_dim(b, 0);
    *rows = sd_lora_dim(m->tensor[ROLE_LOKR_W1_A], 0);
    *columns = sd_lora_dim(b, 1);
    sd_matrix product = sd_edit_new(e, *rows, *columns);
    sd_edit_product(e, product, sd_lora_load(site, e, ROLE_LOKR_W1_A, *rows, r),
                    sd_lora_load(site, e, ROLE_LOKR_W1_B, r, *columns), 1, 0);
    return product;
}

/* [rows, columns * taps] */
static sd_matrix right_half(const struct sd_lora_site *site, sd_edit *e, uint32_t rows, uint32_t columns) {
    const struct sd_lora_module *m = site->module;
    uint32_t taps = site->target->taps;
    if (m->tensor[ROLE_LOKR_W2])
        return sd_lora_load(site, e, ROLE_LOKR_W2, rows, columns * taps);
    if (m->tensor[ROLE_LOKR_T2])
        return sd_lora_tucker(site, e,
                              &(struct sd_lora_tucker){ROLE_LOKR_T2, ROLE_LOKR_W2_A, ROLE_LOKR_W2_B, true,
                                                       rows, columns, taps});
    uint32_t r = sd_lora_dim(m->tensor[ROLE_LOKR_W2_B], 0);
    sd_matrix product = sd_edit_new(e, rows, columns * taps);
    sd_edit_product(e, product, sd_lora_load(site, e, ROLE_LOKR_W2_A, rows, r),
                    sd_lora_load(site, e, ROLE_LOKR_W2_B, r, columns * taps), 1, 0);
    return product;
}

static void add(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s) {
    const struct sd_lora_module *m = site->module;
    const struct sd_lora_target *t = site->target;
    uint32_t rows, columns;
    sd_matrix left = left_half(site, e, &rows, &columns);
    if (!rows || !columns || t->n % rows || t->c % columns) {
        sd_edit_fail(e, SD_E_FORMAT, "%s: %s: its left factor of %u x %u does not divide a layer of %u x %u",
                     site->path, m->name, rows, columns, t->n, t->c);
        return;
    }
    uint32_t right_rows = t->n / rows, right_columns = t->c / columns * t->taps;
    sd_matrix right = right_half(site, e, right_rows, t->c / columns);
    sd_matrix change = sd_edit_new(e, t->n, t->c * t->taps);
    const struct matrix_map kron = {.op = MATRIX_MULTIPLY,
                                    .x_index = MATRIX_KRON_LEFT,
                                    .x_p = right_rows,
                                    .x_q = right_columns,
                                    .y_index = MATRIX_KRON_RIGHT,
                                    .y_p = right_rows,
                                    .y_q = right_columns,
                                    .alpha = 1};
    sd_edit_map(e, change, left, right, &kron);
    /* Two whole halves need no rank, and LyCORIS then ignores alpha; PEFT does not. */
    bool whole = m->tensor[ROLE_LOKR_W1] && m->tensor[ROLE_LOKR_W2];
    sd_edit_sum(e, to, to, 1, change, s * (whole && !site->settings->peft ? 1 : m->scale));
}

const struct sd_lora_kind sd_lora_kind_lokr = {"LoKr", fits, rank, add, NULL};
