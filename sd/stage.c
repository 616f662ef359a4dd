#include "sd/stage.h"

#include <math.h>

sd_status sd_stage_begin(struct sd_stage *stage, const struct sd_vk_info *info, sd_dtype act, sd_error *err) {
    *stage = (struct sd_stage){0};
    return sd_graph_create(&stage->graph, info, act, err);
}

static bool is_cancelled(void *user) {
    const struct sd_watch *watch = user;
    return sd_cancel_requested(watch->cancel);
}

static void on_compiled(void *user, uint32_t done, uint32_t all) {
    const struct sd_watch *watch = user;
    if (watch->compiled)
        watch->compiled(watch->user, done, all);
}

struct sd_exec_options sd_watch_options(const struct sd_watch *watch) {
    return (struct sd_exec_options){
        .cancelled = is_cancelled, .compiled = on_compiled, .user = (void *)watch};
}

sd_status sd_stage_finish(struct sd_stage *stage, sd_vk *vk, const struct sd_watch *watch, sd_error *err) {
    const struct sd_exec_options options = sd_watch_options(watch);
    sd_status status = sd_plan_create(&stage->plan, stage->graph, NULL, err);
    return status || !vk ? status : sd_exec_create(&stage->exec, vk, stage->plan, &options, err);
}

void sd_stage_end(struct sd_stage *stage) {
    sd_exec_destroy(&stage->exec);
    sd_plan_destroy(&stage->plan);
    sd_graph_destroy(&stage->graph);
}

static size_t elements(const sd_tensor *t) {
    return (size_t)sd_tensor_rows(t) * t->c;
}

sd_status sd_stage_write(struct sd_stage *stage, const sd_tensor *t, const void *data, sd_error *err) {
    return sd_exec_write(stage->exec, t, data, elements(t) * 4, err);
}

sd_status sd_stage_read(struct sd_stage *stage, const sd_tensor *t, float *data, const char *what,
                        sd_error *err) {
    size_t count = elements(t);
    sd_status status = sd_exec_read(stage->exec, t, data, count * sizeof *data, err);
    return status ? status : sd_check_finite(data, count, what, err);
}

sd_status sd_check_finite(const float *data, size_t count, const char *what, sd_error *err) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(data[i]))
            return sd_fail(err, SD_E_NUMERIC, "%s gave %s at value %zu of %zu", what,
                           isnan(data[i]) ? "NaN" : "infinity", i, count);
    return SD_OK;
}
