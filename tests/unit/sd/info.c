/* What `sdvk info` says of LoRAs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "sd/io/file.h"
#include "sd/io/safetensors.h"
#include "sd/sd.h"
#include "tests/unit/folder.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"
#define SELF "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
#define CROSS "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
#define TEXT "lora_te_text_model_encoder_layers_3_mlp_fc1"

static float zeros[1 << 14];

struct module {
    const char *name;
    uint64_t outputs, inputs;
};

/* A LoRA of rank 2 with these modules. */
static void write_lora(const char *name, const struct module *modules, size_t count,
                       const sd_file_metadata *metadata, size_t metadata_count) {
    sd_file_tensor tensors[8] = {0};
    char names[8][128];
    sd_error err;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 2; k++) {
            sd_file_tensor *t = &tensors[2 * i + k];
            snprintf(names[2 * i + k], sizeof names[0], "%s.lora_%s.weight", modules[i].name,
                     k ? "up" : "down");
            *t = (sd_file_tensor){
                .name = names[2 * i + k], .dtype = SD_FILE_F32, .rank = 2, .data = (const uint8_t *)zeros};
            t->shape[k] = 2;
            t->shape[1 - k] = k ? modules[i].outputs : modules[i].inputs;
            assert_true(sd_file_tensor_size(t->dtype, t->rank, t->shape, &t->bytes));
            assert_true(t->bytes <= sizeof zeros);
        }
    if (sd_safetensors_write(in_folder(name), tensors, 2 * count, metadata, metadata_count, &err))
        fail_msg("%s", err.message);
}

static cJSON *info_of(const char *path, const char *model) {
    const sd_info_options options = {.model = model, .cache_dir = in_folder("cache")};
    char *text;
    sd_error err;
    if (sd_file_info(path, &options, &text, &err))
        fail_msg("%s", err.message);
    cJSON *json = cJSON_Parse(text);
    free(text);
    assert_true(cJSON_IsObject(json));
    return json;
}

/* A field by its path, "coverage.unet.layers". */
static const cJSON *at(const cJSON *json, const char *path) {
    char copy[128], *rest = copy;
    snprintf(copy, sizeof copy, "%s", path);
    while (json && rest) {
        char *name = rest;
        if ((rest = strchr(name, '.')))
            *rest++ = 0;
        json = cJSON_GetObjectItemCaseSensitive(json, name);
    }
    return json;
}

static void expect_text(const cJSON *json, const char *path, const char *want) {
    const char *found = cJSON_GetStringValue(at(json, path));
    if (!found)
        fail_msg("%s is missing", path);
    assert_string_equal(found, want);
}

static void expect_number(const cJSON *json, const char *path, int want) {
    if (!cJSON_IsNumber(at(json, path)))
        fail_msg("%s is missing", path);
    assert_int_equal(at(json, path)->valueint, want);
}

/* The numbers of layers are those of diffusers' and transformers' modules: Linear and Conv2d, with two tables
 * of embeddings in each text encoder. */
static void coverage_of_the_familys_usual_model(void **state) {
    (void)state;
    write_lora("cross.safetensors",
               (struct module[]){
                   {SELF, 640, 640}, {CROSS, 640, 768}, {TEXT, 3072, 768}, {"lora_unet_nowhere", 4, 4}},
               4, NULL, 0);
    cJSON *json = info_of(in_folder("cross.safetensors"), NULL);
    expect_text(json, "kind", "LoRA");
    expect_text(json, "algorithms", "LoRA");
    expect_text(json, "family", "SD 1");
    expect_number(json, "rank_min", 2);
    expect_number(json, "rank_max", 2);
    expect_text(json, "coverage.of", "SD 1");
    expect_number(json, "coverage.modules", 4);
    expect_number(json, "coverage.matched", 3);
    expect_number(json, "coverage.unet.layers", 282);
    expect_number(json, "coverage.unet.changed_layers", 2);
    expect_number(json, "coverage.unet.norms", 109);
    expect_number(json, "coverage.unet.changed_norms", 0);
    expect_number(json, "coverage.text_encoder.layers", 72 + 2);
    expect_number(json, "coverage.text_encoder.changed_layers", 1);
    expect_number(json, "coverage.text_encoder.norms", 25);
    assert_null(at(json, "coverage.text_encoder_2"));
    assert_int_equal(cJSON_GetArraySize(at(json, "coverage.unmatched")), 2);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(at(json, "coverage.unmatched"), 0)),
                        "lora_unet_nowhere.lora_down.weight");
    cJSON_Delete(json);
}

static void layers_of_two_families(void **state) {
    (void)state;
    write_lora("self.safetensors", (struct module[]){{SELF, 640, 640}}, 1, NULL, 0);
    cJSON *json = info_of(in_folder("self.safetensors"), NULL);
    /* SDXL has a layer of this name and size too. */
    expect_text(json, "family", "SD 1 or SD 2 or SDXL");
    cJSON_Delete(json);
    const sd_file_metadata written[] = {{"modelspec.architecture", "stable-diffusion-xl-v1-base/lora"}};
    write_lora("told.safetensors", (struct module[]){{SELF, 640, 640}}, 1, written, 1);
    json = info_of(in_folder("told.safetensors"), NULL);
    expect_text(json, "family", "SDXL");
    expect_number(json, "coverage.unet.layers", 794);
    expect_number(json, "coverage.unet.norms", 256);
    expect_number(json, "coverage.text_encoder_2.layers", 193 + 2);
    expect_number(json, "coverage.text_encoder_2.norms", 65);
    cJSON_Delete(json);
}

