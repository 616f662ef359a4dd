/* Functions that must be equally exact on every device: drivers' exp() may lose 20 units in the last place
 * (llvmpipe, and the Vulkan specification allows 3 + 2|x|). NaN in gives NaN out. */
#ifndef SD_MATH_GLSL
#define SD_MATH_GLSL

/* e^x, relative error 1e-7. Below -87.3 the result is 0, above 88.3 infinity. A NaN may come out as any
 * number here; the callers below multiply by x, which brings it back. */
float sd_exp(float x) {
    /* e^x = 2^n e^r with |r| <= ln(2)/2; ln 2 in two parts, the first with few bits so that n times it is
     * exact (Cody, Waite 1980). */
    x = clamp(x, -90.0, 90.0);
    float n = floor(fma(x, 1.44269504, 0.5));
    precise float r = x - n * 0.693359375; /* precise: or compilers add the two factors of n */
    r = r + n * 2.12194440e-4;
    /* Minimax fit of (e^r - 1 - r) / r^2, weighted by r^2 / e^r. */
    float q = fma(1.381459879e-3, r, 8.368716575e-3);
    q = fma(q, r, 4.166838899e-2);
    q = fma(q, r, 1.666652113e-1);
    q = fma(q, r, 0.4999999404);
    float p = fma(q, r * r, r) + 1.0;
    /* Exponents -127 and 128 make zero and infinity. */
    return p * intBitsToFloat((clamp(int(n), -127, 128) + 127) << 23);
}

/* x / (1 + e^-x). */
float sd_silu(float x) {
    return x / (1.0 + sd_exp(-x));
}

/* x / (1 + e^(-1.702 x)): GELU as the first CLIP models compute it. */
float sd_quick_gelu(float x) {
    return x / (1.0 + sd_exp(-1.702 * x));
}

/* erfc(z) for z >= 0, absolute error 1.5e-7 (Abramowitz, Stegun 1964, 7.1.26). */
float sd_erfc_positive(float z) {
    float t = 1.0 / fma(0.3275911, z, 1.0);
    float p = fma(1.061405429, t, -1.453152027);
    p = fma(p, t, 1.421413741);
    p = fma(p, t, -0.284496736);
    p = fma(p, t, 0.254829592);
    return p * t * sd_exp(-z * z);
}

float sd_erf(float x) {
    float y = 1.0 - sd_erfc_positive(abs(x));
    return x < 0.0 ? -y : y;
}

/* x * (1 + erf(x / sqrt(2))) / 2, absolute error 4e-7 for |x| < 6 and one rounding beyond; 0 at -infinity.
 * Written with erfc so that nothing cancels in the negative tail. */
float sd_gelu(float x) {
    float z = abs(x);
    return max(x, 0.0) - 0.5 * min(z, 1e4) * sd_erfc_positive(z * 0.70710678);
}

/* Comparisons that are false for NaN keep it. */
float sd_relu(float x) {
    return x < 0.0 ? 0.0 : x;
}

/* Absolute error 2e-7. */
float sd_tanh(float x) {
    float z = abs(x), t = sd_exp(-2.0 * z), y = (1.0 - t) / (1.0 + t);
    return x > 10.0 ? 1.0 : x < -10.0 ? -1.0 : x * (y / max(z, 1e-30));
}

vec4 sd_relu(vec4 x) {
    return vec4(sd_relu(x.x), sd_relu(x.y), sd_relu(x.z), sd_relu(x.w));
}

vec4 sd_tanh(vec4 x) {
    return vec4(sd_tanh(x.x), sd_tanh(x.y), sd_tanh(x.z), sd_tanh(x.w));
}

vec4 sd_silu(vec4 x) {
    return vec4(sd_silu(x.x), sd_silu(x.y), sd_silu(x.z), sd_silu(x.w));
}

vec4 sd_gelu(vec4 x) {
    return vec4(sd_gelu(x.x), sd_gelu(x.y), sd_gelu(x.z), sd_gelu(x.w));
}

vec4 sd_quick_gelu(vec4 x) {
    return vec4(sd_quick_gelu(x.x), sd_quick_gelu(x.y), sd_quick_gelu(x.z), sd_quick_gelu(x.w));
}

#endif
