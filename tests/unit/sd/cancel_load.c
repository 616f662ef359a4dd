/* A cancel while weights are loaded or files hashed: the call ends soon, and what was open works on. The
 * linker hands sd_vk_write, through which every tensor reaches the device, and sd_file_sha256_until to the
 * functions here (see
 * tests/CMakeLists.txt). Run under ASan it finds leaks. */
#include "sd/model.h"
#include "sd/vk/buffer.h"

#include "tests/unit/sd/context.h"

#include <string.h>

#define MOCKUP SDVK_SOURCE_DIR "/samples/mockup"
#define ACME SDVK_SOURCE_DIR "/samples/loras/acme.safetensors"

enum { side = 64, bytes = side * side * 3 };

/* Spans that were copied, behind which of them the cancel comes, and how many came after it. */
static struct {
    sd_cancel *cancel;
    unsigned count, at, after;
} writes;

sd_status __real_sd_vk_write(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, const void *data,
                             uint64_t size, sd_error *err);
sd_status __wrap_sd_vk_write(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, const void *data,
                             uint64_t size, sd_error *err);

sd_status __wrap_sd_vk_write(sd_vk *vk, sd_vk_buffer *buffer, uint64_t offset, const void *data,
                             uint64_t size, sd_error *err) {
    writes.after += sd_cancel_requested(writes.cancel);
    if (++writes.count == writes.at)
        sd_cancel_request(writes.cancel);
    return __real_sd_vk_write(vk, buffer, offset, data, size, err);
}

static void arm(sd_cancel *cancel, unsigned at) {
    *cancel = (sd_cancel){0};
    writes.cancel = cancel;
    writes.count = writes.after = 0;
    writes.at = at;
}

/* Stacked weights (query, key and value) are three parts of one tensor, and the last of them is under way. */
enum { most_after = SD_WEIGHT_PARTS };

static void opening_stops(void **state) {
    sd_cancel cancel;
    sd_model *model;
    sd_error err;
    const sd_model_options options = {.cancel = &cancel};
    arm(&cancel, 0);
    assert_int_equal(sd_model_open(&model, *state, MOCKUP, &options, &err), SD_OK);
    sd_model_close(&model);
    const unsigned all = writes.count, step = all / 12;
    assert_true(step > most_after);
    for (unsigned at = 1; at < all - most_after; at += step) {
        arm(&cancel, at);
        assert_int_equal(sd_model_open(&model, *state, MOCKUP, &options, &err), SD_E_CANCELLED);
        assert_string_equal(err.message, "cancelled");
        assert_null(model);
        assert_true(writes.after < most_after);
    }
    arm(&cancel, 0);
    sd_cancel_request(&cancel);
    assert_int_equal(sd_model_open(&model, *state, MOCKUP, &options, &err), SD_E_CANCELLED);
    assert_int_equal(writes.count, 0);
    arm(&cancel, 0);
    assert_int_equal(sd_model_open(&model, *state, MOCKUP, &options, &err), SD_OK);
    sd_model_close(&model);
    writes.cancel = NULL; /* ours goes out of scope */
}

static sd_status render(sd_model *model, const sd_lora_use *loras, size_t count, sd_cancel *cancel,
                        uint8_t *pixels) {
    sd_outputs *outputs;
    sd_error err;
    const sd_params params = {.prompt = "an acme red mug",
                              .width = side,
                              .height = side,
                              .steps = 1,
                              .seed = 5,
                              .loras = loras,
                              .lora_count = count,
                              .cancel = cancel};
    sd_status status = sd_generate(model, &params, &outputs, &err);
    assert_int_equal(!status, outputs != NULL);
    if (!status)
        memcpy(pixels, outputs->items[0].picture.pixels, bytes);
    sd_outputs_free(&outputs);
    return status;
}

/* Cut short at any of its tensors, a change of LoRAs leaves a model that gives the pictures of its new set.
 */
static void merging_stops(void **state) {
    static const sd_lora_use acme = {ACME, 1, 1, NULL};
    static uint8_t with[bytes], without[bytes], now[bytes];
    sd_cancel cancel = {0};
    sd_model *model;
    sd_error err;
    arm(&cancel, 0);
    assert_int_equal(sd_model_open(&model, *state, MOCKUP, NULL, &err), SD_OK);
    assert_int_equal(render(model, NULL, 0, NULL, without), SD_OK);
    assert_int_equal(render(model, &acme, 1, NULL, with), SD_OK);
    assert_memory_not_equal(with, without, bytes);
    assert_int_equal(render(model, &acme, 0, NULL, now), SD_OK);
    for (unsigned at = 1; at < 120; at += 17) {
        arm(&cancel, at);
        assert_int_equal(render(model, &acme, 1, &cancel, now), SD_E_CANCELLED);
        assert_true(writes.after <= 2 * most_after); /* factors of LoRAs are written too */
        assert_int_equal(render(model, NULL, 0, NULL, now), SD_OK);
        assert_memory_equal(now, with, bytes);
        assert_int_equal(render(model, &acme, 0, NULL, now), SD_OK);
        assert_memory_equal(now, without, bytes);
    }
    arm(&cancel, 1);
    assert_int_equal(render(model, &acme, 1, &cancel, now), SD_E_CANCELLED);
    assert_int_equal(render(model, &acme, 1, NULL, now), SD_OK);
    assert_memory_equal(now, with, bytes);
    sd_model_close(&model);
}

sd_status __real_sd_file_sha256_until(const char *path, uint64_t offset, bool (*cancelled)(const void *),
                                      const void *cancel, char *hex, sd_error *err);
sd_status __wrap_sd_file_sha256_until(const char *path, uint64_t offset, bool (*cancelled)(const void *),
                                      const void *cancel, char *hex, sd_error *err);

/* The cancel that comes while a file is hashed, or NULL; and files that were. */
static sd_cancel *hashing;
static unsigned hashed;

sd_status __wrap_sd_file_sha256_until(const char *path, uint64_t offset, bool (*cancelled)(const void *),
                                      const void *cancel, char *hex, sd_error *err) {
    hashed++;
    if (hashing)
        sd_cancel_request(hashing);
    return __real_sd_file_sha256_until(path, offset, cancelled, cancel, hex, err);
}

/* A model's first picture has it hashed. */
static void hashing_stops(void **state) {
    static uint8_t first[bytes], second[bytes];
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE"), .cache_dir = ""};
    sd_cancel cancel = {0};
    sd_context *context;
    sd_model *model;
    sd_error err;
    (void)state;
    assert_int_equal(sd_context_create(&context, &options, &err), SD_OK);
    arm(&cancel, 0);
    assert_int_equal(sd_model_open(&model, context, MOCKUP, NULL, &err), SD_OK);
    hashed = 0;
    hashing = &cancel;
    assert_int_equal(render(model, NULL, 0, &cancel, first), SD_E_CANCELLED);
    assert_int_equal(hashed, 1);
    hashing = NULL;
    assert_int_equal(render(model, NULL, 0, NULL, first), SD_OK);
    assert_int_equal(hashed, 2);
    /* What was known before is not asked for again, whatever the next call's cancel says. */
    cancel = (sd_cancel){0};
    hashing = &cancel;
    assert_int_equal(render(model, NULL, 0, &cancel, second), SD_OK);
    assert_int_equal(hashed, 2);
    assert_memory_equal(first, second, bytes);
    hashing = NULL;
    sd_model_close(&model);
    sd_context_destroy(&context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(opening_stops), cmocka_unit_test(merging_stops),
                                       cmocka_unit_test(hashing_stops)};
    return cmocka_run_group_tests_name("cancel_load", tests, open_context, close_context);
}
