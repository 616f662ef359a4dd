/* Models written as one file of other types. */
#include "tests/unit/sd/converted.h"

#include <inttypes.h>

#include "sd/base/values.h"

/* ---- names ---- */

/* Tensors that only the published form of single files has: constants, and SD 2's last layer. */
static bool only_published(const char *name) {
    static const char *const words[] = {"alphas_cumprod", "position_ids", "logit_scale", "resblocks.4.",
                                        "cond_stage_model.model.text_projection"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

static void folders_become_the_files_that_are_published(void **state) {
    static const char *const families[] = {"sd1", "sd2", "sdxl", "refiner"};
    (void)state;
    for (size_t f = 0; f < 4; f++) {
        char folder_path[256], single_path[256];
        const char *output = in_folder("published.safetensors");
        snprintf(folder_path, sizeof folder_path, NETWORKS "%s", families[f]);
        snprintf(single_path, sizeof single_path, NETWORKS "%s.safetensors", families[f]);
        unlink(output);
        convert(NULL, &(sd_convert_params){.model = folder_path, .output = output});
        sd_tensor_file *single = opened(single_path), *file = opened(output);
        size_t only = 0;
        for (size_t i = 0; i < sd_tensor_file_count(single); i++) {
            const sd_file_tensor *want = sd_tensor_file_at(single, i);
            const sd_file_tensor *got = sd_tensor_file_find(file, want->name);
            if (!got && only_published(want->name)) {
                only++;
                continue;
            }
            if (!got)
                fail_msg("%s: no %s", families[f], want->name);
            assert_int_equal(got->dtype, want->dtype);
            assert_int_equal(got->rank, want->rank);
            assert_memory_equal(got->shape, want->shape, want->rank * sizeof *want->shape);
            assert_int_equal(got->bytes, want->bytes);
            if (memcmp(got->data, want->data, want->bytes))
                fail_msg("%s: %s differs", families[f], want->name);
        }
        assert_int_equal(sd_tensor_file_count(file) + only, sd_tensor_file_count(single));
        assert_string_equal(sd_tensor_file_metadata(file, "format"), "pt");
        assert_non_null(
            sd_tensor_file_metadata(file, f == 3 ? "sdvk.tokenizer_2.merges" : "sdvk.tokenizer.merges"));
        sd_tensor_file_close(&single);
        sd_tensor_file_close(&file);
    }
}

/* ---- values ---- */

static uint64_t count_of(const sd_file_tensor *t) {
    uint64_t count = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        count *= t->shape[i];
    return count;
}

static float *values_of(const sd_file_tensor *t) {
    float *values = malloc(count_of(t) * sizeof *values);
    assert_non_null(values);
    sd_values_decode(sd_file_dtype_base(t->dtype), t->data, 0, count_of(t), values);
    return values;
}

/* Every tensor is what encoding its source in one piece gives; counts those of the type. */
static size_t check_file(const sd_tensor_file *from, const sd_tensor_file *to, sd_file_dtype type) {
    size_t count = 0;
    assert_int_equal(sd_tensor_file_count(from), sd_tensor_file_count(to));
    for (size_t i = 0; i < sd_tensor_file_count(to); i++) {
        const sd_file_tensor *got = sd_tensor_file_at(to, i), *source = sd_tensor_file_find(from, got->name);
        assert_non_null(source);
        assert_int_equal(got->rank, source->rank);
        assert_memory_equal(got->shape, source->shape, got->rank * sizeof *got->shape);
        count += got->dtype == type;
        if (got->dtype == source->dtype) {
            assert_memory_equal(got->data, source->data, source->bytes);
            continue;
        }
        float *values = values_of(source);
        uint8_t *expected = malloc(got->bytes);
        assert_true(sd_values_encode(sd_file_dtype_base(got->dtype), values, count_of(got), expected));
        if (memcmp(expected, got->data, got->bytes))
            fail_msg("%s as %s differs", got->name, sd_file_dtype_name(got->dtype));
        free(values);
        free(expected);
    }
    return count;
}

/* The errors of a report against those of the file's values. */
static void check_errors(const sd_convert_report *report, const sd_tensor_file *from,
                         const sd_tensor_file *to) {
    double difference = 0, size = 0, largest = 0, reported = 0, reported_size = 0;
    for (size_t i = 0; i < sd_tensor_file_count(to); i++) {
        const sd_file_tensor *got = sd_tensor_file_at(to, i);
        if (!sd_file_dtype_quantised(got->dtype))
            continue;
        float *x = values_of(sd_tensor_file_find(from, got->name)), *y = values_of(got);
        for (uint64_t k = 0; k < count_of(got); k++) {
            difference += ((double)y[k] - x[k]) * ((double)y[k] - x[k]);
            size += (double)x[k] * x[k];
            largest = fmax(largest, fabs((double)y[k] - x[k]));
        }
        free(x);
        free(y);
    }
    uint64_t before = 0, after = 0;
    uint32_t tensors = 0;
    double most = 0;
    for (size_t i = 0; i < report->count; i++) {
        const sd_convert_group *g = &report->groups[i];
        before += g->bytes_before;
        after += g->bytes_after;
        tensors += g->tensors;
        most = fmax(most, g->largest);
        if (g->error > 0)
            reported = fmax(reported, g->error);
        reported_size += g->error > 0;
    }
    assert_int_equal(report->bytes_before, before);
    assert_int_equal(report->bytes_after, after);
    assert_int_equal(report->tensors, tensors);
    assert_int_equal(tensors, sd_tensor_file_count(to));
    assert_true(reported_size > 0);
    assert_true(most == largest);
    /* The whole error lies between nothing and the worst group's. */
    assert_true(sqrt(difference / size) <= reported * (1 + 1e-9) && sqrt(difference / size) > 0.5 * reported);
}

static void every_type_is_written(void **state) {
    const char *type, *plain = in_folder("plain.safetensors");
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%s", plain);
    convert(NULL, &(sd_convert_params){.model = MOCKUP, .output = path, .type = "f32"});
    sd_tensor_file *from = opened(path);
    for (size_t i = 0; (type = sd_convert_type_name(i)); i++) {
        char output[512], upper[16] = "";
        bool eighth = !strncmp(type, "f8", 2);
        snprintf(output, sizeof output, "%s/%s.%s", folder, type, eighth ? "safetensors" : "gguf");
        for (size_t k = 0; type[k]; k++)
            upper[k] = (char)(type[k] >= 'a' && type[k] <= 'z' ? type[k] - 'a' + 'A' : type[k]);
        sd_file_dtype dtype = sd_file_dtype_from_name(upper);
        const sd_convert_rule rule = {"^model\\.diffusion_model\\.input_blocks.*weight", type};
        const sd_convert_params params = {.model = path,
                                          .output = output,
                                          .type = i % 2 ? type : NULL,
                                          .rules = &rule,
                                          .rule_count = i % 2 ? 0 : 1};
        sd_convert_report *report = converted(NULL, &params);
        sd_tensor_file *to = opened(output);
        size_t count = check_file(from, to, dtype);
        print_message("%s: %zu tensors, %" PRIu64 " bytes\n", type, count, report->bytes_after);
        assert_true(count > 10);
        if (sd_file_dtype_quantised(dtype))
            check_errors(report, from, to);
        sd_convert_report_free(&report);
        sd_tensor_file_close(&to);
    }
    sd_tensor_file_close(&from);
}

/* What was quantised becomes f16 where the file cannot hold it. */
static void quantised_files_convert_back(void **state) {
    const char *q8 = in_folder("back.gguf");
    (void)state;
    convert(NULL, &(sd_convert_params){.model = MOCKUP, .output = q8, .type = "q8_0"});
    convert(NULL, &(sd_convert_params){.model = q8, .output = in_folder("back.safetensors")});
    convert(NULL, &(sd_convert_params){.model = q8, .output = in_folder("again.gguf")});
    sd_tensor_file *from = opened(q8), *to = opened(in_folder("back.safetensors")),
                   *same = opened(in_folder("again.gguf"));
    assert_int_equal(check_file(from, to, SD_FILE_F16), sd_tensor_file_count(from));
    assert_true(check_file(from, same, SD_FILE_Q8_0) > 100);
    assert_string_equal(sd_tensor_file_metadata(same, "general.architecture"), "sd1");
    assert_string_equal(sd_tensor_file_metadata(same, "general.quantization_version"), "2");
    assert_null(sd_tensor_file_metadata(to, "general.architecture"));
    assert_string_equal(sd_tensor_file_metadata(to, "sdvk.unet"), sd_tensor_file_metadata(same, "sdvk.unet"));
    sd_tensor_file_close(&from);
    sd_tensor_file_close(&to);
    sd_tensor_file_close(&same);
}

/* ---- rules ---- */

static const sd_convert_group *group_of(const sd_convert_report *r, const char *part, const char *kind) {
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->groups[i].part, part) && !strcmp(r->groups[i].kind, kind))
            return &r->groups[i];
    fail_msg("no group %s, %s", part, kind);
    return NULL;
}

