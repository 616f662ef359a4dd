/* Models written with LoRAs merged into them: the weights that the engine itself would use. */
#include "tests/unit/sd/converted.h"

#include "sd/io/safetensors.h"

#define LORAS SDVK_SOURCE_DIR "/tests/golden/loras/"
#define ACME SDVK_SOURCE_DIR "/samples/loras/acme.safetensors"

static int open_context(void **state) {
    if (make_folder(state))
        return -1;
    *state = a_context();
    return 0;
}

static int close_context(void **state) {
    sd_context *context = *state;
    sd_context_destroy(&context);
    return remove_folder(state);
}

/* Merged files and --lora give the same bytes: at f32 from an f32 file, at the file's precision from one of
 * the model's own type. */
static void merged_files_give_the_same_pictures(void **state) {
    static const struct {
        const char *type;
        sd_precision precision;
        float text;
    } cases[] = {
        {"f32", SD_PRECISION_F32, 0.8f}, {NULL, SD_PRECISION_AUTO, 0.4f}, {"f16", SD_PRECISION_F16, 0}};
    static uint8_t plain[PICTURE], want[PICTURE], got[PICTURE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sd_lora_use lora = {.path = ACME, .unet = 0.8f, .text = cases[i].text};
        const sd_model_options without = {.precision = cases[i].precision};
        const sd_model_options with = {.precision = cases[i].precision, .loras = &lora, .lora_count = 1};
        char path[512];
        snprintf(path, sizeof path, "%s/merged%zu.safetensors", folder, i);
        convert(*state,
                &(sd_convert_params){
                    .model = MOCKUP, .output = path, .type = cases[i].type, .loras = &lora, .lora_count = 1});
        render(*state, MOCKUP, &without, plain);
        render(*state, MOCKUP, &with, want);
        render(*state, path, &without, got);
        assert_memory_equal(got, want, PICTURE);
        assert_true(memcmp(want, plain, PICTURE) != 0);
    }
}

/* Merges into a folder and into the single file of it, and compares both with each other, tensor by tensor,
 * and with the folder and the LoRA, pixel by pixel. */
static void check_layouts(sd_context *context, const char *model, const char *lora_path) {
    static uint8_t want[PICTURE], got[PICTURE];
    const char *single = in_folder("single.safetensors"), *merged = in_folder("folder.safetensors"),
               *twice = in_folder("file.gguf");
    const sd_lora_use lora = {.path = lora_path, .unet = 0.7f, .text = 0.7f};
    const sd_model_options without = {.precision = SD_PRECISION_F32};
    const sd_model_options with = {.precision = SD_PRECISION_F32, .loras = &lora, .lora_count = 1};
    sd_convert_params params = {.model = model, .output = single, .type = "f32"};
    convert(NULL, &params);
    params.output = merged;
    params.loras = &lora;
    params.lora_count = 1;
    convert(context, &params);
    params.model = single;
    params.output = twice;
    convert(context, &params);
    sd_tensor_file *a = opened(merged), *b = opened(twice), *before = opened(single);
    size_t changed = 0;
    assert_int_equal(sd_tensor_file_count(a), sd_tensor_file_count(b));
    for (size_t k = 0; k < sd_tensor_file_count(a); k++) {
        const sd_file_tensor *x = sd_tensor_file_at(a, k), *y = sd_tensor_file_find(b, x->name);
        assert_non_null(y);
        assert_memory_equal(x->shape, y->shape, x->rank * sizeof *x->shape);
        assert_memory_equal(x->data, y->data, x->bytes);
        changed += memcmp(x->data, sd_tensor_file_find(before, x->name)->data, x->bytes) != 0;
    }
    print_message("%s: %zu tensors changed\n", lora_path, changed);
    assert_true(changed > 0);
    sd_tensor_file_close(&a);
    sd_tensor_file_close(&b);
    sd_tensor_file_close(&before);
    render(context, model, &with, want);
    render(context, merged, &without, got);
    assert_memory_equal(got, want, PICTURE);
    unlink(single);
    unlink(merged);
    unlink(twice);
}

