#include "sd/base/quant.h"

#include "sd/base/quant_internal.h"

#include <math.h>
#include <string.h>

static const struct {
    sd_quant_decode *decode;
    sd_quant_encode *encode;
} codecs[SD_DTYPES] = {
    [SD_Q4_0] = {sd_q4_0_decode, sd_q4_0_encode},       [SD_Q4_1] = {sd_q4_1_decode, sd_q4_1_encode},
    [SD_Q5_0] = {sd_q5_0_decode, sd_q5_0_encode},       [SD_Q5_1] = {sd_q5_1_decode, sd_q5_1_encode},
    [SD_Q8_0] = {sd_q8_0_decode, sd_q8_0_encode},       [SD_Q2_K] = {sd_q2_k_decode, sd_q2_k_encode},
    [SD_Q3_K] = {sd_q3_k_decode, sd_q3_k_encode},       [SD_Q4_K] = {sd_q4_k_decode, sd_q4_k_encode},
    [SD_Q5_K] = {sd_q5_k_decode, sd_q5_k_encode},       [SD_Q6_K] = {sd_q6_k_decode, sd_q6_k_encode},
    [SD_IQ4_NL] = {sd_iq4_nl_decode, sd_iq4_nl_encode}, [SD_IQ4_XS] = {sd_iq4_xs_decode, sd_iq4_xs_encode},
};

void sd_dequantise(sd_dtype dtype, const void *blocks, uint64_t first, uint64_t count, float *out) {
    sd_dtype_block block = sd_dtype_block_of(dtype);
    const uint8_t *p = (const uint8_t *)blocks + first / block.values * block.bytes;
    uint64_t skip = first % block.values;
    while (count) {
        uint64_t now = block.values - skip < count ? block.values - skip : count;
        if (now == block.values)
            codecs[dtype].decode(p, out);
        else {
            float whole[SD_QUANT_BLOCK];
            codecs[dtype].decode(p, whole);
            memcpy(out, whole + skip, (size_t)now * sizeof *out);
        }
        out += now;
        count -= now;
        p += block.bytes;
        skip = 0;
    }
}

/* No block of any type reaches beyond 2.7e8 (Q6_K: 65504 x 128 x 32). Below this, sums of squares are finite.
 */
static const float too_large = 1e9f;

bool sd_quantise(sd_dtype dtype, const float *in, uint64_t count, void *blocks) {
    sd_dtype_block block = sd_dtype_block_of(dtype);
    uint8_t *p = blocks;
    for (uint64_t at = 0; at < count; at += block.values, p += block.bytes) {
        for (uint32_t i = 0; i < block.values; i++)
            if (!(fabsf(in[at + i]) < too_large)) /* NaN too */
                return false;
        if (!codecs[dtype].encode(in + at, p))
            return false;
    }
    return true;
}
