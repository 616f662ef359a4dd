/* What the planner needs at 512 x 512, without a device. The bounds are half and a quarter of the work
 * buffers that stable-diffusion.cpp takes there (560 and 1,664 MiB). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/nn/plan.h"
#include "sd/nn/strips.h"
#include "tests/unit/gpu.h"
#include "unet/unet.h"
#include "vae/vae.h"

static double planned_mib(sd_graph *g, double *gmac) {
    sd_plan *plan;
    sd_error err;
    if (sd_plan_create(&plan, g, NULL, &err))
        fail_msg("%s", err.message);
    double mib = (double)plan->stats.activation_bytes / (1 << 20);
    *gmac = (double)(plan->stats.flop[0] + plan->stats.flop[1]) / 2e9;
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
    return mib;
}

static void sd1_unet_with_guidance(void **state) {
    (void)state;
    sd_weights *w;
    struct sd_unet *unet;
    struct sd_unet_inputs in;
    sd_graph *g;
    sd_error err;
    double gmac;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    assert_int_equal(sd_unet_bind(&unet, sd_unet_config_find("sd1"), false, w, &err), SD_OK);
    assert_int_equal(sd_weights_assume(w, &gpu, SD_WEIGHTS_F16, &err), SD_OK);
    assert_int_equal(sd_graph_create(&g, &gpu, SD_F16, &err), SD_OK);
    sd_unet_declare(g, &unet->config, 2, 64, 64, 77, 0, &in);
    sd_graph_output(g, sd_unet_forward(g, unet, &in, NULL), "noise");
    double mib = planned_mib(g, &gmac);
    print_message("UNet: %.1f MiB of activations, %.1f MiB of weights, %.1f GMAC\n", mib,
                  (double)sd_weights_bytes(w) / (1 << 20), gmac);
    assert_true(mib <= 250);
    assert_true(gmac > 750 &&
                gmac < 810); /* 803 with plain upsampling convolutions, less with the four-phase form */
    sd_unet_destroy(&unet);
    sd_weights_destroy(NULL, &w);
}

static void sd1_decoder(void **state) {
    (void)state;
    sd_weights *w;
    struct sd_vae_decoder d;
    sd_graph *g;
    sd_error err;
    double gmac;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    sd_vae_bind_decoder(&d, w, &sd_vae_sd1);
    assert_int_equal(sd_weights_assume(w, &gpu, SD_WEIGHTS_F16, &err), SD_OK);
    assert_int_equal(sd_weights_parameters(w), 49490199);
    assert_int_equal(sd_graph_create(&g, &gpu, SD_F16, &err), SD_OK);
    sd_graph_output(
        g, sd_vae_decode(g, &sd_vae_sd1, &d, sd_graph_input(g, "z", SD_RATE_STEP, SD_F32, 1, 64, 64, 4)),
        "picture");
    double mib = planned_mib(g, &gmac);
    print_message("VAE decoder: %.1f MiB of activations, %.1f GMAC\n", mib, gmac);
    assert_true(mib <= 400);
    assert_true(gmac > 1000 && gmac < 1257);
    sd_weights_destroy(NULL, &w);
}

static struct sd_strips_stats decoder_within(uint32_t pixels, uint64_t mib, uint64_t all_mib) {
    const struct sd_strips_limits limits = {mib << 20, all_mib ? all_mib << 20 : UINT64_MAX};
    sd_weights *w;
    struct sd_vae_decoder d;
    sd_graph *g;
    sd_strips *strips;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    sd_vae_bind_decoder(&d, w, &sd_vae_sd1);
    assert_int_equal(sd_weights_assume(w, &gpu, SD_WEIGHTS_F16, &err), SD_OK);
    assert_int_equal(sd_graph_create(&g, &gpu, SD_F16, &err), SD_OK);
    sd_tensor *z = sd_graph_input(g, "z", SD_RATE_STEP, SD_F32, 1, pixels / 8, pixels / 8, 4);
    sd_graph_output(g, sd_vae_decode(g, &sd_vae_sd1, &d, z), "picture");
    if (sd_strips_create(&strips, g, &limits, &err))
        fail_msg("%s", err.message);
    struct sd_strips_stats stats = *sd_strips_stats(strips);
    print_message("VAE decoder, %u x %u: %.1f MiB, on the host %.1f, together %.1f, %.1f GMAC\n", pixels,
                  pixels, (double)stats.device_bytes / (1 << 20), (double)stats.host_bytes / (1 << 20),
                  (double)stats.all_bytes / (1 << 20), (double)stats.flop / 2e9);
    sd_strips_destroy(&strips);
    sd_graph_destroy(&g);
    sd_weights_destroy(NULL, &w);
    return stats;
}

/* A fifth of the memory for a fiftieth more work, as long as the host has room. Where host and device share
 * their memory, two thirds of it in all for a fifth more work. */
static void sd1_decoder_in_strips(void **state) {
    (void)state;
    for (uint32_t pixels = 512; pixels <= 1024; pixels *= 2) {
        uint64_t scale = pixels / 512 * (pixels / 512);
        struct sd_strips_stats whole = decoder_within(pixels, 100000, 0),
                               strips = decoder_within(pixels, 64 * scale, 0),
                               shared = decoder_within(pixels, 200 * scale, 200 * scale);
        assert_int_equal(whole.strips, 1);
        assert_true(strips.device_bytes <= 64 * scale << 20);
        assert_true((double)strips.flop < 1.02 * (double)whole.flop);
        assert_true(strips.host_bytes <= 260 * scale << 20);
        assert_true(shared.all_bytes <= 200 * scale << 20);
        assert_true((double)shared.flop < 1.2 * (double)whole.flop);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sd1_unet_with_guidance),
                                       cmocka_unit_test(sd1_decoder),
                                       cmocka_unit_test(sd1_decoder_in_strips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
