/* What files say about themselves, without a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/io/hash_cache.h"
#include "sd/sd.h"
#include "tests/unit/folder.h"

#define SAMPLES SDVK_SOURCE_DIR "/samples/"

static void test_picture_in_memory(void **state) {
    uint8_t pixels[8 * 8 * 3] = {0}, *data;
    size_t size;
    char *json;
    sd_error err;
    const sd_output output = {.picture = {8, 8, 3, pixels},
                              .infotext =
                                  "a mug\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Size: 8x8",
                              .json = "{\"seed\":5}"};
    (void)state;
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        assert_int_equal(sd_output_encode(&output, &(sd_encoding){.jpeg = jpeg > 0}, &data, &size, &err),
                         SD_OK);
        assert_int_equal(sd_picture_info("p", data, size, 0, &json, &err), SD_OK);
        assert_non_null(strstr(json, "\"negative_prompt\":\t\"blurry\""));
        assert_non_null(strstr(json, "\"Sampler\":\t\"Euler a\""));
        assert_non_null(strstr(json, "\"seed\":\t5"));
        free(json);
        assert_int_equal(sd_picture_info("p", data, size, 63, &json, &err), SD_E_UNSUPPORTED);
        assert_null(json);
        free(data);
    }
    assert_int_equal(sd_picture_info("p", "no picture", 10, 0, &json, &err), SD_E_FORMAT);
    assert_memory_equal(err.message, "p: ", 3);
}

static void test_metadata(void **state) {
    char *json;
    sd_error err;
    (void)state;
    assert_int_equal(sd_file_metadata_texts(SAMPLES "loras/acme.safetensors", &json, &err), SD_OK);
    assert_non_null(strstr(json, "\"ss_network_module\":"));
    free(json);
    assert_int_equal(sd_file_metadata_texts(SAMPLES "loras/none.safetensors", &json, &err), SD_E_NOT_FOUND);
    assert_null(json);
}

static void test_hash_of_a_model(void **state) {
    const char *file = SAMPLES "mockup/unet/diffusion_pytorch_model.safetensors";
    char want[SD_SHA256_HEX], found[65];
    sd_hash_cache *cache;
    sd_hashes *hashes;
    sd_error err;
    (void)state;
    assert_int_equal(sd_hashes_open(&hashes, folder, &err), SD_OK);
    assert_false(sd_hashes_of_model(hashes, SAMPLES "mockup", found));
    assert_false(sd_hashes_of_model(hashes, SAMPLES "none", found));
    assert_int_equal(sd_hash_cache_create(&cache, folder, NULL, &err), SD_OK);
    assert_int_equal(sd_hash_cache_get(cache, file, SD_HASH_FILE, want, &err), SD_OK);
    sd_hash_cache_destroy(&cache);
    assert_true(sd_hashes_of_model(hashes, SAMPLES "mockup", found));
    assert_string_equal(found, want);
    assert_true(sd_hashes_of_model(hashes, file, found));
    sd_hashes_close(&hashes);
    assert_null(hashes);
}

static void test_names_of_another_program(void **state) {
    bool sgm = false, ancestral = false;
    sd_names names;
    (void)state;
    for (size_t i = 0; sd_schedule_at(i, &names); i++)
        sgm = sgm || (!strcmp(names.name, "sgm_uniform") && !strcmp(names.label, "SGM Uniform"));
    for (size_t i = 0; sd_sampler_at(i, &names); i++)
        ancestral = ancestral || (!strcmp(names.label, "Euler a") && names.eta == 1);
    assert_true(sgm && ancestral);
    sd_names schedule;
    assert_true(sd_sampler_named("dpm++ 2m KARRAS", &names, &schedule));
    assert_string_equal(names.name, "dpmpp_2m");
    assert_string_equal(schedule.name, "karras");
    assert_true(sd_sampler_named("euler_ancestral", &names, &schedule));
    assert_string_equal(names.label, "Euler a");
    assert_null(schedule.name);
    assert_false(sd_sampler_named("karras", &names, &schedule));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture_in_memory),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test_setup_teardown(test_hash_of_a_model, make_folder, remove_folder),
        cmocka_unit_test(test_names_of_another_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
