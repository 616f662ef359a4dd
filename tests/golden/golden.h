/* Whole networks against the files of tests/golden/networks: a graph whose inputs and expected values are
 * tensors of golden.safetensors. README.md explains the names. */
#ifndef SD_TESTS_GOLDEN_H
#define SD_TESTS_GOLDEN_H

#include "tests/op/optest.h"

#include "sd/io/file.h"
#include "sd/io/safetensors.h"

typedef struct golden golden;

/* A new graph with activations of type `act` for the part (a folder: "vae") of a family; `state` holds the
 * device of optest_open. */
golden *golden_begin(void **state, const char *family, const char *part, sd_dtype act);
/* Frees everything that was handed out. */
void golden_end(golden **handle);

sd_graph *golden_graph(golden *t);
sd_weights *golden_weights(golden *t); /* bind the network here */
sd_bytes golden_config(golden *t);     /* the part's config.json; owned by t */

/* Weights come from here instead of the part's folder. */
void golden_source(golden *t, const struct sd_weight_source *source);

/* The golden tensor, checked to exist. */
const sd_file_tensor *golden_find(golden *t, const char *name, ...) SD_PRINTF(2, 3);

/* An input that will hold the golden tensor: [N,C,H,W] as [N,H,W,C], token ids [N,T] as [N,1,T,1]. */
sd_tensor *golden_input(golden *t, sd_rate rate, const sd_file_tensor *value);

/* `out` must come near the golden tensor ([N,C,H,W], [N,T,C] or [N,C]): the norm of the difference is at most
 * 1e-4 of the reference's norm with f32 activations (sums of thousands of terms in another order), and 38 dB
 * below it with f16 ones. */
void golden_expect(golden *t, sd_tensor *out, const sd_file_tensor *want);
/* The same for one row of tokens per image: out [N,1,T,C], row[N], golden tensor [N,C]. */
void golden_expect_rows(golden *t, sd_tensor *out, const uint32_t *rows, const sd_file_tensor *want);
/* The same for what the last node in `scope` (or, unless NULL, the one number `index` of those that run `op`)
 * gives. */
void golden_expect_node(golden *t, const char *scope, const char *op, uint32_t index,
                        const sd_file_tensor *want);

/* Loads the weights and runs twice: node by node with memory of its own for every tensor, comparing
 * everything, and as in use, with memory used again, comparing what golden_expect named. */
void golden_run(golden *t);

#endif
