#include "sd/base/quant_fit.h"

#include <math.h>

/* For each value the nearest level, as value / scale; loops that compilers turn into vector instructions. */
static void nearest_levels(const struct sd_fit_levels *l, const float *x, int n, float inverse,
                           float *level) {
    if (!l->table) {
        float low = (float)l->low, high = (float)l->high;
        for (int i = 0; i < n; i++) {
            float v = x[i] * inverse;
            v = v > low ? v : low;
            v = v < high ? v : high;
            level[i] = sd_fit_round(v);
        }
        return;
    }
    for (int i = 0; i < n; i++)
        level[i] = l->table[l->low];
    for (int k = l->low; k < l->high; k++) {
        float middle = 0.5f * (float)(l->table[k] + l->table[k + 1]);
        float step = (float)(l->table[k + 1] - l->table[k]);
        for (int i = 0; i < n; i++)
            level[i] += x[i] * inverse > middle ? step : 0;
    }
}

/* Sums of x q and of q q over the levels q for an inverse scale. In four parts, so that they need not be
 * added up one after the other. */
static void correlate(const struct sd_fit_levels *l, const float *x, int n, float inverse, float *xq,
                      float *qq) {
    float level[SD_FIT_SUB], a[4] = {0}, b[4] = {0};
    nearest_levels(l, x, n, inverse, level);
    for (int i = 0; i < n; i += 4)
        for (int k = 0; k < 4; k++) {
            a[k] += x[i + k] * level[i + k];
            b[k] += level[i + k] * level[i + k];
        }
    *xq = (a[0] + a[1]) + (a[2] + a[3]);
    *qq = (b[0] + b[1]) + (b[2] + b[3]);
}

static float largest(const float *x, int n) {
    float extreme = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme))
            extreme = x[i];
    return extreme;
}

/* Starts with the largest value at either end of the levels, a little inside and outside. From each start the
 * best scale for the codes and the best codes for the scale are taken in turn; the error is sum x x - (sum x
 * q)^2 / sum q q.
 */
float sd_fit_scale(const struct sd_fit_levels *l, const float *x, int n) {
    static const float stretches[] = {0.7f, 0.8f, 0.87f, 0.93f, 1.0f, 1.06f, 1.12f};
    float extreme = largest(x, n), best = 0, best_gain = 0;
    if (fabsf(extreme) < 1e-30f)
        return 0;
    for (int end = 0; end < 2; end++)
        for (size_t k = 0; k < sizeof stretches / sizeof *stretches; k++) {
            int last = end ? l->high : l->low;
            float inverse = stretches[k] * (float)(l->table ? l->table[last] : last) / extreme, gain = 0;
            for (int turn = 0; turn < 2; turn++) {
                float xq, qq;
                correlate(l, x, n, inverse, &xq, &qq);
                if (!(qq > 0) || !(xq * xq > gain * qq))
                    break;
                gain = xq * xq / qq;
                inverse = qq / xq;
            }
            if (gain > best_gain) {
                best_gain = gain;
                best = 1 / inverse;
            }
        }
    return best;
}

static float inverse_of(float scale) {
    return fabsf(scale) > 1e-30f ? 1 / scale : 0;
}

/* Sum of squared errors with the best codes for this scale. */
static float error_of(const struct sd_fit_levels *l, const float *x, int n, float scale) {
    float level[SD_FIT_SUB], sum[4] = {0};
    nearest_levels(l, x, n, inverse_of(scale), level);
    for (int i = 0; i < n; i += 4)
        for (int k = 0; k < 4; k++) {
            float rest = x[i + k] - scale * level[i + k];
            sum[k] += rest * rest;
        }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void sd_fit_codes(const struct sd_fit_levels *l, const float *x, int n, float scale, int8_t *q) {
    float level[SD_FIT_SUB];
    nearest_levels(l, x, n, inverse_of(scale), level);
    for (int i = 0; i < n; i++) {
        int code = l->table ? l->low : (int)level[i];
        while (l->table && (float)l->table[code] < level[i])
            code++;
        q[i] = (int8_t)code;
    }
}

static int clamp(float value, int low, int high) {
    if (!(value > (float)low))
        return low;
    return value < (float)high ? (int)sd_fit_round(value) : high;
}

/* Scales and codes of all sub-blocks for this d, the scales near the wanted ones. Returns the sum of squared
 * errors.
 */
static double assign(const struct sd_fit_signed *shape, const float *x, const float *wanted,
                     struct sd_signed_block *out) {
    double sum = 0;
    for (int j = 0; j < SD_FIT_VALUES / shape->sub; j++) {
        const float *from = x + j * shape->sub;
        int middle = out->d != 0 ? clamp(wanted[j] / out->d, shape->scale_low, shape->scale_high) : 0;
        float best = INFINITY;
        for (int sc = middle - 1; sc <= middle + 1; sc++) {
            if (sc < shape->scale_low || sc > shape->scale_high)
                continue;
            float error = error_of(&shape->levels, from, shape->sub, out->d * (float)sc);
            if (error < best) {
                best = error;
                out->sc[j] = (int8_t)sc;
            }
        }
        sd_fit_codes(&shape->levels, from, shape->sub, out->d * (float)out->sc[j], out->q + j * shape->sub);
        sum += (double)best;
    }
    return sum;
}

/* The d that fits best to the scales and codes as they are. */
static float refit(const struct sd_fit_signed *shape, const float *x, const struct sd_signed_block *b) {
    const struct sd_fit_levels *l = &shape->levels;
    double num = 0, den = 0;
    for (int i = 0; i < SD_FIT_VALUES; i++) {
        double a = (double)b->sc[i / shape->sub] * (l->table ? l->table[b->q[i]] : b->q[i]);
        num += (double)x[i] * a;
        den += a * a;
    }
    return den > 0 ? (float)(num / den) : b->d;
}

bool sd_fit_signed(const struct sd_fit_signed *shape, const float *x, struct sd_signed_block *out) {
    int subs = SD_FIT_VALUES / shape->sub;
    float wanted[SD_FIT_SUBS];
    struct sd_signed_block trial = {0};
    for (int j = 0; j < subs; j++)
        wanted[j] = sd_fit_scale(&shape->levels, x + j * shape->sub, shape->sub);
    *out = (struct sd_signed_block){.d = sd_fit_half(largest(wanted, subs) / (float)shape->scale_low)};
    if (!isfinite(out->d))
        return false;
    double error = assign(shape, x, wanted, out);
    for (int turn = 0; turn < 3; turn++) {
        trial.d = sd_fit_half(refit(shape, x, out));
        if (trial.d == out->d || !isfinite(trial.d))
            break;
        double now = assign(shape, x, wanted, &trial);
        if (!(now < error))
            break;
        error = now;
        *out = trial;
    }
    return true;
}
