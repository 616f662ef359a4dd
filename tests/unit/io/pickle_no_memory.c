/* Every allocation of opening a file fails in turn: each time a clean error. The linker hands malloc and its
 * relatives to the functions here (see tests/CMakeLists.txt). Run under ASan it finds leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER SDVK_SOURCE_DIR "/tests/golden/pickles/"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* Allocations so far, and which one fails; 0: none. */
static unsigned long count, fail;

static bool fails(void) {
    return ++count == fail;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t number, size_t size) {
    return fails() ? NULL : __real_calloc(number, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return fails() ? NULL : __real_realloc(memory, size);
}

static void every_allocation_may_fail(void **state) {
    static const char *const names[] = {"lightning.ckpt", "views_legacy.pt", "numpy.pt", "dtypes.pt"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        sd_status status = SD_E_MEMORY;
        snprintf(path, sizeof path, FOLDER "%s", names[i]);
        for (unsigned long nth = 1; status; nth++) {
            sd_pickle *file;
            sd_error err;
            count = 0;
            fail = nth;
            status = sd_pickle_open(path, &file, &err);
            fail = 0;
            if (!status) {
                assert_true(count < nth);
                assert_true(nth > 4);
                sd_pickle_close(&file);
                continue;
            }
            assert_int_equal(status, SD_E_MEMORY);
            assert_non_null(strstr(err.message, ": no memory "));
            assert_null(file);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
