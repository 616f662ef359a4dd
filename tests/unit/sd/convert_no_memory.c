/* Every allocation of a conversion fails in turn: each time a clean error, and no file. Run under ASan it
 * finds leaks. */
#include "tests/unit/failing_memory.h"

#include "tests/unit/sd/converted.h"

/* Again and again until nothing fails. Behind the first 200 only every 50th allocation does, as most of these
 * are one for each tensor. Returns how many there are. */
static unsigned long fail_each(const sd_convert_params *params) {
    sd_status status = SD_E_MEMORY;
    unsigned long nth = 0;
    while (status) {
        sd_convert_report *report;
        sd_error err = {0};
        allocations = 0;
        failing = nth += nth < 200 ? 1 : 50;
        status = sd_convert(NULL, params, &report, &err);
        failing = 0;
        assert_int_equal(!status, report != NULL);
        assert_int_equal(!status, access(params->output, F_OK) == 0);
        if (!status) {
            assert_true(allocations < nth);
            sd_convert_report_free(&report);
            continue;
        }
        assert_int_equal(status, SD_E_MEMORY);
        assert_non_null(strstr(err.message, "memory"));
    }
    return allocations;
}

static void folders(void **state) {
    const sd_convert_rule rules[] = {{"attn", "bf16"}, {"mlp", "f32"}};
    (void)state;
    unsigned long count = fail_each(&(sd_convert_params){.model = NETWORKS "sdxl",
                                                         .output = in_folder("folder.safetensors"),
                                                         .type = "f16",
                                                         .rules = rules,
                                                         .rule_count = 2});
    print_message("%lu allocations\n", count);
    assert_true(count > 1000);
}

static void single_files(void **state) {
    (void)state;
    unsigned long count = fail_each(&(sd_convert_params){
        .model = NETWORKS "refiner.safetensors", .output = in_folder("single.gguf"), .type = "q8_0"});
    print_message("%lu allocations\n", count);
    assert_true(count > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(folders), cmocka_unit_test(single_files)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
