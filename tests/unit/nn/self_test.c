#include "sd/nn/self_test.h"

#include "sd/nn/weight_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static sd_vk *open_device(void) {
    sd_vk *vk;
    sd_error err;
    if (sd_vk_open(&vk, NULL, &err))
        fail_msg("%s", err.message);
    return vk;
}

/* The tests' device is a CPU; its description decides which kernels and layouts are used. */
static void passes_with_the_kernels_for_gpus(void **state) {
    (void)state;
    sd_vk *vk = open_device();
    sd_error err;
    ((struct sd_vk_info *)sd_vk_info(vk))->kind = SD_VK_DISCRETE;
    if (sd_self_test_gemm(vk, sd_vk_info(vk), &err))
        fail_msg("%s", err.message);
    sd_vk_close(&vk);
}

/* Weights packed for another kernel are a fault like any other. */
static void finds_wrong_values(void **state) {
    (void)state;
    sd_vk *vk = open_device();
    sd_error err;
    struct sd_vk_info other = *sd_vk_info(vk);
    assert_true(sd_gemm_for_cpu(&other));
    other.kind = SD_VK_DISCRETE;
    assert_int_equal(sd_self_test_gemm(vk, &other, &err), SD_E_NUMERIC);
    assert_non_null(strstr(err.message, "a convolution of 10 x 6 pixels from 16 to 60 channels gave "));
    sd_vk_close(&vk);
}

static void keep(void *user, sd_log_level level, const char *text) {
    if (level == SD_LOG_WARNING)
        strncpy(user, text, 255);
}

static void refused_matrices_are_gone_and_named(void **state) {
    (void)state;
    char warning[256] = "";
    const struct sd_vk_options options = {.log = {.write = keep, .user = warning, .level = SD_LOG_WARNING}};
    sd_vk *vk;
    sd_error err;
    if (sd_vk_open(&vk, &options, &err))
        fail_msg("%s", err.message);
    ((struct sd_vk_info *)sd_vk_info(vk))->coop.m = 16;
    sd_vk_refuse_coop(vk, "it gave 1, expected 2");
    assert_int_equal(sd_vk_info(vk)->coop.m, 0);
    assert_non_null(strstr(warning, ": cooperative matrices are not used: it gave 1, expected 2"));
    assert_int_equal(sd_self_test(vk, &err), SD_OK);
    sd_vk_close(&vk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_with_the_kernels_for_gpus),
        cmocka_unit_test(finds_wrong_values),
        cmocka_unit_test(refused_matrices_are_gone_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
