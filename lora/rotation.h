/* Small rotations from skew-symmetric matrices, in double on the host. Internal to the lora room. */
#ifndef LORA_ROTATION_H
#define LORA_ROTATION_H

#include <stdbool.h>
#include <stddef.h>

/* q = b - b^T for a [n,n] block. */
void sd_skew(double *q, const float *b, size_t n);
/* Fills the skew-symmetric q [n,n] from its n(n-1)/2 values above the diagonal, row by row. */
void sd_skew_from_upper(double *q, const float *upper, size_t n);

/* r = (I + q)(I - q)^-1, the Cayley transform. Returns false when memory runs out. */
bool sd_cayley(double *r, const double *q, size_t n);
/* r = I + 2q + 2q^2 + ... + 2q^(terms-2) + q^(terms-1), its Neumann series as PEFT cuts it. */
bool sd_cayley_series(double *r, const double *q, size_t n, unsigned terms);

#endif
