/* LoRA (arXiv 2106.09685), LoCon (its convolutions, LyCORIS) and LoCon's Tucker form. */
#include "lora/module.h"

#include <math.h>

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

static float largest(const sd_file_tensor *t) {
    float most = 0;
    for (uint64_t i = 0, count = sd_lora_count(t); i < count; i++)
        most = fmaxf(most, fabsf(sd_file_tensor_value(t, i)));
    return most;
}

/* The factors may be rounded to f16, in which values below 2^-14 lose digits. What is scaled by alpha and
 * strength is often that small; a power of two makes both factors equally large instead. */
void sd_lora_factors(const struct sd_lora_site *site, const struct sd_low_rank *out) {
    const struct sd_lora_module *m = site->module;
    const sd_file_tensor *up = m->tensor[ROLE_UP], *down = m->tensor[ROLE_DOWN];
    float scale = site->strength * m->scale, a = largest(up) * fabsf(scale), b = largest(down);
    int shift = a > 0 && b > 0 && isfinite(a) && isfinite(b) ? (ilogbf(a) - ilogbf(b)) / 2 : 0;
    uint32_t n = site->target->n, inputs = site->target->c * site->target->taps;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < m->rank; k++)
            out->up[(uint64_t)i * out->up_pitch + k] =
                ldexpf(scale * sd_file_tensor_value(up, (uint64_t)i * m->rank + k), -shift);
    for (uint32_t k = 0; k < m->rank; k++)
        for (uint32_t i = 0; i < inputs; i++)
            out->down[(uint64_t)k * out->down_pitch + i] =
                ldexpf(sd_file_tensor_value(down, (uint64_t)k * inputs + i), shift);
}

const struct sd_lora_kind sd_lora_kind_lora = {"LoRA", fits, rank, add, NULL};
