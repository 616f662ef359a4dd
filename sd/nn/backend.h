/* What the executor needs from a device, as a table of functions, so that a second backend can stand beside
 * Vulkan. A backend runs the nodes of a plan in its order; how it carries out an op is its own affair, and
 * Vulkan's way is to call the op's `record`. The executor cuts the plan into pieces, runs those of a rate,
 * asks for cancels, calls hooks and converts what the host sees.
 *
 * Weights are not behind the table: how they are packed is the kernels' own, and what sd_weight.address means
 * is between a backend's loader and its kernels. */
#ifndef SD_NN_BACKEND_H
#define SD_NN_BACKEND_H

#include "sd/nn/exec.h"

enum { SD_BACKEND_BATCH = 64 };

/* All functions are called by one thread at a time. `state` is what `open` made; a piece is what `record`
 * made. Those that can fail fill `err`, and leave nothing behind when they do. */
struct sd_backend {
    /* Memory for the activations of a plan. `device` is the caller's of sd_exec_create_on. */
    sd_status (*open)(void **state, void *device, const sd_plan *plan, sd_error *err);
    /* After its pieces were discarded. */
    void (*close)(void *state);
    /* Once, before the first `record`: compiles kernels, telling options->compiled and asking
     * options->cancelled, which makes it SD_E_CANCELLED. */
    sd_status (*prepare)(void *state, const struct sd_exec_options *options, sd_error *err);
    /* Nodes [first, last) of the plan's order, to be run any number of times; with `profile` each is timed.
     */
    sd_status (*record)(void *state, uint32_t first, uint32_t last, bool profile, void **piece,
                        sd_error *err);
    void (*discard)(void *state, void *piece);
    /* Runs up to SD_BACKEND_BATCH pieces in this order and waits; later ones see what earlier ones wrote. */
    sd_status (*submit)(void *state, void *const *pieces, uint32_t count, sd_error *err);
    /* Between the host and `at` bytes into the activations; everything submitted is over. */
    sd_status (*write)(void *state, uint64_t at, const void *data, uint64_t bytes, sd_error *err);
    sd_status (*read)(void *state, uint64_t at, void *data, uint64_t bytes, sd_error *err);
    /* Seconds of each node in the last run of a piece that was recorded with `profile`; 0s before it. */
    sd_status (*times)(void *state, void *piece, double *seconds, uint32_t nodes, sd_error *err);
};

/* `device` is an sd_vk. sd_exec_create uses it. */
extern const struct sd_backend sd_backend_vulkan;

/* sd_exec_create for any backend. Borrows all that it is given but the options. */
sd_status sd_exec_create_on(sd_exec **out, const struct sd_backend *backend, void *device,
                            const sd_plan *plan, const struct sd_exec_options *options, sd_error *err);

/* For what only one backend can do. */
void *sd_exec_state(sd_exec *exec);

#endif