static void the_first_rule_wins(void **state) {
    const sd_convert_rule rules[] = {{"attn2.*=", "q8_0"}, {"attn2", "q8_0"}, {"attn", "Q4_0"}};
    const sd_convert_params params = {.model = MOCKUP,
                                      .output = in_folder("rules.gguf"),
                                      .rules = rules + 1,
                                      .rule_count = 2,
                                      .type = "f16",
                                      .plan = true};
    (void)state;
    sd_convert_report *plan = converted(NULL, &params);
    assert_int_equal(access(params.output, F_OK), -1);
    sd_convert_params really = params;
    really.plan = false;
    sd_convert_report *report = converted(NULL, &really);
    assert_int_equal(plan->count, report->count);
    assert_int_equal(plan->bytes_after, report->bytes_after);
    sd_tensor_file *file = opened(params.output);
    size_t first = 0, second = 0;
    for (size_t i = 0; i < sd_tensor_file_count(file); i++) {
        const sd_file_tensor *t = sd_tensor_file_at(file, i);
        bool attn2 = strstr(t->name, "attn2"), attn = strstr(t->name, "attn");
        sd_file_dtype want = t->rank < 2 || !attn ? SD_FILE_F16 : attn2 ? SD_FILE_Q8_0 : SD_FILE_Q4_0;
        first += attn2;
        second += attn && !attn2;
        assert_int_equal(t->dtype, want);
    }
    assert_true(first > 20 && second > 20);
    const sd_convert_group *norms = group_of(report, "UNet", "vectors");
    assert_string_equal(norms->type, "F16");
    sd_tensor_file_close(&file);
    sd_convert_report_free(&plan);
    sd_convert_report_free(&report);
}

