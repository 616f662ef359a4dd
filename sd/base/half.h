/* Conversions between float and the 16-bit formats, rounding to nearest even; NaN stays NaN. */
#ifndef SD_BASE_HALF_H
#define SD_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

float sd_f32_from_f16(uint16_t half);
uint16_t sd_f16_from_f32(float value);
float sd_f32_from_bf16(uint16_t bits);
uint16_t sd_bf16_from_f32(float value);

/* The same over arrays; source and destination must not overlap. */
void sd_f32_from_f16_array(float *out, const uint16_t *in, size_t count);
void sd_f16_from_f32_array(uint16_t *out, const float *in, size_t count);

#endif
