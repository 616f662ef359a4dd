/* The text encoders against transformers' CLIPTextModel and CLIPTextModelWithProjection. */
#include "clip/text_model.h"
#include "tests/golden/golden.h"

#include <string.h>

enum { last_entry = 599 /* the end token of the tiny networks */, images = 3 };

static void read_config(golden *t, const char *part, struct sd_text_config *out) {
    sd_bytes text = golden_config(t);
    sd_error err;
    if (sd_text_config_parse(out, (const char *)text.data, text.size, part, &err))
        fail_msg("%s", err.message);
}

static void find_ends(const sd_file_tensor *ids, uint32_t *rows) {
    for (uint64_t i = 0; i < ids->shape[0]; i++) {
        const uint8_t *row = ids->data + i * SD_TEXT_TOKENS * 4;
        int32_t id = 0;
        uint32_t at = 0;
        for (; id != last_entry; at++) {
            assert_true(at < SD_TEXT_TOKENS);
            memcpy(&id, row + (size_t)at * 4, 4);
        }
        rows[i] = at - 1;
    }
}

/* Every request that the families make, in one graph. */
static void encode(void **state, const char *family, const char *part, const char *batch, sd_dtype act) {
    static const struct sd_text_request last = {.final_norm = true, .pooled = true},
                                        penultimate = {.skip = 1, .pooled = true},
                                        normed = {.skip = 1, .final_norm = true};
    golden *t = golden_begin(state, family, part, act);
    sd_graph *g = golden_graph(t);
    struct sd_text_config config;
    struct sd_text_model model;
    uint32_t ends[images];
    read_config(t, part, &config);
    sd_text_bind(&model, golden_weights(t), &config);
    const sd_file_tensor *ids = golden_find(t, "%s.%s.in.ids", part, batch);
    const sd_file_tensor *pooled =
        golden_find(t, "%s.%s.out.%s", part, batch, config.projection ? "projected" : "pooled");
    find_ends(ids, ends);
    sd_tensor *tokens = golden_input(t, SD_RATE_PROMPT, ids);
    struct sd_text_result r = sd_text_forward(g, &config, &model, &last, tokens);
    golden_expect(t, r.hidden, golden_find(t, "%s.%s.out.last_hidden_state", part, batch));
    golden_expect_rows(t, r.pooled, ends, pooled);
    if (!strcmp(batch, "b1")) {
        golden_expect_node(t, "embeddings", NULL, 0, golden_find(t, "%s.b1.hook.embeddings", part));
        golden_expect_node(t, "encoder.layers.0", NULL, 0,
                           golden_find(t, "%s.b1.hook.encoder.layers.0", part));
    }
    r = sd_text_forward(g, &config, &model, &penultimate, tokens);
    golden_expect(t, r.hidden, golden_find(t, "%s.%s.out.penultimate", part, batch));
    golden_expect_rows(t, r.pooled, ends, pooled);
    r = sd_text_forward(g, &config, &model, &normed, tokens);
    assert_null(r.pooled);
    golden_expect(t, r.hidden, golden_find(t, "%s.%s.out.penultimate_normed", part, batch));
    golden_run(t);
    golden_end(&t);
}

static void every_encoder(void **state, sd_dtype act) {
    static const char *const encoders[][2] = {{"sd1", "text_encoder"},
                                              {"sd2", "text_encoder"},
                                              {"sdxl", "text_encoder"},
                                              {"sdxl", "text_encoder_2"},
                                              {"refiner", "text_encoder_2"}};
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        encode(state, encoders[i][0], encoders[i][1], "b1", act);
        encode(state, encoders[i][0], encoders[i][1], "b3", act);
    }
}

static void encoders_f32(void **state) {
    every_encoder(state, SD_F32);
}

static void encoders_f16(void **state) {
    every_encoder(state, SD_F16);
}

static void too_many_skipped_layers_are_refused(void **state) {
    golden *t = golden_begin(state, "sd1", "text_encoder", SD_F32);
    const struct sd_text_request request = {.skip = 5};
    struct sd_text_config config;
    struct sd_text_model model;
    sd_error err;
    read_config(t, "text_encoder", &config);
    sd_text_bind(&model, golden_weights(t), &config);
    sd_tensor *tokens = golden_input(t, SD_RATE_PROMPT, golden_find(t, "text_encoder.b1.in.ids"));
    assert_null(sd_text_forward(golden_graph(t), &config, &model, &request, tokens).hidden);
    assert_int_equal(sd_graph_status(golden_graph(t), &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "cannot skip 5 of the text encoder's 4 layers");
    golden_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_f32),
        cmocka_unit_test(encoders_f16),
        cmocka_unit_test(too_many_skipped_layers_are_refused),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
