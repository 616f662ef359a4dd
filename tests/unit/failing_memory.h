/* malloc, calloc and realloc that fail when a test says so; the linker hands all of a test's allocations to
 * them (see tests/CMakeLists.txt). For one file of a program. */
#ifndef SD_TESTS_FAILING_MEMORY_H
#define SD_TESTS_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* Allocations so far, and which one fails; 0: none. */
static unsigned long allocations, failing;

static inline bool allocation_fails(void) {
    return ++allocations == failing;
}

void *__wrap_malloc(size_t size) {
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return allocation_fails() ? NULL : __real_realloc(memory, size);
}

#endif
