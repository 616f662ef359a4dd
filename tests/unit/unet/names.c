/* Names of published checkpoints in both spellings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "unet/names.h"

static const struct {
    const char *family, *canonical, *ldm;
} pairs[] = {
    {"sd1", "conv_in.weight", "input_blocks.0.0.weight"},
    {"sd1", "time_embedding.linear_2.bias", "time_embed.2.bias"},
    {"sd1", "down_blocks.0.resnets.0.norm1.weight", "input_blocks.1.0.in_layers.0.weight"},
    {"sd1", "down_blocks.0.resnets.1.conv1.weight", "input_blocks.2.0.in_layers.2.weight"},
    {"sd1", "down_blocks.0.attentions.1.proj_in.bias", "input_blocks.2.1.proj_in.bias"},
    {"sd1", "down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"},
    {"sd1", "down_blocks.1.resnets.0.conv_shortcut.bias", "input_blocks.4.0.skip_connection.bias"},
    {"sd1", "down_blocks.3.resnets.1.time_emb_proj.weight", "input_blocks.11.0.emb_layers.1.weight"},
    {"sd1", "mid_block.resnets.0.norm2.bias", "middle_block.0.out_layers.0.bias"},
    {"sd1", "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
     "middle_block.1.transformer_blocks.0.ff.net.0.proj.weight"},
    {"sd1", "mid_block.resnets.1.conv2.weight", "middle_block.2.out_layers.3.weight"},
    {"sd1", "up_blocks.0.resnets.2.conv1.weight", "output_blocks.2.0.in_layers.2.weight"},
    {"sd1", "up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"},
    {"sd1", "up_blocks.1.upsamplers.0.conv.bias", "output_blocks.5.2.conv.bias"},
    {"sd1", "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0.bias",
     "output_blocks.11.1.transformer_blocks.0.attn2.to_out.0.bias"},
    {"sd1", "conv_norm_out.weight", "out.0.weight"},
    {"sd1", "conv_out.bias", "out.2.bias"},
    {"sd1", "up_blocks.1.attentions.0", "output_blocks.3.1"}, /* modules, for LoRA files */
    {"sd1", "down_blocks.2.resnets.1", "input_blocks.8.0"},
    {"sd1", "down_blocks.2.downsamplers.0.conv", "input_blocks.9.0.op"},
    {"sdxl", "add_embedding.linear_1.weight", "label_emb.0.0.weight"},
    {"sdxl", "add_embedding.linear_2.bias", "label_emb.0.2.bias"},
    {"sdxl", "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q.weight",
     "input_blocks.4.1.transformer_blocks.1.attn1.to_q.weight"},
    {"sdxl", "down_blocks.2.attentions.1.transformer_blocks.9.norm3.weight",
     "input_blocks.8.1.transformer_blocks.9.norm3.weight"},
    {"sdxl", "up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.2.conv.weight"},
    {"sdxl", "up_blocks.2.resnets.2.conv_shortcut.weight", "output_blocks.8.0.skip_connection.weight"},
    {"sdxl-refiner", "up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"},
    {"sdxl-refiner", "down_blocks.2.attentions.1.proj_out.weight", "input_blocks.8.1.proj_out.weight"},
    {"koala-700m", "down_blocks.2.resnets.0.conv1.weight", "input_blocks.5.0.in_layers.2.weight"},
    {"koala-700m", "up_blocks.2.resnets.1.conv1.weight", "output_blocks.5.0.in_layers.2.weight"},
    {"koala-700m", "up_blocks.1.upsamplers.0.conv.weight", "output_blocks.3.2.conv.weight"},
};

static void both_ways(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const struct sd_unet_config *config = sd_unet_config_find(pairs[i].family);
        char name[128];
        if (!sd_unet_ldm_name(config, pairs[i].canonical, name, sizeof name))
            fail_msg("%s has no LDM name", pairs[i].canonical);
        assert_string_equal(name, pairs[i].ldm);
        if (!sd_unet_canonical_name(config, pairs[i].ldm, name, sizeof name))
            fail_msg("%s has no canonical name", pairs[i].ldm);
        assert_string_equal(name, pairs[i].canonical);
    }
}

static void other_names_have_no_counterpart(void **state) {
    (void)state;
    static const char *const canonical[] = {"",
                                            "conv_input.weight",
                                            "down_blocks",
                                            "down_blocks.0",
                                            "down_blocks.4.resnets.0.conv1.weight",
                                            "down_blocks.00.resnets.0.conv1.weight",
                                            "down_blocks.0.resnets.x.conv1.weight",
                                            "down_blocks.0.resnets.0.conv9.weight",
                                            "down_blocks.0.resnets.99999.conv1.weight",
                                            "down_blocks.0.upsamplers.0.conv.weight",
                                            "mid_block.resnets.2.conv1.weight",
                                            "encoder.conv_in.weight"};
    static const char *const ldm[] = {"",
                                      "input_blocks.12.0.in_layers.0.weight",
                                      "input_blocks.12.0.op.weight",
                                      "input_blocks.3.1.op.weight",
                                      "input_blocks.10.1.proj_in.weight",
                                      "output_blocks.12.0.in_layers.0.weight",
                                      "output_blocks.2.2.conv.weight",
                                      "output_blocks.11.2.conv.weight",
                                      "middle_block.3.in_layers.0.weight",
                                      "input_blocks.1",
                                      "label_emb_x"};
    const struct sd_unet_config *config = sd_unet_config_find("sd1");
    char name[128];
    for (size_t i = 0; i < sizeof canonical / sizeof *canonical; i++)
        if (sd_unet_ldm_name(config, canonical[i], name, sizeof name))
            fail_msg("'%s' became '%s'", canonical[i], name);
    for (size_t i = 0; i < sizeof ldm / sizeof *ldm; i++)
        if (sd_unet_canonical_name(config, ldm[i], name, sizeof name))
            fail_msg("'%s' became '%s'", ldm[i], name);
}

static void small_buffers_are_refused(void **state) {
    (void)state;
    const struct sd_unet_config *config = sd_unet_config_find("sd1");
    char name[64];
    const char *canonical = "down_blocks.0.resnets.1.conv1.weight"; /* input_blocks.2.0.in_layers.2.weight */
    assert_false(sd_unet_ldm_name(config, canonical, name, 35));
    assert_true(sd_unet_ldm_name(config, canonical, name, 36));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(other_names_have_no_counterpart),
        cmocka_unit_test(small_buffers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
