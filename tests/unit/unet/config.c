/* Reading of diffusers' unet/config.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unet/config.h"

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot read %s", path);
    char *text = calloc(1, 16384);
    assert_non_null(text);
    size_t size = fread(text, 1, 16383, file);
    fclose(file);
    assert_true(size > 0 && size < 16383);
    return text;
}

static void parse_file(const char *path, struct sd_unet_config *out) {
    sd_error err;
    char *text = read_text(path);
    if (sd_unet_config_parse(out, text, strlen(text), path, &err))
        fail_msg("%s", err.message);
    free(text);
}

static void reads_the_sample_model(void **state) {
    (void)state;
    struct sd_unet_config c;
    parse_file(SDVK_SOURCE_DIR "/samples/mockup/unet/config.json", &c);
    const struct sd_unet_config want = {.in_channels = 4,
                                        .out_channels = 4,
                                        .levels = 4,
                                        .channels = {32, 64, 128, 128},
                                        .layers = {1, 1, 1, 1},
                                        .heads = {1, 2, 4, 4},
                                        .down_depth = {{1}, {1}, {1}, {0}},
                                        .up_depth = {{0, 0}, {1, 1}, {1, 1}, {1, 1}},
                                        .mid_resnets = 2,
                                        .mid_depth = 1,
                                        .context = 64,
                                        .groups = 8,
                                        .time_dim = 128,
                                        .sample = 32,
                                        .eps = 1e-5f};
    assert_memory_equal(&c, &want, offsetof(struct sd_unet_config, eps) + sizeof c.eps);
}

static void reads_the_golden_networks(void **state) {
    (void)state;
    struct sd_unet_config c;
    parse_file(SDVK_SOURCE_DIR "/tests/golden/networks/sd1/unet/config.json", &c);
    assert_int_equal(c.heads[3], 2);
    parse_file(SDVK_SOURCE_DIR "/tests/golden/networks/sd2/unet/config.json", &c);
    assert_int_equal(c.context, 48);
    parse_file(SDVK_SOURCE_DIR "/tests/golden/networks/sdxl/unet/config.json", &c);
    assert_int_equal(c.levels, 3);
    assert_int_equal(c.down_depth[0][0], 0);
    assert_int_equal(c.down_depth[2][1], 3);
    assert_int_equal(c.up_depth[0][2], 3);
    assert_int_equal(c.up_depth[1][0], 2);
    assert_int_equal(c.up_depth[2][0], 0);
    assert_int_equal(c.mid_depth, 3);
    assert_int_equal(c.add_dim, 96);
    assert_int_equal(c.add_each, 8);
    parse_file(SDVK_SOURCE_DIR "/tests/golden/networks/refiner/unet/config.json", &c);
    assert_int_equal(c.up_depth[0][0], 0);
    assert_int_equal(c.up_depth[1][2], 2);
    assert_int_equal(c.mid_depth, 2);
}

#define SDXL_BLOCKS                                                                                          \
    "\"block_out_channels\":[320,640,1280],\"attention_head_dim\":[5,10,20],\"cross_attention_dim\":2048,"   \
    "\"down_block_types\":[\"DownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\"],"              \
    "\"up_block_types\":[\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"UpBlock2D\"],"                      \
    "\"addition_embed_type\":\"text_time\",\"addition_time_embed_dim\":256,"                                 \
    "\"projection_class_embeddings_input_dim\":2816,"
#define SD1_BLOCKS                                                                                           \
    "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\","      \
    "\"DownBlock2D\"],\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\","      \
    "\"CrossAttnUpBlock2D\"],\"cross_attention_dim\":768,\"block_out_channels\":[320,640,1280,1280]"

/* What published configurations say, and the row that it must equal. */
static void recognises_published_shapes(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"sd1", "{\"attention_head_dim\":8,\"sample_size\":64," SD1_BLOCKS "}"},
        {"sd1-inpaint", "{\"in_channels\":9,\"use_ema_warmup\":true," SD1_BLOCKS "}"},
        {"sd1-lcm", "{\"time_cond_proj_dim\":256," SD1_BLOCKS "}"},
        {"small-sd", "{\"layers_per_block\":1,\"mid_block_type\":null," SD1_BLOCKS "}"},
        {"base-sd", "{\"layers_per_block\":[1,1,1,1]," SD1_BLOCKS "}"},
        {"sdxl", "{" SDXL_BLOCKS "\"transformer_layers_per_block\":[1,2,10]}"},
        {"ssd-1b", "{" SDXL_BLOCKS "\"mid_block_type\":\"UNetMidBlock2D\","
                   "\"transformer_layers_per_block\":[1,[2,2],[4,4]],"
                   "\"reverse_transformer_layers_per_block\":[[4,4,10],[2,1,1],1]}"},
        {"vega", "{" SDXL_BLOCKS "\"mid_block_type\":\"UNetMidBlock2D\","
                 "\"transformer_layers_per_block\":[1,1,2]}"},
        {"koala-700m", "{" SDXL_BLOCKS "\"mid_block_type\":null,\"layers_per_block\":1,"
                       "\"transformer_layers_per_block\":[1,2,5]}"},
        {"sdxs-0.9", "{\"layers_per_block\":1,\"mid_block_type\":null,\"block_out_channels\":[320,640,1280],"
                     "\"attention_head_dim\":[5,10,20],\"cross_attention_dim\":1024,"
                     "\"only_cross_attention\":[true,false,false],"
                     "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\","
                     "\"CrossAttnDownBlock2D\"],\"up_block_types\":[\"CrossAttnUpBlock2D\","
                     "\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\"]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sd_unet_config c;
        sd_error err;
        if (sd_unet_config_parse(&c, cases[i][1], strlen(cases[i][1]), "unet/config.json", &err))
            fail_msg("%s: %s", cases[i][0], err.message);
        if (!c.name)
            fail_msg("%s was not recognised", cases[i][0]);
        assert_string_equal(c.name, cases[i][0]);
    }
}

