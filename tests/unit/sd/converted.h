/* Converting models and looking at what was written, for the tests of it. */
#ifndef SD_TESTS_CONVERTED_H
#define SD_TESTS_CONVERTED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sd/io/tensor_file.h"
#include "sd/tools.h"
#include "tests/unit/folder.h"

#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"
#define MOCKUP SDVK_SOURCE_DIR "/samples/mockup"

/* Converts; the report is to be freed. */
static inline sd_convert_report *converted(sd_context *context, const sd_convert_params *params) {
    sd_convert_report *report;
    sd_error err;
    if (sd_convert(context, params, &report, &err))
        fail_msg("%s", err.message);
    return report;
}

static inline void convert(sd_context *context, const sd_convert_params *params) {
    sd_convert_report *report = converted(context, params);
    sd_convert_report_free(&report);
    assert_null(report);
}

/* Nothing is written, and the message is this one with the folder in place of its first "%s". */
static inline void refused(sd_context *context, const sd_convert_params *params, sd_status status,
                           const char *message) {
    sd_convert_report *report = NULL;
    sd_error err;
    assert_int_equal(sd_convert(context, params, &report, &err), status);
    assert_string_equal(err.message, message);
    assert_null(report);
    if (params->output)
        assert_int_equal(access(params->output, F_OK), -1);
}

static inline sd_tensor_file *opened(const char *path) {
    sd_tensor_file *file;
    sd_error err;
    if (sd_tensor_file_open(path, &file, &err))
        fail_msg("%s", err.message);
    return file;
}

static inline sd_context *a_context(void) {
    sd_context *context;
    sd_error err;
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE"), .cache_dir = ""};
    if (sd_context_create(&context, &options, &err))
        fail_msg("%s", err.message);
    return context;
}

enum { PICTURE = 64 * 64 * 3 };

static inline void render(sd_context *context, const char *path, const sd_model_options *options,
                          uint8_t pixels[PICTURE]) {
    const sd_params params = {.prompt = "an acme red mug", .width = 64, .height = 64, .steps = 2, .seed = 5};
    sd_model *model;
    sd_outputs *outputs = NULL;
    sd_error err;
    if (sd_model_open(&model, context, path, options, &err) || sd_generate(model, &params, &outputs, &err))
        fail_msg("%s", err.message);
    memcpy(pixels, outputs->items[0].picture.pixels, PICTURE);
    sd_outputs_free(&outputs);
    sd_model_close(&model);
}

#endif
