#include "sd/sample/beta_quantile.h"

#include <math.h>

/* The continued fraction of the incomplete beta function (DLMF 8.17.22), by the modified Lentz method. */
static double continued_fraction(double x, double a, double b) {
    double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), value = d;
    for (int m = 1; m < 300; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        value *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        value *= d * c;
        if (fabs(d * c - 1) < 1e-16)
            break;
    }
    return value;
}

static double cumulative(double x, double a, double b) {
    if (x <= 0)
        return 0;
    if (x >= 1)
        return 1;
    double front = tgamma(a + b) / (tgamma(a) * tgamma(b)) * pow(x, a) * pow(1 - x, b);
    if (x < (a + 1) / (a + b + 2))
        return front * continued_fraction(x, a, b) / a;
    return 1 - front * continued_fraction(1 - x, b, a) / b;
}

double sd_beta_quantile(double probability, double a, double b) {
    if (!(probability > 0))
        return 0;
    if (probability >= 1)
        return 1;
    if (a == b && probability == 0.5)
        return 0.5; /* exact by symmetry; callers round products with it */
    double low = 0, high = 1;
    while (high - low > 1e-15) {
        double middle = (low + high) / 2;
        if (middle == low || middle == high)
            break;
        if (cumulative(middle, a, b) < probability)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}
