/* Running a plan on a device: recorded once, replayed every step. */
#ifndef SD_NN_EXEC_H
#define SD_NN_EXEC_H

#include "sd/nn/plan.h"
#include "sd/vk/buffer.h"

typedef struct sd_exec sd_exec;

struct sd_exec_options {
    bool profile;         /* timestamps round every node */
    uint64_t submit_flop; /* work of one submission at most; 0 picks a default that stays below watchdogs */
    /* Before each submission; returning true stops the run with SD_E_CANCELLED. */
    bool (*cancelled)(void *user);
    /* While kernels are compiled, with how many are ready; `cancelled` is asked after each. */
    void (*compiled)(void *user, uint32_t done, uint32_t all);
    void *user;
};

/* Allocates the activation buffer, compiles what is missing and records. Borrows plan and device. */
sd_status sd_exec_create(sd_exec **out, sd_vk *vk, const sd_plan *plan, const struct sd_exec_options *options,
                         sd_error *err);
void sd_exec_destroy(sd_exec **exec);

/* `bytes` must be the tensor's whole size; slices and concatenations are refused. f32 and i32 tensors are
 * copied as they are; f16 ones are converted from and to f32 on the host. */
sd_status sd_exec_write(sd_exec *exec, const sd_tensor *input, const void *data, size_t bytes, sd_error *err);
sd_status sd_exec_read(sd_exec *exec, const sd_tensor *t, void *data, size_t bytes, sd_error *err);

/* `bytes` of a tensor that owns its memory, from byte `at` on, as the device lays them out. */
sd_status sd_exec_write_part(sd_exec *exec, const sd_tensor *input, uint64_t at, const void *data,
                             uint64_t bytes, sd_error *err);
sd_status sd_exec_read_part(sd_exec *exec, const sd_tensor *t, uint64_t at, void *data, uint64_t bytes,
                            sd_error *err);

/* Runs the nodes of one rate and waits. */
sd_status sd_exec_run(sd_exec *exec, sd_rate rate, sd_error *err);

/* Runs prompt-rate and step-rate nodes one by one and calls `hook` after each, when its output is complete
 * and readable. For tests; slow. Stops at the first status that is not SD_OK. */
typedef sd_status (*sd_exec_hook)(void *user, sd_exec *exec, const sd_node *node, sd_error *err);
sd_status sd_exec_run_hooked(sd_exec *exec, sd_exec_hook hook, void *user, sd_error *err);

/* Seconds of each node (plan order) in the last run, 0 for what never ran; needs options.profile. */
sd_status sd_exec_times(sd_exec *exec, double *seconds, uint32_t count, sd_error *err);

/* The activation buffer, for tests that look for stray writes. */
sd_vk_buffer *sd_exec_buffer(sd_exec *exec);

#endif
