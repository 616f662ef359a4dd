#include "sd/base/rng.h"

#include <math.h>
#include <string.h>

#define TWO_PI 6.283185307179586476925286766559

enum { MT_SIZE = 624, MT_SHIFT = 397 };

static void mt_seed(sd_rng *rng, uint32_t seed) {
    rng->state[0] = seed;
    for (uint32_t i = 1; i < MT_SIZE; i++) {
        uint32_t last = rng->state[i - 1];
        rng->state[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
    rng->next = MT_SIZE;
}

static uint32_t mt_step(uint32_t here, uint32_t after, uint32_t ahead) {
    uint32_t y = (here & 0x80000000u) | (after & 0x7FFFFFFFu);
    return ahead ^ (y >> 1) ^ (-(after & 1) & 0x9908B0DFu);
}

static void mt_twist(sd_rng *rng) {
    uint32_t *s = rng->state, i = 0;
    for (; i < MT_SIZE - MT_SHIFT; i++)
        s[i] = mt_step(s[i], s[i + 1], s[i + MT_SHIFT]);
    for (; i < MT_SIZE - 1; i++)
        s[i] = mt_step(s[i], s[i + 1], s[i + MT_SHIFT - MT_SIZE]);
    s[i] = mt_step(s[i], s[0], s[MT_SHIFT - 1]);
    rng->next = 0;
}

static uint32_t mt_word(sd_rng *rng) {
    if (rng->next >= MT_SIZE)
        mt_twist(rng);
    uint32_t y = rng->state[rng->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

static float mt_uniform24(sd_rng *rng) {
    return (float)(mt_word(rng) & 0xFFFFFF) * 0x1p-24f;
}

static double mt_uniform53(sd_rng *rng) {
    uint64_t high = mt_word(rng);
    uint64_t bits = (high << 32 | mt_word(rng)) & ((UINT64_C(1) << 53) - 1);
    return (double)bits * 0x1p-53;
}

static inline float select_float(bool first, float a, float b) {
    return first ? a : b;
}

/* log(x) of a normal float in (0, 1]: Cephes' single precision polynomial (Moshier 1989), two units in the
 * last place. Written without branches so that compilers make it vector code; the order of operations fixes
 * the result. */
static inline float log_float(float x) {
    union {
        float f;
        int32_t i;
    } bits = {x};
    int32_t exponent = (bits.i >> 23) - 126;
    bits.i = (bits.i & 0x7FFFFF) | 0x3F000000;
    bool low = bits.f < 0.707106781186547524f;
    float e = (float)(exponent - low), m = bits.f - 1.0f + select_float(low, bits.f, 0.0f), z = m * m;
    float y = 7.0376836292e-2f;
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z - 2.12194440e-4f * e - 0.5f * z;
    return m + y + 0.693359375f * e;
}

/* Sine and cosine of x in [0, 2 pi], the same way: reduced to an eighth of the circle with pi / 4 in three
 * parts. */
static inline void sincos_float(float x, float *sine, float *cosine) {
    int32_t octant = ((int32_t)(x * 1.27323954473516f) + 1) & ~1;
    float j = (float)octant;
    float r = ((x - j * 0.78515625f) - j * 2.4187564849853515625e-4f) - j * 3.77489497744594108e-8f,
          z = r * r;
    float c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z;
    float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
    c = c - 0.5f * z + 1.0f;
    bool swap = (octant & 2) != 0;
    float a = select_float(swap, c, s), b = select_float(swap, s, c);
    *sine = select_float((octant & 4) != 0, -a, a);
    *cosine = select_float(((octant + 2) & 4) != 0, -b, b);
}

/* Sixteen uniforms to sixteen normals in place. */
static void fill_16(float *v) {
    float radius[8], sine[8], cosine[8];
    for (int i = 0; i < 8; i++)
        radius[i] = sqrtf(-2.0f * log_float(1.0f - v[i]));
    for (int i = 0; i < 8; i++)
        sincos_float((float)TWO_PI * v[i + 8], &sine[i], &cosine[i]);
    for (int i = 0; i < 8; i++) {
        v[i] = radius[i] * cosine[i];
        v[i + 8] = radius[i] * sine[i];
    }
}

static void cpu_blocks(sd_rng *rng, float *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = mt_uniform24(rng);
    for (size_t i = 0; i + 16 <= n; i += 16)
        fill_16(out + i);
    if (n % 16 == 0)
        return;
    float *tail = out + n - 16;
    for (int i = 0; i < 16; i++)
        tail[i] = mt_uniform24(rng);
    fill_16(tail);
}

static double cpu_scalar(sd_rng *rng) {
    if (rng->has_spare) {
        rng->has_spare = false;
        return rng->spare;
    }
    double turn = mt_uniform53(rng), u = mt_uniform53(rng);
    double radius = sqrt(-2.0 * log1p(-u));
    rng->spare = radius * sin(TWO_PI * turn);
    rng->has_spare = true;
    return radius * cos(TWO_PI * turn);
}

void sd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t first = (uint32_t)(b >> 32) ^ c[1] ^ k[0], third = (uint32_t)(a >> 32) ^ c[3] ^ k[1];
        c[0] = first, c[1] = (uint32_t)b, c[2] = third, c[3] = (uint32_t)a;
        k[0] += 0x9E3779B9u, k[1] += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

static void gpu_values(const sd_rng *rng, float *out, size_t n) {
    uint32_t key[2] = {(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32)};
    for (size_t i = 0; i < n; i++) {
        uint32_t counter[4] = {(uint32_t)rng->draws, (uint32_t)(rng->draws >> 32), (uint32_t)i,
                               (uint32_t)((uint64_t)i >> 32)};
        uint32_t word[4];
        sd_philox(counter, key, word);
        double u = (word[0] + 0.5) * 0x1p-32, angle = (word[1] + 0.5) * (TWO_PI * 0x1p-32);
        out[i] = (float)(sqrt(-2.0 * log(u)) * sin(angle));
    }
}

void sd_rng_init(sd_rng *rng, sd_rng_kind kind, uint64_t seed) {
    memset(rng, 0, sizeof *rng);
    rng->kind = kind;
    rng->seed = seed;
    if (kind == SD_RNG_CPU)
        mt_seed(rng, (uint32_t)seed);
}

void sd_rng_randn(sd_rng *rng, float *out, size_t n) {
    if (n == 0)
        return;
    if (rng->kind == SD_RNG_GPU)
        gpu_values(rng, out, n);
    else if (n >= 16)
        cpu_blocks(rng, out, n);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = (float)cpu_scalar(rng);
    rng->draws++;
}
