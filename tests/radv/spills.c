/* No kernel of the networks spills registers on AMD GPUs: every pipeline that SD 1.5 needs at 512x512 is
 * compiled by RADV for a GPU that RADV_FORCE_FAMILY names and that need not be there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "clip/text_model.h"
#include "sd/nn/op.h"
#include "sd/nn/plan.h"
#include "tests/radv/statistics.h"
#include "unet/unet.h"
#include "vae/vae.h"

enum { most_pipelines = 512, most_specs = 32 };

/* The ops record into this instead of into commands. */
struct sd_emit {
    struct sd_vk_info info;
    struct sd_dispatch dispatches[most_pipelines];
    uint32_t specs[most_pipelines][most_specs];
    uint32_t count;
};

const struct sd_vk_info *sd_emit_info(const sd_emit *e) {
    return &e->info;
}

uint64_t sd_emit_address(const sd_emit *e, const sd_tensor *t) {
    (void)e;
    return t->owner->place + (uint64_t)t->offset * sd_dtype_size(t->dtype);
}

void sd_emit_barrier(sd_emit *e) {
    (void)e;
}

void sd_emit_dispatch(sd_emit *e, const struct sd_dispatch *d) {
    for (uint32_t i = 0; i < e->count; i++) {
        const struct sd_dispatch *old = &e->dispatches[i];
        if (old->shader == d->shader && old->spec_count == d->spec_count && old->subgroup == d->subgroup &&
            (!d->spec_count || !memcmp(old->spec, d->spec, d->spec_count * sizeof *d->spec)))
            return;
    }
    assert_true(e->count < most_pipelines && d->spec_count <= most_specs);
    uint32_t *spec = e->specs[e->count];
    for (uint32_t i = 0; i < d->spec_count; i++)
        spec[i] = d->spec[i];
    e->dispatches[e->count] = *d;
    e->dispatches[e->count++].spec = spec;
}

static void record_plan(sd_emit *e, sd_graph *g) {
    sd_plan *plan;
    sd_error err;
    if (sd_plan_create(&plan, g, NULL, &err))
        fail_msg("%s", err.message);
    for (uint32_t i = 0; i < plan->count; i++)
        plan->order[i]->op->record(plan->order[i], e);
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
}

static sd_graph *new_graph(const sd_emit *e, sd_dtype act) {
    sd_graph *g;
    sd_error err;
    assert_int_equal(sd_graph_create(&g, &e->info, act, &err), SD_OK);
    return g;
}

static sd_weights *new_weights(void) {
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    return w;
}

static void assume(const sd_emit *e, sd_weights *w) {
    sd_error err;
    assert_int_equal(sd_weights_assume(w, &e->info, SD_WEIGHTS_F16, &err), SD_OK);
}

/* As a file with blocks of this type would make them; no value and no size is looked at here. */
static void assume_blocks(sd_weights *w, sd_dtype type) {
    for (size_t i = 0; i < sd_weights_count(w); i++) {
        sd_weight *x = (sd_weight *)sd_weights_at(w, i);
        bool matrix =
            x->form == SD_WEIGHT_GEMM || x->form == SD_WEIGHT_GEGLU || x->form == SD_WEIGHT_UPSAMPLE;
        if (matrix && x->c % 32 == 0)
            x->dtype = type;
    }
}

/* `type`: of the weights, SD_F16 or quantised. */
static void record_unet(sd_emit *e, sd_dtype act, sd_dtype type) {
    struct sd_unet *unet;
    struct sd_unet_inputs in;
    sd_error err;
    sd_weights *w = new_weights();
    sd_graph *g = new_graph(e, act);
    assert_int_equal(sd_unet_bind(&unet, sd_unet_config_find("sd1"), false, w, &err), SD_OK);
    assume(e, w);
    if (sd_dtype_quantised(type))
        assume_blocks(w, type);
    sd_unet_declare(g, &unet->config, 2, 64, 64, SD_TEXT_TOKENS, 0, &in);
    sd_graph_output(g, sd_unet_forward(g, unet, &in, NULL), "noise");
    record_plan(e, g);
    sd_unet_destroy(&unet);
    sd_weights_destroy(NULL, &w);
}

