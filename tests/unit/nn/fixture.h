/* A graph with inputs of every type and layers to use on them, for tests that need no device. */
#ifndef UNIT_NN_FIXTURE_H
#define UNIT_NN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/nn/ops.h"
#include "tests/unit/gpu.h"

/* A graph of f16 activations, inputs of every type, and layers that read 8 channels. */
struct fixture {
    sd_graph *g;
    sd_weights *w;
    sd_tensor *x;      /* [1,4,6,8] f16, every step */
    sd_tensor *prompt; /* [1,1,7,8] f16, once a prompt */
    sd_tensor *wide;   /* [1,4,6,12] f16 */
    sd_tensor *tokens; /* [1,1,5,1] i32 */
    sd_tensor *t;      /* [2,1,1,1] f32 */
    sd_layer linear, conv, geglu, upsample, norm;
    const sd_weight *table, *positions;
};

static inline struct fixture open_fixture(void) {
    struct fixture f;
    sd_error err;
    assert_int_equal(sd_graph_create(&f.g, &gpu, SD_F16, &err), SD_OK);
    assert_int_equal(sd_weights_create(&f.w, &err), SD_OK);
    f.linear = sd_bind_linear(f.w, 16, 8, true, "linear");
    f.conv = sd_bind_conv(f.w, 16, 8, 3, "conv");
    f.geglu = sd_bind_geglu(f.w, 20, 8, "geglu");
    f.upsample = sd_bind_upsample(f.w, 16, 8, "upsample");
    f.norm = sd_bind_norm(f.w, 8, "norm");
    f.table = sd_bind_table(f.w, 10, 8, "table");
    f.positions = sd_bind_table(f.w, 4, 8, "positions");
    assert_int_equal(sd_weights_assume(f.w, &gpu, SD_WEIGHTS_F16, &err), SD_OK);
    f.x = sd_graph_input(f.g, "x", SD_RATE_STEP, SD_F16, 1, 4, 6, 8);
    f.prompt = sd_graph_input(f.g, "prompt", SD_RATE_PROMPT, SD_F16, 1, 1, 7, 8);
    f.wide = sd_graph_input(f.g, "wide", SD_RATE_STEP, SD_F16, 1, 4, 6, 12);
    f.tokens = sd_graph_input(f.g, "tokens", SD_RATE_PROMPT, SD_I32, 1, 1, 5, 1);
    f.t = sd_graph_input(f.g, "t", SD_RATE_STEP, SD_F32, 2, 1, 1, 1);
    assert_int_equal(sd_graph_status(f.g, &err), SD_OK);
    return f;
}

static inline void close_fixture(struct fixture *f) {
    sd_weights_destroy(NULL, &f->w);
    sd_graph_destroy(&f->g);
}

#endif
