/* Changes without factors: full differences, norms, (IA)^3 (arXiv 2205.05638), and GLoRA (arXiv 2306.07967).
 */
#include "lora/module.h"

#include <stdlib.h>

static uint32_t no_rank(const struct sd_lora_module *m) {
    (void)m;
    return 0;
}

/* ---- full differences ---- */

static bool diff_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_DIFF];
}

static void diff_add(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s) {
    const struct sd_lora_target *t = site->target;
    sd_edit_sum(e, to, to, 1, sd_lora_load(site, e, ROLE_DIFF, t->n, t->c * t->taps), s);
}

const struct sd_lora_kind sd_lora_kind_diff = {"full difference", diff_fits, no_rank, diff_add, NULL};

static bool norm_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_NORM];
}

static void norm_add(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s) {
    sd_edit_sum(e, to, to, 1, sd_lora_load(site, e, ROLE_NORM, site->target->n, 1), s);
}

const struct sd_lora_kind sd_lora_kind_norm = {"norm difference", norm_fits, no_rank, norm_add, NULL};

/* ---- (IA)^3 ---- */

void sd_lora_scale_axis(const struct sd_lora_site *site, sd_edit *e, sd_lora_role role, bool input,
                        float one) {
    const struct sd_lora_target *t = site->target;
    sd_matrix w = sd_edit_weight(e);
    float *values = sd_lora_values(site, e, role);
    uint64_t count = values ? sd_lora_count(site->module->tensor[role]) : 0;
    for (uint64_t i = 0; i < count; i++)
        values[i] = 1 + site->strength * (values[i] - one);
    if (values && count != (input ? t->c : t->n))
        sd_edit_fail(e, SD_E_FORMAT, "%s: tensor %s: expected %u values, one for each %s, found %llu",
                     site->path, site->module->tensor[role]->name, input ? t->c : t->n,
                     input ? "input" : "output", (unsigned long long)count);
    if (!e->failed) {
        sd_matrix factors =
            sd_edit_values(e, values, (uint32_t)(input ? 1 : count), (uint32_t)(input ? count : 1));
        const struct matrix_map map = {
            .op = MATRIX_MULTIPLY, .y_index = input ? MATRIX_COLUMN : MATRIX_ROW, .y_p = t->taps, .alpha = 1};
        sd_edit_map(e, w, w, factors, &map);
    }
    free(values);
}

static bool ia3_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_IA3] && m->tensor[ROLE_ON_INPUT];
}

static void ia3_replace(const struct sd_lora_site *site, sd_edit *e) {
    sd_lora_scale_axis(site, e, ROLE_IA3, sd_lora_scalar(site->module->tensor[ROLE_ON_INPUT]) != 0, 0);
}

const struct sd_lora_kind sd_lora_kind_ia3 = {"(IA)^3", ia3_fits, no_rank, NULL, ia3_replace};

static bool ia3_peft_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_IA3_L];
}

static void ia3_peft_replace(const struct sd_lora_site *site, sd_edit *e) {
    sd_lora_scale_axis(site, e, ROLE_IA3_L, site->module->input_side, 1);
}

const struct sd_lora_kind sd_lora_kind_ia3_peft = {"(IA)^3", ia3_peft_fits, no_rank, NULL, ia3_peft_replace};

/* ---- GLoRA ---- */

static bool glora_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_GLORA_A1] && m->tensor[ROLE_GLORA_A2] && m->tensor[ROLE_GLORA_B1] &&
           m->tensor[ROLE_GLORA_B2];
}

/* Old files have the pairs the other way round: a1 [r,i], a2 [i,r]. */
static bool glora_is_old(const struct sd_lora_module *m) {
    return sd_lora_dim(m->tensor[ROLE_GLORA_A1], 0) < sd_lora_dim(m->tensor[ROLE_GLORA_A1], 1);
}

static uint32_t glora_rank(const struct sd_lora_module *m) {
    return sd_lora_dim(m->tensor[ROLE_GLORA_A1], glora_is_old(m) ? 0 : 1);
}

/* x [o,i,taps] times f [i,k] along the inputs: [o,k,taps]. */
static sd_matrix along_inputs(const struct sd_lora_target *t, sd_edit *e, sd_matrix x, sd_matrix f) {
    sd_matrix y = sd_edit_new(e, x.rows, f.columns * t->taps);
    if (t->taps == 1) {
        sd_edit_product(e, y, x, f, 1, 0);
        return y;
    }
    sd_edit_products(e, y, f, x,
                     &(struct matrix_product){.m = f.columns,
                                              .n = t->taps,
                                              .k = f.rows,
                                              .batch = x.rows,
                                              .a_row = 1,
                                              .a_column = f.columns,
                                              .b_row = t->taps,
                                              .b_column = 1,
                                              .b_batch = x.columns,
                                              .to_row = t->taps,
                                              .to_batch = y.columns,
                                              .alpha = 1});
    return y;
}

static void glora_add(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s) {
    const struct sd_lora_target *t = site->target;
    const struct sd_lora_module *m = site->module;
    bool old = glora_is_old(m);
    uint32_t r = m->rank;
    sd_matrix first = sd_lora_load(site, e, old ? ROLE_GLORA_A2 : ROLE_GLORA_A1, t->c, r);
    sd_matrix second = sd_lora_load(site, e, old ? ROLE_GLORA_A1 : ROLE_GLORA_A2, r, t->c);
    sd_matrix up = sd_lora_load(site, e, old ? ROLE_GLORA_B2 : ROLE_GLORA_B1, t->n, r);
    sd_matrix down = sd_lora_load(site, e, old ? ROLE_GLORA_B1 : ROLE_GLORA_B2, r, t->c * t->taps);
    sd_matrix change = along_inputs(t, e, along_inputs(t, e, sd_edit_weight(e), first), second);
    sd_edit_product(e, change, up, down, 1, 1);
    sd_edit_sum(e, to, to, 1, change, s * m->scale);
}

const struct sd_lora_kind sd_lora_kind_glora = {"GLoRA", glora_fits, glora_rank, glora_add, NULL};