static void refuses_by_field_name(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "x: expected a JSON object, found none"},
        {"[1]", "x: expected a JSON object, found none"},
        {"{\"a\":", "x: expected a JSON object, found none"},
        {"{}", "x: expected a UNet's block_out_channels, found none"},
        {"{\"_class_name\":\"FluxTransformer2DModel\"}",
         "x: _class_name: expected \"UNet2DConditionModel\", found \"FluxTransformer2DModel\""},
        {"{\"act_fn\":\"gelu\"," SD1_BLOCKS "}", "x: act_fn: expected \"silu\", found \"gelu\""},
        {"{\"class_embed_type\":\"timestep\"," SD1_BLOCKS "}",
         "x: class_embed_type: expected null, found \"timestep\""},
        {"{\"num_class_embeds\":1000," SD1_BLOCKS "}", "x: num_class_embeds: expected null, found 1000"},
        {"{\"addition_embed_type\":\"text_image\"," SD1_BLOCKS "}",
         "x: addition_embed_type: expected null or text_time, found \"text_image\""},
        {"{\"addition_embed_type\":\"text_time\"," SD1_BLOCKS "}",
         "x: projection_class_embeddings_input_dim: expected a width beside text_time, found nothing"},
        {"{\"encoder_hid_dim_type\":\"ip_image_proj\"," SD1_BLOCKS "}",
         "x: encoder_hid_dim_type: expected null, found \"ip_image_proj\""},
        {"{\"resnet_time_scale_shift\":\"scale_shift\"," SD1_BLOCKS "}",
         "x: resnet_time_scale_shift: expected \"default\", found \"scale_shift\""},
        {"{\"mid_block_type\":\"UNetMidBlock2DSimpleCrossAttn\"," SD1_BLOCKS "}",
         "x: mid_block_type: expected UNetMidBlock2DCrossAttn, UNetMidBlock2D or null, found "
         "\"UNetMidBlock2DSimpleCrossAttn\""},
        {"{\"warp_drive\":7," SD1_BLOCKS "}",
         "x: warp_drive: expected no such field (it is unknown to this version), found 7"},
        {"{\"layers_per_block\":9," SD1_BLOCKS "}", "x: layers_per_block: expected 1 to 4, found 9"},
        {"{\"layers_per_block\":[2,2]," SD1_BLOCKS "}",
         "x: layers_per_block: expected one entry for each block, found [2,2]"},
        {"{\"layers_per_block\":1.5," SD1_BLOCKS "}",
         "x: layers_per_block: expected whole numbers, found 1.5"},
        {"{\"in_channels\":-4," SD1_BLOCKS "}", "x: in_channels: expected a whole number, found -4"},
        {"{\"in_channels\":0," SD1_BLOCKS "}", "x: in_channels: expected 1 to 1024, found 0"},
        {"{\"norm_num_groups\":33," SD1_BLOCKS "}",
         "x: block_out_channels: expected multiples of the 33 norm groups, found 320"},
        {"{\"attention_head_dim\":7," SD1_BLOCKS "}",
         "x: attention heads: expected a divisor of 320 channels, found 7 heads"},
        {"{\"transformer_layers_per_block\":[1,[2],1,1]," SD1_BLOCKS "}",
         "x: transformer_layers_per_block: expected one entry for each resnet of the block, found [2]"},
        {"{\"transformer_layers_per_block\":1000," SD1_BLOCKS "}",
         "x: transformer_layers_per_block: expected 0 to 24, found 1000"},
        {"{\"block_out_channels\":[32,32,32,32,32]}",
         "x: block_out_channels: expected a list of 1 to 4 numbers, found [32,32,32,32,32]"},
        {"{\"block_out_channels\":[32],\"down_block_types\":[\"AttnDownBlock2D\"],\"up_block_types\":"
         "[\"UpBlock2D\"]}",
         "x: down_block_types: expected DownBlock2D or CrossAttnDownBlock2D, found \"AttnDownBlock2D\""},
        {"{\"block_out_channels\":[32],\"up_block_types\":[\"UpBlock2D\"]}",
         "x: down_block_types: expected one entry for each block, found nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sd_unet_config c;
        sd_error err = {0};
        assert_int_not_equal(sd_unet_config_parse(&c, cases[i].json, strlen(cases[i].json), "x", &err),
                             SD_OK);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void every_row_is_valid_and_found(void **state) {
    (void)state;
    const struct sd_unet_config *row;
    size_t count = 0;
    for (; (row = sd_unet_config_at(count)); count++) {
        sd_error err;
        if (sd_unet_config_check(row, row->name, &err))
            fail_msg("%s", err.message);
        assert_ptr_equal(sd_unet_config_find(row->name), row);
        assert_ptr_equal(sd_unet_config_match(row), row);
    }
    assert_true(count >= 18);
    assert_null(sd_unet_config_find("sd0"));
}

static void odd_sizes_need_the_plain_form(void **state) {
    (void)state;
    const struct sd_unet_config *sd1 = sd_unet_config_find("sd1"), *sdxl = sd_unet_config_find("sdxl");
    assert_false(sd_unet_needs_plain(sd1, 64, 72));
    assert_true(sd_unet_needs_plain(sd1, 64, 68));
    assert_true(sd_unet_needs_plain(sd1, 9, 64));
    assert_false(sd_unet_needs_plain(sdxl, 128, 68));
    assert_true(sd_unet_needs_plain(sdxl, 128, 66));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_sample_model),       cmocka_unit_test(reads_the_golden_networks),
        cmocka_unit_test(recognises_published_shapes),  cmocka_unit_test(refuses_by_field_name),
        cmocka_unit_test(every_row_is_valid_and_found), cmocka_unit_test(odd_sizes_need_the_plain_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
