#include "lora/rotation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sd_skew(double *q, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            q[i * n + j] = (double)b[i * n + j] - (double)b[j * n + i];
}

void sd_skew_from_upper(double *q, const float *upper, size_t n) {
    for (size_t i = 0; i < n; i++) {
        q[i * n + i] = 0;
        for (size_t j = i + 1; j < n; j++) {
            q[i * n + j] = *upper;
            q[j * n + i] = -*upper++;
        }
    }
}

static void swap_rows(double *m, size_t n, size_t a, size_t b) {
    for (size_t j = 0; j < n && a != b; j++) {
        double kept = m[a * n + j];
        m[a * n + j] = m[b * n + j];
        m[b * n + j] = kept;
    }
}

/* Solves a x = b for [n,n] matrices by Gauss-Jordan elimination with pivots; b becomes x. I - q is never
 * singular for a skew-symmetric q. */
static void solve(double *a, double *b, size_t n) {
    for (size_t k = 0; k < n; k++) {
        size_t pivot = k;
        for (size_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k]))
                pivot = i;
        swap_rows(a, n, k, pivot);
        swap_rows(b, n, k, pivot);
        double inverse = 1 / a[k * n + k];
        for (size_t j = 0; j < n; j++) {
            a[k * n + j] *= inverse;
            b[k * n + j] *= inverse;
        }
        for (size_t i = 0; i < n; i++) {
            double factor = i == k ? 0 : a[i * n + k];
            if (factor == 0)
                continue;
            for (size_t j = 0; j < n; j++) {
                a[i * n + j] -= factor * a[k * n + j];
                b[i * n + j] -= factor * b[k * n + j];
            }
        }
    }
}

/* (I + q) and (I - q)^-1 commute, so that one system gives the product. */
bool sd_cayley(double *r, const double *q, size_t n) {
    double *minus = malloc((n * n + 1) * sizeof *minus);
    if (!minus)
        return false;
    for (size_t i = 0; i < n * n; i++) {
        double one = i % (n + 1) == 0;
        minus[i] = one - q[i];
        r[i] = one + q[i];
    }
    solve(minus, r, n);
    free(minus);
    return true;
}

/* to = a b */
static void multiply(double *to, const double *a, const double *b, size_t n) {
    memset(to, 0, n * n * sizeof *to);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < n; j++)
                to[i * n + j] += a[i * n + k] * b[k * n + j];
}

bool sd_cayley_series(double *r, const double *q, size_t n, unsigned terms) {
    double *power = malloc((n * n + 1) * sizeof *power), *next = malloc((n * n + 1) * sizeof *next);
    bool ok = power && next;
    for (size_t i = 0; ok && i < n * n; i++) {
        r[i] = i % (n + 1) == 0;
        power[i] = q[i];
    }
    for (unsigned t = 1; ok && t < terms; t++) {
        double factor = t + 1 < terms ? 2 : 1;
        for (size_t i = 0; i < n * n; i++)
            r[i] += factor * power[i];
        multiply(next, power, q, n);
        double *kept = power;
        power = next;
        next = kept;
    }
    free(power);
    free(next);
    return ok;
}
