#include "sd/sample/brownian.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sd/base/arena.h"
#include "sd/base/checked.h"
#include "sd/base/rng.h"

enum { POOL = 24, LEVELS = 64 };

typedef struct node {
    double start, end, middle;
    struct node *left, *right; /* NULL until the node is split */
    uint64_t place;
    uint32_t depth, seed;
} node;

/* The increments of the nodes from the root down to the last one that was asked for: neighbouring steps share
 * most of that way. */
struct sd_brownian {
    uint64_t entropy;
    size_t n;
    sd_arena arena;
    node *root;
    const node *way[LEVELS];
    float *increments[LEVELS]; /* [n] each, allocated when first needed */
    float *bridge;             /* [n] */
};

/* ---- seeds ---- */

static uint32_t hash_word(uint32_t value, uint32_t *constant) {
    value ^= *constant;
    *constant *= 0x931E8875u;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t mix_words(uint32_t x, uint32_t y) {
    uint32_t mixed = 0xCA01F9DDu * x - 0x4973F715u * y;
    return mixed ^ mixed >> 16;
}

/* Least significant word first, at least one word. */
static uint32_t put_words(uint32_t *words, uint64_t value) {
    words[0] = (uint32_t)value;
    words[1] = (uint32_t)(value >> 32);
    return words[1] ? 2 : 1;
}

void sd_seed_sequence(uint64_t entropy, uint64_t place, int depth, uint32_t *words, uint32_t count) {
    uint32_t input[POOL + 4] = {0}, used = put_words(input, entropy);
    if (depth >= 0) {
        used = POOL;
        used += put_words(input + used, place);
        used += put_words(input + used, (uint64_t)depth);
    }
    uint32_t pool[POOL], constant = 0x43B0D7E5u;
    for (uint32_t i = 0; i < POOL; i++)
        pool[i] = hash_word(i < used ? input[i] : 0, &constant);
    for (uint32_t from = 0; from < POOL; from++)
        for (uint32_t to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mix_words(pool[to], hash_word(pool[from], &constant));
    for (uint32_t from = POOL; from < used; from++)
        for (uint32_t to = 0; to < POOL; to++)
            pool[to] = mix_words(pool[to], hash_word(input[from], &constant));
    constant = 0x8B51F9DDu;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t value = pool[i % POOL] ^ constant;
        constant *= 0x58F38DEDu;
        value *= constant;
        words[i] = value ^ value >> 16;
    }
}

static void randn(uint32_t seed, float *out, size_t n) {
    sd_rng rng;
    sd_rng_init(&rng, SD_RNG_CPU, seed);
    sd_rng_randn(&rng, out, n);
}

/* ---- the tree ---- */

/* The double nearest to the decimal with six digits; printf rounds the exact binary value. */
static double rounded(double value) {
    char text[400];
    snprintf(text, sizeof text, "%.6f", value);
    return strtod(text, NULL);
}

static node *new_node(sd_brownian *tree, double start, double end, uint64_t place, uint32_t depth) {
    node *made = sd_arena_alloc(&tree->arena, sizeof *made);
    if (made)
        *made = (node){.start = rounded(start), .end = rounded(end), .place = place, .depth = depth};
    return made;
}

static bool halve(sd_brownian *tree, node *at) {
    double middle = 0.5 * (at->end + at->start);
    at->left = new_node(tree, at->start, middle, 2 * at->place, at->depth + 1);
    at->right = at->left ? new_node(tree, middle, at->end, 2 * at->place + 1, at->depth + 1) : NULL;
    if (!at->right)
        return at->left = NULL, false;
    at->middle = rounded(middle);
    sd_seed_sequence(tree->entropy, at->place, (int)at->depth, &at->seed, 1);
    return true;
}

/* out = the increment over the right half of a node, or the left one, given that over the whole node. */
static void bridge(sd_brownian *tree, const node *parent, bool left, const float *whole, float *out) {
    double reciprocal = 1 / (parent->end - parent->start);
    double before = parent->middle - parent->start, after = parent->end - parent->middle;
    float scale = (float)before, inverse = (float)reciprocal,
          deviation = (float)sqrt(before * after * reciprocal);
    randn(parent->seed, tree->bridge, tree->n);
    for (size_t i = 0; i < tree->n; i++) {
        float part = scale * whole[i] * inverse + deviation * tree->bridge[i];
        out[i] = left ? part : whole[i] - part;
    }
}

static sd_status no_memory(const sd_brownian *tree, sd_error *err) {
    return sd_fail(err, SD_E_MEMORY, "Brownian path of %zu values: out of memory", tree->n);
}

static sd_status enter(sd_brownian *tree, const node *parent, const node *at, sd_error *err) {
    uint32_t level = at->depth;
    if (tree->way[level] == at)
        return SD_OK;
    if (!tree->increments[level])
        tree->increments[level] = malloc(tree->n * sizeof(float));
    if (!tree->increments[level])
        return no_memory(tree, err);
    bridge(tree, parent, at == parent->left, tree->increments[level - 1], tree->increments[level]);
    memset(&tree->way[level], 0, (LEVELS - level) * sizeof tree->way[0]);
    tree->way[level] = at;
    return SD_OK;
}

/* Adds W(b) - W(a) to `out`; [a, b] lies in the node, whose increment is known. */
static sd_status add_part(sd_brownian *tree, node *at, double a, double b, float *out, sd_error *err) {
    while (a != at->start || b != at->end) {
        if (at->depth + 1 == LEVELS)
            return sd_fail(err, SD_E_INTERNAL, "Brownian path: the time %.9g cannot be reached by halving",
                           a);
        if (!at->left && !halve(tree, at))
            return no_memory(tree, err);
        if (a < at->middle && b > at->middle) {
            sd_status status = enter(tree, at, at->left, err);
            if (status == SD_OK)
                status = add_part(tree, at->left, a, at->middle, out, err);
            if (status != SD_OK)
                return status;
            a = at->middle;
        }
        node *child = b <= at->middle ? at->left : at->right;
        sd_status status = enter(tree, at, child, err);
        if (status != SD_OK)
            return status;
        at = child;
    }
    for (size_t i = 0; i < tree->n; i++)
        out[i] += tree->increments[at->depth][i];
    return SD_OK;
}

sd_status sd_brownian_create(sd_brownian **out, uint64_t entropy, double t0, double t1, size_t n,
                             sd_error *err) {
    *out = NULL;
    uint64_t bytes;
    if (!(t0 >= 0 && t1 < 1e15 && rounded(t0) < rounded(t1)) || n == 0 ||
        !sd_mul_u64(n, sizeof(float), &bytes) || bytes > SIZE_MAX)
        return sd_fail(err, SD_E_ARGUMENT,
                       "Brownian path: expected 0 <= start < end and values, found %g, %g and %zu", t0, t1,
                       n);
    sd_brownian *tree = calloc(1, sizeof *tree);
    if (!tree)
        goto error;
    tree->entropy = entropy;
    tree->n = n;
    tree->root = new_node(tree, t0, t1, 0, 0);
    tree->bridge = malloc(n * sizeof(float));
    tree->increments[0] = malloc(n * sizeof(float));
    if (!tree->root || !tree->bridge || !tree->increments[0])
        goto error;
    uint32_t seed;
    sd_seed_sequence(entropy, 0, -1, &seed, 1);
    randn(seed, tree->increments[0], n);
    float deviation = (float)sqrt(t1 - t0);
    for (size_t i = 0; i < n; i++)
        tree->increments[0][i] *= deviation;
    tree->way[0] = tree->root;
    *out = tree;
    return SD_OK;

error:
    sd_brownian_destroy(&tree);
    return sd_fail(err, SD_E_MEMORY, "Brownian path of %zu values: out of memory", n);
}

void sd_brownian_destroy(sd_brownian **tree) {
    if (!tree || !*tree)
        return;
    for (int i = 0; i < LEVELS; i++)
        free((*tree)->increments[i]);
    free((*tree)->bridge);
    sd_arena_clear(&(*tree)->arena);
    free(*tree);
    *tree = NULL;
}

sd_status sd_brownian_increment(sd_brownian *tree, double a, double b, float *out, sd_error *err) {
    const node *root = tree->root;
    a = rounded(fmin(fmax(a, root->start), root->end));
    b = rounded(fmin(fmax(b, root->start), root->end));
    memset(out, 0, tree->n * sizeof(float));
    if (a >= b)
        return SD_OK;
    return add_part(tree, tree->root, a, b, out, err);
}
