/* Quantised numbers as GGUF files hold them: blocks of 32 or 256 neighbouring values of a row-major tensor
 * share one or two half-precision scales.
 *
 * The layouts. "name[n] @k" are n bytes from byte k of the block on; d, m and dmin are half floats; numbers
 * of several bytes are little-endian. i counts the block's values from 0; bits(b, k, n) are the n bits of
 * byte b from bit k up, bit 0 being worth 1. x is the value that comes out, computed in f32 in the order that
 * the brackets show and rounded after every step.
 *
 * Blocks of 32 values:
 *
 *   Q4_0    18 bytes  d @0, qs[16] @2
 *                     q = bits(qs[i % 16], 4 (i / 16), 4)
 *                     x = d (q - 8)
 *   Q4_1    20 bytes  d @0, m @2, qs[16] @4
 *                     q as Q4_0
 *                     x = (d q) + m
 *   Q5_0    22 bytes  d @0, qh[4] @2, qs[16] @6
 *                     q = as Q4_0 + 16 bits(qh[i / 8], i % 8, 1)
 *                     x = d (q - 16)
 *   Q5_1    24 bytes  d @0, m @2, qh[4] @4, qs[16] @8
 *                     q as Q5_0
 *                     x = (d q) + m
 *   Q8_0    34 bytes  d @0, qs[32] @2
 *                     q = qs[i], signed
 *                     x = d q
 *   IQ4_NL  18 bytes  d @0, qs[16] @2
 *                     q as Q4_0
 *                     x = d table[q]
 *
 *   table = -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
 *
 * Blocks of 256 values in sub-blocks, s = i / 16 (Q2_K, Q3_K, Q6_K) or s = i / 32 (Q4_K, Q5_K, IQ4_XS), each
 * with a scale sc and, where there is a dmin, an offset mn of its own:
 *
 *   Q2_K    84 bytes  scales[16] @0, qs[64] @16, d @80, dmin @82
 *                     q = bits(qs[32 (i / 128) + i % 32], 2 (i / 32 % 4), 2)
 *                     sc = bits(scales[s], 0, 4), mn = bits(scales[s], 4, 4)
 *                     x = ((d sc) q) - (dmin mn)
 *   Q3_K   110 bytes  hmask[32] @0, qs[64] @32, scales[12] @96, d @108
 *                     q = as Q2_K + 4 bits(hmask[i % 32], i / 32, 1) - 4
 *                     sc = bits(scales[s % 8], 4 (s / 8), 4)
 *                          + 16 bits(scales[8 + s % 4], 2 (s / 4), 2) - 32
 *                     x = (d sc) q
 *   Q4_K   144 bytes  d @0, dmin @2, scales[12] @4, qs[128] @16
 *                     q = bits(qs[32 (i / 64) + i % 32], 4 (i / 32 % 2), 4)
 *                     s < 4:  sc = bits(scales[s], 0, 6)
 *                             mn = bits(scales[s + 4], 0, 6)
 *                     s >= 4: sc = bits(scales[s + 4], 0, 4) + 16 bits(scales[s - 4], 6, 2)
 *                             mn = bits(scales[s + 4], 4, 4) + 16 bits(scales[s], 6, 2)
 *                     x = ((d sc) q) - (dmin mn)
 *   Q5_K   176 bytes  d @0, dmin @2, scales[12] @4, qh[32] @16, qs[128] @48
 *                     q = as Q4_K + 16 bits(qh[i % 32], i / 32, 1)
 *                     sc, mn and x as Q4_K
 *   Q6_K   210 bytes  ql[128] @0, qh[64] @128, scales[16] @192, d @208
 *                     q = bits(ql[64 (i / 128) + i % 64], 4 (i / 64 % 2), 4)
 *                         + 16 bits(qh[32 (i / 128) + i % 32], 2 (i / 32 % 4), 2) - 32
 *                     sc = scales[s], signed
 *                     x = (d sc) q
 *   IQ4_XS 136 bytes  d @0, scales_h[2] @2, scales_l[4] @4, qs[128] @8
 *                     q = bits(qs[16 s + i % 16], 4 (i / 16 % 2), 4)
 *                     sc = bits(scales_l[s / 2], 4 (s % 2), 4)
 *                          + 16 bits(scales_h[s / 4], 2 (s % 4), 2) - 32
 *                     x = (d sc) table[q]
 */
#ifndef SD_BASE_QUANT_H
#define SD_BASE_QUANT_H

#include <stdbool.h>
#include <stdint.h>

#include "sd/base/dtype.h"

/* Values first .. first + count - 1 of the blocks as f32, equal bit for bit to what the formulas above give.
 * Neither end has to be the end of a block. `dtype` must be a quantised one. Scales that are NaN or infinite
 * give values that are. Thread-safe. */
void sd_dequantise(sd_dtype dtype, const void *blocks, uint64_t first, uint64_t count, float *out);

/* `count` values, a multiple of the block, into blocks. Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 take scales and codes
 * from the largest (and smallest) value as the Python package gguf does, bit for bit; for the other types
 * scales are searched that make the sum of squared errors small. False when a value is NaN, infinite or so
 * large that a scale does not fit in a half float; the blocks are then unspecified. The same input gives the
 * same blocks. Thread-safe. */
bool sd_quantise(sd_dtype dtype, const float *in, uint64_t count, void *blocks);

#endif
