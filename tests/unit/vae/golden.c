/* The autoencoders against diffusers' AutoencoderKL, at sizes that are no powers of two. */
#include "tests/golden/golden.h"
#include "vae/vae.h"

#include <stdio.h>

static void read_config(golden *t, const char *family, struct sd_vae_config *out) {
    sd_bytes text = golden_config(t);
    sd_error err;
    if (sd_vae_config_parse(out, (const char *)text.data, text.size, family, &err))
        fail_msg("%s", err.message);
}

static void decode(void **state, const char *family, const char *batch, sd_dtype act, bool hooks) {
    golden *t = golden_begin(state, family, "vae", act);
    struct sd_vae_config config;
    struct sd_vae_decoder decoder;
    char scope[64];
    read_config(t, family, &config);
    sd_vae_bind_decoder(&decoder, golden_weights(t), &config);
    sd_tensor *z = golden_input(t, SD_RATE_STEP, golden_find(t, "vae.%s.in.latent", batch));
    sd_tensor *out = sd_vae_decode(golden_graph(t), &config, &decoder, z);
    golden_expect(t, out, golden_find(t, "vae.%s.out.picture", batch));
    if (hooks) {
        golden_expect_node(t, "decoder", "linear", 0, golden_find(t, "vae.b1.hook.post_quant_conv"));
        golden_expect_node(t, "decoder", "conv2d", 0, golden_find(t, "vae.b1.hook.decoder.conv_in"));
        golden_expect_node(t, "decoder.mid_block", "linear", 1,
                           golden_find(t, "vae.b1.hook.decoder.mid_block.attentions.0"));
        golden_expect_node(t, "decoder.mid_block", NULL, 0, golden_find(t, "vae.b1.hook.decoder.mid_block"));
        golden_expect_node(t, "decoder.up_blocks.0", "conv2d", 1,
                           golden_find(t, "vae.b1.hook.decoder.up_blocks.0.resnets.0"));
        for (uint32_t i = 0; i < config.levels; i++) {
            snprintf(scope, sizeof scope, "decoder.up_blocks.%u", i);
            golden_expect_node(t, scope, NULL, 0, golden_find(t, "vae.b1.hook.%s", scope));
        }
    }
    golden_run(t);
    golden_end(&t);
}

static void encode(void **state, const char *family, const char *batch, sd_dtype act, bool hooks) {
    golden *t = golden_begin(state, family, "vae", act);
    struct sd_vae_config config;
    struct sd_vae_encoder encoder;
    char scope[64];
    read_config(t, family, &config);
    sd_vae_bind_encoder(&encoder, golden_weights(t), &config);
    sd_tensor *picture = golden_input(t, SD_RATE_STEP, golden_find(t, "vae.%s.in.picture", batch));
    sd_tensor *out = sd_vae_encode(golden_graph(t), &config, &encoder, picture);
    golden_expect(t, out, golden_find(t, "vae.%s.out.moments", batch));
    if (hooks) {
        golden_expect_node(t, "encoder.mid_block", NULL, 0, golden_find(t, "vae.b1.hook.encoder.mid_block"));
        for (uint32_t i = 0; i < config.levels; i++) {
            snprintf(scope, sizeof scope, "encoder.down_blocks.%u", i);
            golden_expect_node(t, scope, NULL, 0, golden_find(t, "vae.b1.hook.%s", scope));
        }
    }
    golden_run(t);
    golden_end(&t);
}

static const char *const families[] = {"sd1", "sd2", "sdxl", "refiner"};

static void every_decoder(void **state, sd_dtype act) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        decode(state, families[i], "b1", act, !i);
    decode(state, "sd1", "b3", act, false);
}

static void every_encoder(void **state, sd_dtype act) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        encode(state, families[i], "b1", act, !i);
    encode(state, "sd1", "b3", act, false);
}

static void decoders_f32(void **state) {
    every_decoder(state, SD_F32);
}

static void decoders_f16(void **state) {
    every_decoder(state, SD_F16);
}

static void encoders_f32(void **state) {
    every_encoder(state, SD_F32);
}

static void encoders_f16(void **state) {
    every_encoder(state, SD_F16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoders_f32),
        cmocka_unit_test(encoders_f32),
        cmocka_unit_test(decoders_f16),
        cmocka_unit_test(encoders_f16),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
