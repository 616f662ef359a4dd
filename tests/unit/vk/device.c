#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sd/vk/buffer.h"

static int open_device(void **state) {
    sd_vk *vk;
    sd_error err;
    struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    if (sd_vk_open(&vk, &options, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    *state = vk;
    return 0;
}

static int open_staging_device(void **state) {
    sd_error err;
    struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE"), .staging = true};
    return sd_vk_open((sd_vk **)state, &options, &err) ? -1 : 0;
}

static int close_device(void **state) {
    sd_vk *vk = *state;
    sd_vk_close(&vk);
    assert_null(vk);
    return 0;
}

static void lists_what_can_be_opened(void **state) {
    (void)state;
    struct sd_vk_info infos[8];
    size_t count;
    sd_error err;
    assert_int_equal(sd_vk_list(infos, 8, &count, &err), SD_OK);
    assert_true(count >= 1);
    for (size_t i = 0; i < count && i < 8; i++) {
        sd_vk *vk;
        struct sd_vk_options by_uuid = {.device = infos[i].uuid};
        assert_int_equal(infos[i].index, i);
        assert_int_equal(strlen(infos[i].uuid), 36);
        assert_true(infos[i].memory > 0 && infos[i].subgroup > 0 && infos[i].max_allocation > 0);
        assert_int_equal(sd_vk_open(&vk, &by_uuid, &err), SD_OK);
        assert_string_equal(sd_vk_info(vk)->uuid, infos[i].uuid);
        sd_vk_close(&vk);
    }
}

static void unknown_devices_are_refused_by_name(void **state) {
    (void)state;
    sd_vk *vk;
    sd_error err;
    struct sd_vk_options absent = {.device = "no such card"}, beyond = {.device = "99"};
    assert_int_equal(sd_vk_open(&vk, &absent, &err), SD_E_NOT_FOUND);
    assert_null(vk);
    assert_non_null(
        strstr(err.message, "no device is called 'no such card'; `sdvk devices` lists what is there"));
    assert_int_equal(sd_vk_open(&vk, &beyond, &err), SD_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "device 99 does not exist"));
}

/* 9 MiB is more than the upload ring holds; the ends are unaligned. */
static void what_is_written_is_read_back(void **state) {
    sd_vk *vk = *state;
    sd_vk_buffer *buffer;
    sd_error err;
    const size_t size = (9 << 20) + 37, from = 1013, part = size - 2500;
    unsigned char *data = malloc(size), *back = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 13);
    assert_int_equal(sd_vk_buffer_create(vk, &buffer, size, SD_VK_LOCAL, "test", &err), SD_OK);
    assert_int_equal(buffer->address % 256, 0);
    assert_int_equal(sd_vk_write(vk, buffer, 0, data, size, &err), SD_OK);
    assert_int_equal(sd_vk_read(vk, buffer, from, back, part, &err), SD_OK);
    assert_memory_equal(back, data + from, part);
    assert_int_equal(sd_vk_fill(vk, buffer, 4096, 8192, 0x01020304, &err), SD_OK);
    assert_int_equal(sd_vk_read(vk, buffer, 0, back, size, &err), SD_OK);
    for (size_t i = 0; i < 8192; i += 4)
        assert_memory_equal(back + 4096 + i, "\4\3\2\1", 4);
    assert_memory_equal(back, data, 4096);
    assert_memory_equal(back + 12288, data + 12288, size - 12288);
    assert_int_equal(sd_vk_write(vk, buffer, size - 1, data, 2, &err), SD_E_INTERNAL);
    sd_vk_buffer_destroy(vk, &buffer);
    free(data);
    free(back);
}

/* Buffers never overlap, freed room is used again, and everything is given back. */
static void ranges_are_disjoint_and_reused(void **state) {
    sd_vk *vk = *state;
    enum { buffers = 200 };
    sd_vk_buffer *b[buffers] = {0};
    sd_error err;
    uint64_t before = sd_vk_memory_used(vk);
    uint32_t random = 7;
    for (int round = 0; round < 2000; round++) {
        random = random * 1664525 + 1013904223;
        int i = (int)(random >> 8) % buffers;
        if (b[i])
            sd_vk_buffer_destroy(vk, &b[i]);
        else
            assert_int_equal(
                sd_vk_buffer_create(vk, &b[i], 1 + (random >> 12) % 70000, SD_VK_LOCAL, "piece", &err),
                SD_OK);
    }
    for (int i = 0; i < buffers; i++)
        for (int j = 0; j < i; j++)
            if (b[i] && b[j])
                assert_true(b[i]->address + b[i]->size <= b[j]->address ||
                            b[j]->address + b[j]->size <= b[i]->address);
    assert_true(sd_vk_memory_reserved(vk) <= (uint64_t)192 << 20);
    for (int i = 0; i < buffers; i++)
        sd_vk_buffer_destroy(vk, &b[i]);
    assert_int_equal(sd_vk_memory_used(vk), before);
}

static void too_much_memory_is_a_clear_error(void **state) {
    sd_vk *vk = *state;
    sd_vk_buffer *buffer;
    sd_error err;
    uint64_t size = sd_vk_info(vk)->max_allocation + 4096;
    assert_int_equal(sd_vk_buffer_create(vk, &buffer, size, SD_VK_LOCAL, "giant", &err), SD_E_DEVICE_MEMORY);
    assert_null(buffer);
    assert_non_null(strstr(err.message, "giant needs"));
    assert_int_equal(sd_vk_buffer_create(vk, &buffer, UINT64_MAX, SD_VK_LOCAL, "giant", &err),
                     SD_E_DEVICE_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_what_can_be_opened),
        cmocka_unit_test(unknown_devices_are_refused_by_name),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(ranges_are_disjoint_and_reused),
        cmocka_unit_test(too_much_memory_is_a_clear_error),
    };
    const struct CMUnitTest staged[] = {cmocka_unit_test(what_is_written_is_read_back)};
    int failed = cmocka_run_group_tests(tests, open_device, close_device);
    return failed + cmocka_run_group_tests_name("staging", staged, open_staging_device, close_device);
}
