/* One network ready to run: graph, plan and executor together. Internal to the sd room. */
#ifndef SD_STAGE_H
#define SD_STAGE_H

#include "sd/nn/exec.h"
#include "sd/sd.h"

/* Who follows a run; {0}: nobody. */
struct sd_watch {
    sd_cancel *cancel; /* or NULL */
    /* While the kernels of a network are compiled; or NULL. */
    void (*compiled)(void *user, uint32_t done, uint32_t all);
    void *user;
};

/* How an executor tells it; `watch` must outlive the executor. */
struct sd_exec_options sd_watch_options(const struct sd_watch *watch);

struct sd_stage {
    sd_graph *graph;
    sd_plan *plan;
    sd_exec *exec;
};

/* An empty graph to record into. */
sd_status sd_stage_begin(struct sd_stage *stage, const struct sd_vk_info *info, sd_dtype act, sd_error *err);
/* Plans, and compiles and records for the device unless `vk` is NULL. A cancel request stops this and later
 * runs, between kernels and between submissions. `watch` must outlive the stage. */
sd_status sd_stage_finish(struct sd_stage *stage, sd_vk *vk, const struct sd_watch *watch, sd_error *err);
/* NULL-safe members; the stage can be begun again. */
void sd_stage_end(struct sd_stage *stage);

sd_status sd_stage_write(struct sd_stage *stage, const sd_tensor *t, const void *data, sd_error *err);
/* Reads the tensor as floats and refuses NaN and infinity: SD_E_NUMERIC naming `what`. */
sd_status sd_stage_read(struct sd_stage *stage, const sd_tensor *t, float *data, const char *what,
                        sd_error *err);
/* The same refusal alone. */
sd_status sd_check_finite(const float *data, size_t count, const char *what, sd_error *err);

#endif
