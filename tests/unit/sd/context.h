/* The context that a test's cases share: setup and teardown of cmocka's groups. */
#ifndef SD_TESTS_CONTEXT_H
#define SD_TESTS_CONTEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "sd/sd.h"

static inline int open_context(void **state) {
    sd_error err;
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    if (!sd_context_create((sd_context **)state, &options, &err))
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static inline int close_context(void **state) {
    sd_context *context = *state;
    sd_context_destroy(&context);
    return 0;
}

#endif
