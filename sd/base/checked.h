/* Size arithmetic that says when it would wrap. Every size product and file offset goes through here. */
#ifndef SD_BASE_CHECKED_H
#define SD_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Each returns true and stores the exact result, or returns false and leaves *out unspecified. */
static inline bool sd_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

static inline bool sd_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* Rounds up to a multiple of `step` (a power of two). */
static inline bool sd_align_u64(uint64_t a, uint64_t step, uint64_t *out) {
    if (__builtin_add_overflow(a, step - 1, out))
        return false;
    *out &= ~(step - 1);
    return true;
}

/* Ceiling division for sizes that are known to be small (shapes, tiles): a + b must not wrap, b > 0. */
static inline uint32_t sd_ceil_div(uint32_t a, uint32_t b) {
    return a / b + (a % b != 0);
}

#endif
