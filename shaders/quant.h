/* Quantised weights as the GEMM kernels read them, shared by C and GLSL. The files' blocks (sd/base/quant.h)
 * are laid out anew, bit for bit, in three regions:
 *
 * - codes: of every unit of 32 neighbouring k's of a column QUANT_WORDS(type) words:
 *   [tile][unit][column][words]
 * - fine scales: 16 bits, [tile][unit pair][column]: d, or the two 8-bit scales (and offsets) of 16 or 32
 *   values; where a type has d and m 32 bits, [tile][unit][column]
 * - coarse scales: a word for 8 units, [tile][octet][column]: d and dmin of the K types
 *
 * Codes have 2, 4 or 8 bits in words of 16, 8 or 4; what goes beyond 2 and 4 bits (one or two bits) stands in
 * the words behind. The k's of nine taps are tap * channels + channel, but a file's row holds value
 * channel * 9 + tap: codes are put in the order of the k's, while scales stay those of 32 values of the row.
 * Where a row does not fill whole octets, the next one begins inside the last: QUANT_FIRST. */
#ifndef QUANT_H
#define QUANT_H

/* Element types of packed weights, a specialization constant of the kernels. */
#define WEIGHT_F32 0
#define WEIGHT_F16 1
#define WEIGHT_Q4_0 2
#define WEIGHT_Q4_1 3
#define WEIGHT_Q5_0 4
#define WEIGHT_Q5_1 5
#define WEIGHT_Q8_0 6
#define WEIGHT_IQ4_NL 7
#define WEIGHT_Q2_K 8
#define WEIGHT_Q3_K 9
#define WEIGHT_Q4_K 10
#define WEIGHT_Q5_K 11
#define WEIGHT_Q6_K 12
#define WEIGHT_IQ4_XS 13

#define QUANT_UNIT 32 /* k's */
#define QUANT_OCTET 8 /* units that share a coarse word */
#define QUANT_TAPS 9

/* Octets that a row of so many units reaches into, at most, and units of a row's first octet that belong to
 * the row before. Rows are counted from one that begins with its octet. */
#define QUANT_OCTETS(units) ((units) % QUANT_OCTET == 0 ? (units) / QUANT_OCTET : (units) / QUANT_OCTET + 2)
#define QUANT_FIRST(row, units) ((row) % QUANT_OCTET * (units) % QUANT_OCTET)

#define QUANT_IS_K(type) ((type) >= WEIGHT_Q2_K)
#define QUANT_HAS_M(type) ((type) == WEIGHT_Q4_1 || (type) == WEIGHT_Q5_1)
/* Bits of a code's lower part, and of what goes beyond. */
#define QUANT_LOW_BITS(type)                                                                                 \
    ((type) == WEIGHT_Q8_0 ? 8 : (type) == WEIGHT_Q2_K || (type) == WEIGHT_Q3_K ? 2 : 4)
#define QUANT_HIGH_BITS(type)                                                                                \
    ((type) == WEIGHT_Q6_K                                                                              ? 2  \
     : (type) == WEIGHT_Q5_0 || (type) == WEIGHT_Q5_1 || (type) == WEIGHT_Q5_K || (type) == WEIGHT_Q3_K ? 1  \
                                                                                                        : 0)
/* Neighbouring values that share scale and offset. */
#define QUANT_GRAIN(type) ((type) == WEIGHT_Q2_K || (type) == WEIGHT_Q3_K || (type) == WEIGHT_Q6_K ? 16 : 32)
#define QUANT_WORDS(type) (QUANT_LOW_BITS(type) + QUANT_HIGH_BITS(type))

#endif