/* Every way that a changed weight lies in a file: as it is, stacked (SD 2's and SDXL's text encoders), with
 * its bias. */
static void every_layout_is_merged(void **state) {
    static const struct {
        const char *model, *lora;
    } cases[] = {{"sd1", "kohya_sd1"},   {"sd1", "dora_output"},      {"sd1", "kohya_diff_b"},
                 {"sdxl", "kohya_sdxl"}, {"sdxl", "onetrainer_sdxl"}, {"sd2", "kohya_sd2_no_alpha"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char model[512], lora[512];
        snprintf(model, sizeof model, NETWORKS "%s", cases[i].model);
        snprintf(lora, sizeof lora, LORAS "%s.safetensors", cases[i].lora);
        check_layouts(*state, model, lora);
    }
}

/* SDXL's projection is stored transposed in single files. */
static void turned_weights_are_merged(void **state) {
    static float down[2][48], up[48][2];
    const sd_file_tensor tensors[] = {
        {"lora_te2_text_projection.lora_down.weight", SD_FILE_F32, 2, {2, 48}, (void *)down, sizeof down},
        {"lora_te2_text_projection.lora_up.weight", SD_FILE_F32, 2, {48, 2}, (void *)up, sizeof up}};
    const char *path = in_folder("projection.safetensors");
    char lora[512];
    sd_error err;
    for (int i = 0; i < 48; i++) {
        down[0][i] = 0.01f * (float)i;
        down[1][i] = i % 5 ? 0.1f : -0.3f;
        up[i][0] = i % 3 ? 0.2f : -0.4f;
        up[i][1] = 0.02f * (float)(i % 7);
    }
    if (sd_safetensors_write(path, tensors, 2, NULL, 0, &err))
        fail_msg("%s", err.message);
    snprintf(lora, sizeof lora, "%s", path);
    check_layouts(*state, NETWORKS "sdxl", lora);
}

/* The error of a merged file is that of its type, not of the merging. */
static void errors_are_those_of_the_type(void **state) {
    const sd_lora_use lora = {.path = ACME, .unet = 1, .text = 1};
    const sd_convert_params params = {
        .model = MOCKUP, .output = in_folder("q8.gguf"), .type = "q8_0", .loras = &lora, .lora_count = 1};
    sd_convert_report *report = converted(*state, &params);
    for (size_t i = 0; i < report->count; i++)
        if (!strcmp(report->groups[i].type, "Q8_0"))
            /* Steps of 1/127 of a block's largest value: uniform errors of 0.29 steps, a block's values being
             * a third to a half of its largest on average. */
            assert_true(report->groups[i].error > 0.003 && report->groups[i].error < 0.01);
    sd_convert_report_free(&report);
}

/* Merging twice is told in the metadata; a LoRA that is not there leaves nothing behind. */
static void merges_are_recorded(void **state) {
    const sd_lora_use first = {.path = ACME, .unet = 0.5f, .text = 0.25f},
                      second = {.path = ACME, .unet = -0.5f};
    const sd_lora_use none = {.path = "nowhere.safetensors", .unet = 1};
    const char *once = in_folder("once.safetensors"), *twice = in_folder("twice.gguf");
    convert(*state, &(sd_convert_params){.model = MOCKUP, .output = once, .loras = &first, .lora_count = 1});
    convert(*state, &(sd_convert_params){.model = once, .output = twice, .loras = &second, .lora_count = 1});
    sd_tensor_file *file = opened(twice);
    assert_string_equal(sd_tensor_file_metadata(file, "sdvk.loras"), "acme:0.5:0.25, acme:-0.5:0");
    sd_tensor_file_close(&file);
    refused(*state,
            &(sd_convert_params){
                .model = MOCKUP, .output = in_folder("no.gguf"), .loras = &none, .lora_count = 1},
            SD_E_NOT_FOUND, "nowhere.safetensors: cannot open the LoRA: No such file or directory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_files_give_the_same_pictures),
        cmocka_unit_test(every_layout_is_merged),
        cmocka_unit_test(turned_weights_are_merged),
        cmocka_unit_test(errors_are_those_of_the_type),
        cmocka_unit_test(merges_are_recorded),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
