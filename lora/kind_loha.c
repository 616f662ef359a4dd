/* LoHa: the elementwise product of two low-rank matrices (FedPara, arXiv 2108.06098; LyCORIS). */
#include "lora/module.h"

static bool fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_HADA_W1_A] && m->tensor[ROLE_HADA_W1_B] && m->tensor[ROLE_HADA_W2_A] &&
           m->tensor[ROLE_HADA_W2_B];
}

static uint32_t rank(const struct sd_lora_module *m) {
    return sd_lora_dim(m->tensor[ROLE_HADA_W1_B], 0);
}

static sd_matrix factor(const struct sd_lora_site *site, sd_edit *e, sd_lora_role a, sd_lora_role b,
                        sd_lora_role core) {
    const struct sd_lora_target *t = site->target;
    if (site->module->tensor[core])
        return sd_lora_tucker(site, e, &(struct sd_lora_tucker){core, a, b, true, t->n, t->c, t->taps});
    sd_matrix product = sd_edit_new(e, t->n, t->c * t->taps);
    uint32_t r = site->module->rank;
    sd_edit_product(e, product, sd_lora_load(site, e, a, t->n, r),
                    sd_lora_load(site, e, b, r, t->c * t->taps), 1, 0);
    return product;
}

static void add(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s) {
    sd_matrix left = factor(site, e, ROLE_HADA_W1_A, ROLE_HADA_W1_B, ROLE_HADA_T1);
    sd_matrix right = factor(site, e, ROLE_HADA_W2_A, ROLE_HADA_W2_B, ROLE_HADA_T2);
    sd_edit_multiply(e, left, left, right, 1);
    sd_edit_sum(e, to, to, 1, left, s * site->module->scale);
}

const struct sd_lora_kind sd_lora_kind_loha = {"LoHa", fits, rank, add, NULL};
