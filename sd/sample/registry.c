#include <string.h>

#include "sd/base/str.h"
#include "sd/sample/name.h"
#include "sd/sample/run.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* name, aliases, label, order, order_max, calls, uses_noise, eta, brownian, schedule, run */
static const sd_sampler rows[] = {
    {"euler", NULL, "Euler", 1, 0, 1, false, 0, false, "uniform", sd_sampler_euler},
    {"euler_a", NAMES("euler_ancestral"), "Euler a", 1, 0, 1, true, 1, false, "uniform", sd_sampler_euler_a},
    {"heun", NULL, "Heun", 2, 0, 2, false, 0, false, "uniform", sd_sampler_heun},
    {"dpm2", NAMES("dpm_2"), "DPM2", 2, 0, 2, false, 0, false, "uniform", sd_sampler_dpm2},
    {"dpm2_a", NAMES("dpm_2_ancestral"), "DPM2 a", 2, 0, 2, true, 1, false, "uniform", sd_sampler_dpm2_a},
    {"dpmpp_2s_a", NAMES("dpmpp_2s_ancestral"), "DPM++ 2S a", 2, 0, 2, true, 1, false, "karras",
     sd_sampler_dpmpp_2s_a},
    {"dpmpp_sde", NULL, "DPM++ SDE", 2, 0, 2, true, 1, true, "karras", sd_sampler_dpmpp_sde},
    {"dpmpp_2m", NULL, "DPM++ 2M", 2, 0, 1, false, 0, false, "karras", sd_sampler_dpmpp_2m},
    {"dpmpp_2m_sde", NULL, "DPM++ 2M SDE", 2, 0, 1, true, 1, true, "exponential", sd_sampler_dpmpp_2m_sde},
    {"dpmpp_2m_sde_heun", NULL, "DPM++ 2M SDE Heun", 2, 0, 1, true, 1, true, "exponential",
     sd_sampler_dpmpp_2m_sde_heun},
    {"dpmpp_3m_sde", NULL, "DPM++ 3M SDE", 3, 0, 1, true, 1, true, "exponential", sd_sampler_dpmpp_3m_sde},
    {"ddim", NULL, "DDIM", 1, 0, 1, false, 0, false, "leading", sd_sampler_ddim},
    {"ddpm", NULL, "DDPM", 1, 0, 1, true, 1, false, "leading", sd_sampler_ddim},
    {"unipc", NAMES("uni_pc_bh2", "unipc_bh2", "uni_pc"), "UniPC", 2, 3, 1, false, 0, false, "uniform",
     sd_sampler_unipc},
    {"lms", NULL, "LMS", 4, 4, 1, false, 0, false, "uniform", sd_sampler_lms},
    {"deis", NULL, "DEIS", 2, 3, 1, false, 0, false, "uniform", sd_sampler_deis},
    {"lcm", NULL, "LCM", 1, 0, 1, true, 1, false, "lcm", sd_sampler_lcm},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

const sd_sampler *sd_samplers(uint32_t *count) {
    *count = ROWS;
    return rows;
}

static const sd_sampler *find_folded(const char *folded) {
    for (uint32_t i = 0; i < ROWS; i++)
        if (sd_name_is(folded, rows[i].name, rows[i].aliases) || sd_name_is(folded, rows[i].label, NULL))
            return &rows[i];
    return NULL;
}

/* A label such as "DPM++ 2M Karras": every cut into a sampler's and a schedule's name. */
static const sd_sampler *find_with_schedule(const char *folded, const sd_schedule **schedule) {
    size_t length = strlen(folded);
    for (size_t cut = length - 1; cut > 0; cut--) {
        char head[SD_NAME_MAX];
        memcpy(head, folded, cut);
        head[cut] = 0;
        const sd_sampler *found = find_folded(head);
        const sd_schedule *tail = found ? sd_schedule_find(folded + cut) : NULL;
        if (tail) {
            *schedule = tail;
            return found;
        }
    }
    return NULL;
}

sd_status sd_sampler_find(const char *text, const sd_sampler **sampler, const sd_schedule **schedule,
                          sd_error *err) {
    char folded[SD_NAME_MAX];
    const sd_schedule *implied = NULL;
    const sd_sampler *found = NULL;
    if (sd_name_fold(text, folded)) {
        found = find_folded(folded);
        if (!found)
            found = find_with_schedule(folded, &implied);
    }
    if (!found) {
        const char *names[ROWS + 1] = {0};
        for (uint32_t i = 0; i < ROWS; i++)
            names[i] = rows[i].name;
        const char *near = sd_closest(text, names);
        if (near)
            return sd_fail(err, SD_E_NOT_FOUND, "unknown sampler '%s'; did you mean '%s'?", text, near);
        return sd_fail(err, SD_E_NOT_FOUND, "unknown sampler '%s'", text);
    }
    if (sampler)
        *sampler = found;
    if (schedule)
        *schedule = implied ? implied : sd_schedule_find(found->schedule);
    return SD_OK;
}

bool sd_sampler_needs_noise(const sd_sampler *sampler, const sd_sampler_options *options) {
    bool takes_eta =
        sampler->run == sd_sampler_ddim || (sampler->uses_noise && sampler->run != sd_sampler_lcm);
    bool adds = options->eta_set && takes_eta ? options->eta > 0 : sampler->uses_noise;
    return adds || options->s_churn > 0;
}
