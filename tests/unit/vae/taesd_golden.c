/* TAESD against diffusers' AutoencoderTiny (tests/golden/parts.py). */
#include "tests/golden/golden.h"
#include "vae/taesd.h"

static const struct sd_taesd_config config = {.width = 16, .encoder = true};

static void decode(void **state, sd_dtype act) {
    golden *t = golden_begin(state, "../parts", "taesd", act);
    struct sd_taesd_half decoder;
    sd_taesd_bind_decoder(&decoder, golden_weights(t), &config);
    sd_tensor *latent = golden_input(t, SD_RATE_STEP, golden_find(t, "taesd.in.latent"));
    golden_expect(t, sd_taesd_decode(golden_graph(t), &decoder, latent), golden_find(t, "taesd.out.picture"));
    golden_run(t);
    golden_end(&t);
}

static void encode(void **state, sd_dtype act) {
    golden *t = golden_begin(state, "../parts", "taesd", act);
    struct sd_taesd_half encoder;
    sd_taesd_bind_encoder(&encoder, golden_weights(t), &config);
    sd_tensor *picture = golden_input(t, SD_RATE_STEP, golden_find(t, "taesd.in.picture"));
    golden_expect(t, sd_taesd_encode(golden_graph(t), &encoder, picture), golden_find(t, "taesd.out.latent"));
    golden_run(t);
    golden_end(&t);
}

static void decoder_f32(void **state) {
    decode(state, SD_F32);
}

static void decoder_f16(void **state) {
    decode(state, SD_F16);
}

static void encoder_f32(void **state) {
    encode(state, SD_F32);
}

static void encoder_f16(void **state) {
    encode(state, SD_F16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_f32),
        cmocka_unit_test(encoder_f32),
        cmocka_unit_test(decoder_f16),
        cmocka_unit_test(encoder_f16),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
