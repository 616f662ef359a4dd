/* Numbers of every real element type, plain and quantised, as f32 and back. */
#ifndef SD_BASE_VALUES_H
#define SD_BASE_VALUES_H

#include "sd/base/dtype.h"

/* F64, F32, F16, BF16, F8 and the quantised types. */
bool sd_dtype_real(sd_dtype dtype);

/* Values first .. first + count - 1 as f32, exactly except for F64, which rounds. `data` is little-endian and
 * may be unaligned; `dtype` must be real. Thread-safe. */
void sd_values_decode(sd_dtype dtype, const void *data, uint64_t first, uint64_t count, float *out);

/* `count` values, of quantised types a multiple of the block, rounded to nearest even. NaN and infinity stay
 * what they are where the type has them. False when a value does not fit: it is finite and would become
 * infinite, or it is NaN or infinite and the type has no such value; `out` is then unspecified. Thread-safe.
 */
bool sd_values_encode(sd_dtype dtype, const float *in, uint64_t count, void *out);

#endif