/* What cannot have blocks of 256 gets shorter ones, or stays; each is told. */
static void shapes_that_do_not_fit_are_told(void **state) {
    const sd_convert_rule rules[] = {{"diffusion_model", "q4_k"}};
    const sd_convert_params params = {
        .model = MOCKUP, .output = in_folder("shapes.gguf"), .rules = rules, .rule_count = 1};
    (void)state;
    sd_convert_report *report = converted(NULL, &params);
    const sd_convert_group *attention = group_of(report, "UNet", "attention");
    assert_string_equal(attention->type, "Q5_0"); /* rows of 32, 64 and 128 */
    assert_string_equal(attention->asked, "Q4_K");
    const sd_convert_group *vectors = group_of(report, "UNet", "vectors");
    assert_string_equal(vectors->type, "F16");
    assert_string_equal(vectors->asked, "Q4_K");
    assert_true(vectors->largest == 0 && vectors->error == 0);
    sd_tensor_file *file = opened(params.output);
    const sd_file_tensor *filters =
        sd_tensor_file_find(file, "model.diffusion_model.middle_block.0.in_layers.2.weight");
    assert_int_equal(filters->dtype, SD_FILE_Q4_K); /* reshaped in the file, but not for its readers */
    assert_int_equal(filters->rank, 4);
    assert_int_equal(filters->shape[3], 3);
    sd_tensor_file_close(&file);
    sd_convert_report_free(&report);
}

static void bad_requests_are_refused(void **state) {
    static const struct {
        sd_convert_rule rules[2];
        size_t count;
        const char *type, *message;
    } cases[] = {
        {{{0}}, 0, "q8_o", "type: unknown type 'q8_o'; did you mean 'q8_0'?"},
        {{{0}},
         0,
         "something",
         "type: expected one of f32, f16, bf16, f8_e4m3, f8_e5m2, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, "
         "q4_0, "
         "q3_k, q2_k, iq4_nl, iq4_xs, found 'something'"},
        {{{0}}, 0, "f8_e4m3", "type: expected a type that GGUF files can hold, found 'f8_e4m3'"},
        {{{"attn", "fp16"}}, 1, NULL, "rule 'attn': unknown type 'fp16'; did you mean 'f16'?"},
        {{{"attn(", "q8_0"}},
         1,
         NULL,
         "rule 'attn(': expected an extended regular expression: Unmatched ( or \\("},
        {{{"atn", "q8_0"}},
         1,
         NULL,
         "rule 'atn': fits none of the 694 tensors; the first is "
         "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"},
        {{{"attn", "q8_0"}, {"attn2", "q4_0"}},
         2,
         NULL,
         "rule 'attn2': has no effect, as rules before it fit all of its 50 tensors"},
        {{{"", "q8_0"}}, 1, NULL, "rule 1: expected a pattern and a type"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(NULL,
                &(sd_convert_params){.model = MOCKUP,
                                     .output = in_folder("no.gguf"),
                                     .type = cases[i].type,
                                     .rules = cases[i].rules,
                                     .rule_count = cases[i].count},
                SD_E_ARGUMENT, cases[i].message);
    refused(NULL,
            &(sd_convert_params){.model = MOCKUP, .output = in_folder("no.safetensors"), .type = "q8_0"},
            SD_E_ARGUMENT, "type: expected a type that safetensors files can hold, found 'q8_0'");
    refused(NULL, &(sd_convert_params){.output = "x.gguf"}, SD_E_ARGUMENT,
            "model: expected a file or folder, found none");
    refused(NULL, &(sd_convert_params){.model = MOCKUP}, SD_E_ARGUMENT,
            "output: expected the name of a file to write, found none");
    refused(NULL, &(sd_convert_params){.model = MOCKUP, .output = "x.ckpt"}, SD_E_ARGUMENT,
            "output: expected a name that ends in .safetensors or .gguf, found 'x.ckpt'");
    const sd_lora_use lora = {.path = "x", .unet = 1};
    refused(NULL, &(sd_convert_params){.model = MOCKUP, .output = "x.gguf", .loras = &lora, .lora_count = 1},
            SD_E_ARGUMENT, "loras: expected a context, whose device merges them");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_become_the_files_that_are_published),
        cmocka_unit_test(every_type_is_written),
        cmocka_unit_test(quantised_files_convert_back),
        cmocka_unit_test(the_first_rule_wins),
        cmocka_unit_test(shapes_that_do_not_fit_are_told),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
