/* LoRA (arXiv 2106.09685), LoCon (its convolutions, LyCORIS) and LoCon's Tucker form. */
#include "lora/module.h"

static bool fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_UP] && m->tensor[ROLE_DOWN];
}

static uint32_t rank(const struct sd_lora_module *m) {
    return sd_lora_dim(m->tensor[ROLE_DOWN], 0);
}

static void add(const struct sd_lora_site *site, sd_edit *e, sd_matrix to, float s) {
    const struct sd_lora_module *m = site->module;
    const struct sd_lora_target *t = site->target;
    float scale = s * m->scale;
    if (m->tensor[ROLE_MID]) {
        const struct sd_lora_tucker tucker = {ROLE_MID, ROLE_UP, ROLE_DOWN, false, t->n, t->c, t->taps};
        sd_edit_sum(e, to, to, 1, sd_lora_tucker(site, e, &tucker), scale);
        return;
    }
    sd_matrix up = sd_lora_load(site, e, ROLE_UP, t->n, m->rank);
    sd_matrix down = sd_lora_load(site, e, ROLE_DOWN, m->rank, t->c * t->taps);
    sd_edit_product(e, to, up, down, scale, 1);
}

const struct sd_lora_kind sd_lora_kind_lora = {"LoRA", fits, rank, add, NULL};
