#include "sd/base/quant_fit.h"

#include <math.h>
#include <string.h>

/* x = scale q + offset, offset at most 0. */
struct line {
    float scale, offset;
};

static inline float code(float value, float high) {
    value = value > 0 ? value : 0;
    value = value < high ? value : high;
    return sd_fit_round(value);
}

/* What least squares needs of the values and of the codes that a line gives them. */
struct sums {
    double q, qq, x, xq;
};

/* In four parts, so that they need not be added up one after the other. */
static struct sums add_up(const float *x, int n, float high, struct line from) {
    float q[4] = {0}, qq[4] = {0}, sx[4] = {0}, xq[4] = {0}, inverse = 1 / from.scale;
    for (int i = 0; i < n; i += 4)
        for (int k = 0; k < 4; k++) {
            float c = code((x[i + k] - from.offset) * inverse, high);
            q[k] += c;
            qq[k] += c * c;
            sx[k] += x[i + k];
            xq[k] += x[i + k] * c;
        }
    return (struct sums){(q[0] + q[1]) + (q[2] + q[3]), (qq[0] + qq[1]) + (qq[2] + qq[3]),
                         (sx[0] + sx[1]) + (sx[2] + sx[3]), (xq[0] + xq[1]) + (xq[2] + xq[3])};
}

/* The best line for the codes, and by how much it makes the sum of squares smaller; a scale of 0 when there
 * is none. */
static struct line solve(const struct sums *s, int n, double *gain) {
    double det = n * s->qq - s->q * s->q, scale = 0, offset = 0;
    if (det > 0) {
        scale = (n * s->xq - s->x * s->q) / det;
        offset = (s->x - scale * s->q) / n;
    }
    if (offset > 0 || !(det > 0)) {
        offset = 0;
        scale = s->qq > 0 ? s->xq / s->qq : 0;
    }
    *gain = 2 * scale * s->xq + 2 * offset * s->x - scale * scale * s->qq - 2 * scale * offset * s->q -
            n * offset * offset;
    return (struct line){(float)scale, (float)offset};
}

/* Starts with the range of the values, cut at neither, one or both ends by a part of a step. From each start
 * the best line for the codes and the best codes for the line are taken in turn; more starts and more turns
 * make the error smaller by 0.5 % and take half as long again. */
static struct line fit_line(const float *x, int n, int high) {
    static const float cuts[] = {0.0f, 0.35f};
    float least = 0, most = x[0];
    for (int i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    struct line best = {0, least};
    float step = (most - least) / (float)high;
    if (!(step > 1e-30f) || !isfinite(step))
        return best;
    double best_gain = -INFINITY;
    for (int low_cut = 0; low_cut < 2; low_cut++)
        for (int high_cut = 0; high_cut < 2; high_cut++) {
            float offset = least + cuts[low_cut] * step, end = most - cuts[high_cut] * step;
            struct line line = {(end - offset) / (float)high, offset < 0 ? offset : 0};
            double gain = -INFINITY, now;
            for (int turn = 0; turn < 2 && line.scale > 0; turn++) {
                struct sums s = add_up(x, n, (float)high, line);
                struct line better = solve(&s, n, &now);
                if (!(now > gain))
                    break;
                gain = now;
                line = better;
            }
            if (gain > best_gain) {
                best_gain = gain;
                best = line;
            }
        }
    return best;
}

/* The best codes for this line. Returns the sum of squared errors. */
static float codes(const float *x, int n, int high, struct line line, uint8_t *q) {
    float inverse = line.scale > 1e-30f ? 1 / line.scale : 0, error = 0;
    for (int i = 0; i < n; i++) {
        float c = code((x[i] - line.offset) * inverse, (float)high),
              rest = x[i] - (line.scale * c + line.offset);
        q[i] = (uint8_t)c;
        error += rest * rest;
    }
    return error;
}

static int whole(float value, float unit, int high) {
    return unit > 0 ? (int)code(value / unit, (float)high) : 0;
}

/* Scales, offsets and codes of all sub-blocks for this d and dmin, near the wanted ones. Returns the sum of
 * squared errors. */
static double assign(const struct sd_fit_affine *shape, const float *x, const struct line *wanted,
                     struct sd_affine_block *out) {
    double sum = 0;
    uint8_t q[SD_FIT_VALUES];
    for (int j = 0; j < SD_FIT_VALUES / shape->sub; j++) {
        const float *from = x + j * shape->sub;
        int sc0 = whole(wanted[j].scale, out->d, shape->scale_high);
        int mn0 = whole(-wanted[j].offset, out->dmin, shape->scale_high);
        float best = INFINITY;
        for (int k = 0; k < 9; k++) {
            int sc = sc0 + k / 3 - 1, mn = mn0 + k % 3 - 1;
            if (sc < 0 || mn < 0 || sc > shape->scale_high || mn > shape->scale_high)
                continue;
            struct line line = {out->d * (float)sc, -(out->dmin * (float)mn)};
            float error = codes(from, shape->sub, shape->code_high, line, q);
            if (error < best) {
                best = error;
                out->sc[j] = (uint8_t)sc;
                out->mn[j] = (uint8_t)mn;
                memcpy(out->q + j * shape->sub, q, (size_t)shape->sub);
            }
        }
        sum += (double)best;
    }
    return sum;
}

/* The d and dmin that fit best to the scales, offsets and codes as they are. */
static void refit(const struct sd_fit_affine *shape, const float *x, const struct sd_affine_block *b,
                  float *d, float *dmin) {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int i = 0; i < SD_FIT_VALUES; i++) {
        double p = (double)b->sc[i / shape->sub] * b->q[i], m = b->mn[i / shape->sub];
        aa += p * p;
        ab += p * m;
        bb += m * m;
        xa += (double)x[i] * p;
        xb += (double)x[i] * m;
    }
    double det = aa * bb - ab * ab;
    *d = b->d;
    *dmin = b->dmin;
    if (det > 0) {
        *d = (float)((xa * bb - xb * ab) / det);
        *dmin = (float)((xa * ab - xb * aa) / det);
    } else if (aa > 0)
        *d = (float)(xa / aa);
}

bool sd_fit_affine(const struct sd_fit_affine *shape, const float *x, struct sd_affine_block *out) {
    struct line wanted[SD_FIT_SUBS], most = {0, 0};
    struct sd_affine_block trial = {0};
    for (int j = 0; j < SD_FIT_VALUES / shape->sub; j++) {
        wanted[j] = fit_line(x + j * shape->sub, shape->sub, shape->code_high);
        most.scale = wanted[j].scale > most.scale ? wanted[j].scale : most.scale;
        most.offset = wanted[j].offset < most.offset ? wanted[j].offset : most.offset;
    }
    *out = (struct sd_affine_block){.d = sd_fit_half(most.scale / (float)shape->scale_high),
                                    .dmin = sd_fit_half(-most.offset / (float)shape->scale_high)};
    if (!isfinite(out->d) || !isfinite(out->dmin))
        return false;
    double error = assign(shape, x, wanted, out);
    for (int turn = 0; turn < 3; turn++) {
        refit(shape, x, out, &trial.d, &trial.dmin);
        trial.d = sd_fit_half(trial.d);
        trial.dmin = sd_fit_half(trial.dmin);
        if (!isfinite(trial.d) || !isfinite(trial.dmin) || !(trial.d > 0) || !(trial.dmin >= 0) ||
            (trial.d == out->d && trial.dmin == out->dmin))
            break;
        double now = assign(shape, x, wanted, &trial);
        if (!(now < error))
            break;
        error = now;
        *out = trial;
    }
    return true;
}