static void record_networks(sd_emit *e, sd_dtype act) {
    struct sd_vae_decoder decoder;
    struct sd_text_model text;
    sd_weights *w = new_weights();
    sd_graph *g = new_graph(e, act);
    record_unet(e, act, SD_F16);
    sd_vae_bind_decoder(&decoder, w, &sd_vae_sd1);
    assume(e, w);
    sd_graph_output(
        g,
        sd_vae_decode(g, &sd_vae_sd1, &decoder, sd_graph_input(g, "z", SD_RATE_STEP, SD_F32, 1, 64, 64, 4)),
        "picture");
    record_plan(e, g);
    sd_weights_destroy(NULL, &w);

    w = new_weights();
    g = new_graph(e, act);
    sd_text_bind(&text, w, &sd_text_clip_l);
    assume(e, w);
    sd_tensor *tokens = sd_graph_input(g, "tokens", SD_RATE_STEP, SD_I32, 2, 1, SD_TEXT_TOKENS, 1);
    sd_graph_output(
        g,
        sd_text_forward(g, &sd_text_clip_l, &text, &(struct sd_text_request){.final_norm = true}, tokens)
            .hidden,
        "text");
    record_plan(e, g);
    sd_weights_destroy(NULL, &w);
}

static bool is_busy(const char *name) {
    return !strncmp(name, "gemm", 4) || !strncmp(name, "attention", 9);
}

static void no_kernel_spills(void **state) {
    (void)state;
    /* One of each way to hold codes and scales. */
    static const sd_dtype types[] = {SD_Q4_0, SD_Q5_1, SD_Q8_0, SD_IQ4_NL,
                                     SD_Q2_K, SD_Q3_K, SD_Q4_K, SD_Q6_K};
    static const uint32_t cores[] = {1, 40, 1000}; /* so that every size of tile is the best somewhere */
    sd_emit *e = calloc(1, sizeof *e);
    size_t devices;
    sd_error err;
    uint32_t busy = 0, coop = 0;
    assert_non_null(e);
    if (sd_vk_list(&e->info, 1, &devices, &err))
        fail_msg("%s", err.message);
    print_message("%s, %s\n", e->info.name, e->info.driver);
    assert_non_null(strstr(e->info.name, "RADV"));
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++) {
        e->info.cores = cores[i];
        record_networks(e, SD_F16);
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            record_unet(e, SD_F16, types[k]);
    }
    record_networks(e, SD_F32);
    compiler *c = compiler_open(e->info.coop.m > 0);
    for (uint32_t i = 0; i < e->count; i++) {
        const struct sd_dispatch *d = &e->dispatches[i];
        struct statistics s = compiler_measure(c, d);
        busy += is_busy(d->shader->name);
        coop += strstr(d->shader->name, "coop") != NULL;
        print_message("%-18s VGPRs %3u, shared memory %5u, subgroups a SIMD %2u\n", d->shader->name,
                      (unsigned)s.vgprs, (unsigned)s.shared, (unsigned)s.subgroups);
        if (s.spilled_vgprs || s.spilled_sgprs || s.scratch)
            fail_msg("%s spills %u vector and %u scalar registers, %u bytes of scratch memory",
                     d->shader->name, (unsigned)s.spilled_vgprs, (unsigned)s.spilled_sgprs,
                     (unsigned)s.scratch);
        /* Two waves hide a load's latency; fewer would mean that something went badly wrong. */
        assert_true(!is_busy(d->shader->name) || s.subgroups >= 2);
    }
    assert_true(busy >= 10);
    assert_true(!e->info.coop.m == !coop);
    compiler_close(&c);
    free(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_kernel_spills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