static void coverage_of_a_model(void **state) {
    (void)state;
    cJSON *json = info_of(GOLDEN "loras/kohya_sdxl.safetensors", GOLDEN "networks/sdxl");
    expect_text(json, "family", "SDXL");
    expect_text(json, "coverage.of", "sdxl");
    expect_number(json, "coverage.modules", 15);
    expect_number(json, "coverage.matched", 15);
    expect_number(json, "coverage.unet.changed_layers", 11);
    expect_number(json, "coverage.text_encoder.changed_layers", 2);
    expect_number(json, "coverage.text_encoder_2.changed_layers", 2);
    cJSON_Delete(json);
    json = info_of(GOLDEN "loras/norm.safetensors", GOLDEN "networks/sd1");
    expect_text(json, "algorithms", "norm difference, LoRA");
    expect_number(json, "coverage.unet.changed_layers", 1);
    expect_number(json, "coverage.unet.changed_norms", 3);
    cJSON_Delete(json);
    json = info_of(GOLDEN "loras/peft_ia3", GOLDEN "networks/sd1"); /* a folder */
    expect_text(json, "algorithms", "(IA)^3");
    expect_number(json, "coverage.matched", 6);
    cJSON_Delete(json);
}

static void what_does_not_fit_is_said(void **state) {
    (void)state;
    write_lora("flux.safetensors", (struct module[]){{"lora_unet_double_blocks_0_img_attn_qkv", 64, 64}}, 1,
               NULL, 0);
    cJSON *json = info_of(in_folder("flux.safetensors"), NULL);
    char want[256];
    snprintf(want, sizeof want, "%s: this LoRA is for Flux, which this version cannot run",
             in_folder("flux.safetensors"));
    expect_text(json, "family", "Flux");
    expect_text(json, "problem", want);
    assert_null(at(json, "coverage"));
    cJSON_Delete(json);
}

/* The hashes of kohya's trainer are of the tensors' bytes, which a change of the header leaves as they are.
 */
static void words_base_and_hashes(void **state) {
    (void)state;
    const struct module modules[] = {{CROSS, 640, 768}};
    write_lora("plain.safetensors", modules, 1, NULL, 0);
    cJSON *json = info_of(in_folder("plain.safetensors"), NULL);
    char hash[SD_SHA256_HEX], again[SD_SHA256_HEX];
    snprintf(hash, sizeof hash, "%s", cJSON_GetStringValue(at(json, "data_sha256")));
    assert_int_equal(strlen(hash), 64);
    assert_null(at(json, "data_as_trained"));
    cJSON_Delete(json);
    sd_file_metadata metadata[] = {
        {"ss_base_model_version", "sd_v1"},
        {"ss_sd_model_name", "base.safetensors"},
        {"ss_new_sd_model_hash", "0123"},
        {"modelspec.trigger_phrase", "acme style"},
        {"modelspec.license", "CC0"},
        {"ss_tag_frequency", "{\"5_a\": {\"mug\": 3, \"cup\": 4}, \"1_b\": {\"mug\": 2}, \"c\": 7}"},
        {"sshs_legacy_hash", "89abcdef"},
        {"sshs_model_hash", hash}};
    write_lora("kohya.safetensors", modules, 1, metadata, 8);
    json = info_of(in_folder("kohya.safetensors"), NULL);
    expect_text(json, "base.version", "sd_v1");
    expect_text(json, "base.name", "base.safetensors");
    expect_text(json, "base.sha256", "0123");
    expect_text(json, "trigger_words", "acme style");
    expect_text(json, "license", "CC0");
    assert_int_equal(cJSON_GetArraySize(at(json, "frequent_tags")), 2);
    assert_string_equal(at(json, "frequent_tags")->child->string, "mug"); /* the most frequent one first */
    expect_number(json, "frequent_tags.mug", 5);
    expect_number(json, "frequent_tags.cup", 4);
    expect_text(json, "data_sha256", hash);
    expect_text(json, "sshs_model_hash", hash);
    expect_text(json, "sshs_legacy_hash", "89abcdef");
    assert_true(cJSON_IsTrue(at(json, "data_as_trained")));
    assert_int_equal(sd_file_sha256(in_folder("kohya.safetensors"), 0, again, NULL), SD_OK);
    expect_text(json, "sha256", again);
    again[10] = 0;
    expect_text(json, "short_hash", again);
    hash[12] = 0;
    expect_text(json, "lora_hash", hash);
    cJSON_Delete(json);
    metadata[7].value = "00";
    write_lora("changed.safetensors", modules, 1, metadata, 8);
    json = info_of(in_folder("changed.safetensors"), NULL);
    assert_true(cJSON_IsFalse(at(json, "data_as_trained")));
    cJSON_Delete(json);
}

/* The file's time and size stay while its bytes change: only a remembered hash is the old one. */
static void hashes_are_remembered(void **state) {
    (void)state;
    const struct module modules[] = {{CROSS, 640, 768}};
    char command[512];
    write_lora("kept.safetensors", modules, 1, NULL, 0);
    cJSON *first = info_of(in_folder("kept.safetensors"), NULL);
    snprintf(command, sizeof command,
             "cd '%s' && cp -p kept.safetensors old && printf x | dd of=kept.safetensors bs=1 seek=4000 "
             "conv=notrunc 2>/dev/null && touch -r old kept.safetensors",
             folder);
    assert_int_equal(system(command), 0);
    cJSON *second = info_of(in_folder("kept.safetensors"), NULL);
    expect_text(second, "sha256", cJSON_GetStringValue(at(first, "sha256")));
    cJSON_Delete(first);
    cJSON_Delete(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coverage_of_the_familys_usual_model),
        cmocka_unit_test(layers_of_two_families),
        cmocka_unit_test(coverage_of_a_model),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(words_base_and_hashes),
        cmocka_unit_test(hashes_are_remembered),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
