/* OFT (arXiv 2306.07280) and BOFT (arXiv 2311.06243): orthogonal blocks that turn a weight's outputs, as
 * kohya and LyCORIS have them. */
#include "lora/module.h"
#include "lora/rotation.h"
#include "lora/turning.h"

#include <math.h>
#include <stdlib.h>

static uint32_t no_rank(const struct sd_lora_module *m) {
    (void)m;
    return 0;
}

/* W = rescale * x, or x alone. */
static void finish(const struct sd_lora_site *site, sd_edit *e, sd_matrix x) {
    sd_matrix w = sd_edit_weight(e);
    if (!site->module->tensor[ROLE_RESCALE]) {
        sd_edit_sum(e, w, x, 1, x, 0);
        return;
    }
    sd_matrix rescale = sd_lora_load(site, e, ROLE_RESCALE, site->target->n, 1);
    sd_edit_map(e, w, x, rescale,
                &(struct matrix_map){.op = MATRIX_MULTIPLY, .y_index = MATRIX_ROW, .alpha = 1});
}

/* to = each block times its rows of x; `stage` counts sets of rows / size blocks. */
static void turn_rows(sd_edit *e, sd_matrix to, const struct sd_lora_blocks *b, uint32_t stage, sd_matrix x) {
    uint32_t n = b->size;
    if (e->failed)
        return;
    sd_matrix blocks = sd_edit_values(e, b->turned + (size_t)stage * x.rows * n, x.rows, n);
    sd_edit_products(e, to, blocks, x,
                     &(struct matrix_product){.m = n,
                                              .n = x.columns,
                                              .k = n,
                                              .batch = x.rows / n,
                                              .a_row = n,
                                              .a_column = 1,
                                              .a_batch = n * n,
                                              .b_row = x.columns,
                                              .b_column = 1,
                                              .b_batch = n * x.columns,
                                              .to_row = x.columns,
                                              .to_batch = n * x.columns,
                                              .alpha = 1});
}

/* Reads `oft_blocks`, [count, size, size] in all, and turns them. False (with the edit failed) when that
 * cannot be. */
static bool read_blocks(const struct sd_lora_site *site, sd_edit *e, struct sd_lora_blocks *b,
                        bool transposed) {
    const struct sd_lora_module *m = site->module;
    size_t n = b->size;
    float *values = sd_lora_values(site, e, ROLE_OFT_BLOCKS);
    if (values && sd_lora_alloc_blocks(b, e)) {
        for (uint32_t i = 0; i < b->count; i++)
            sd_skew(b->q + i * n * n, values + i * n * n, n);
        /* All blocks together: their norm stays below alpha times the outputs. */
        if (m->alpha > 0)
            sd_lora_shrink_blocks(b, 0, b->count, (double)m->alpha * site->target->n);
        sd_lora_turn(b, &(struct sd_lora_turning){.strength = site->strength, .transposed = transposed}, e);
    }
    free(values);
    return !e->failed;
}

static bool wrong_blocks(const struct sd_lora_site *site, sd_edit *e, uint32_t dimension) {
    const sd_file_tensor *t = site->module->tensor[ROLE_OFT_BLOCKS];
    uint32_t count = sd_lora_dim(t, dimension), n = sd_lora_dim(t, dimension + 1);
    if (n && count && sd_lora_dim(t, dimension + 2) == n && (uint64_t)count * n == site->target->n)
        return false;
    char found[64];
    sd_file_shape_text(t->rank, t->shape, found, sizeof found);
    sd_edit_fail(e, SD_E_FORMAT, "%s: tensor %s: expected square blocks that cover %u outputs, found %s",
                 site->path, t->name, site->target->n, found);
    return true;
}

/* ---- OFT on the outputs ---- */

static bool oft_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_OFT_BLOCKS] && m->tensor[ROLE_OFT_BLOCKS]->rank == 3;
}

static void oft_replace(const struct sd_lora_site *site, sd_edit *e) {
    const sd_file_tensor *t = site->module->tensor[ROLE_OFT_BLOCKS];
    sd_matrix w = sd_edit_weight(e), x = sd_edit_new(e, w.rows, w.columns);
    struct sd_lora_blocks b = {.count = sd_lora_dim(t, 0), .size = sd_lora_dim(t, 1)};
    if (site->settings->kohya_oft && site->module->has_alpha && site->module->alpha == 0)
        return;
    if (!wrong_blocks(site, e, 0) && read_blocks(site, e, &b, true)) {
        turn_rows(e, x, &b, 0, w);
        finish(site, e, x);
    }
    sd_lora_free_blocks(&b);
}

const struct sd_lora_kind sd_lora_kind_oft = {"OFT", oft_fits, no_rank, NULL, oft_replace};

/* ---- BOFT ---- */

static bool boft_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_OFT_BLOCKS] && m->tensor[ROLE_OFT_BLOCKS]->rank == 4;
}

static void shuffle(sd_edit *e, sd_matrix to, sd_matrix from, uint32_t p, uint32_t q) {
    const struct matrix_map map = {
        .op = MATRIX_ADD, .x_index = MATRIX_SHUFFLE, .x_p = p, .x_q = q, .alpha = 1};
    sd_edit_map(e, to, from, to, &map); /* beta 0: `to` is read, not used */
}

/* Butterfly stages: before stage m the rows of each 2^m size are dealt into pairs of halves, and afterwards
 * put back. */
static void boft_replace(const struct sd_lora_site *site, sd_edit *e) {
    const sd_file_tensor *t = site->module->tensor[ROLE_OFT_BLOCKS];
    uint32_t stages = sd_lora_dim(t, 0), count = sd_lora_dim(t, 1);
    sd_matrix w = sd_edit_weight(e), x = sd_edit_new(e, w.rows, w.columns),
              y = sd_edit_new(e, w.rows, w.columns);
    struct sd_lora_blocks b = {.count = stages * count, .size = sd_lora_dim(t, 2)};
    if (!wrong_blocks(site, e, 1) && (b.size % 2 || !stages || stages > 31 || count != 1u << (stages - 1)))
        sd_edit_fail(e, SD_E_FORMAT,
                     "%s: tensor %s: expected blocks of an even size in log2 of their number plus one "
                     "stages, found %u stages of %u blocks of %u",
                     site->path, t->name, stages, count, b.size);
    if (!e->failed && read_blocks(site, e, &b, false)) {
        sd_edit_sum(e, x, w, 1, w, 0);
        for (uint32_t stage = 0; stage < stages; stage++) {
            uint32_t half = (b.size / 2) << stage;
            shuffle(e, y, x, 2, half);
            turn_rows(e, x, &b, stage, y);
            shuffle(e, y, x, half, 2);
            sd_matrix kept = x;
            x = y;
            y = kept;
        }
        finish(site, e, x);
    }
    sd_lora_free_blocks(&b);
}

const struct sd_lora_kind sd_lora_kind_boft = {"BOFT", boft_fits, no_rank, NULL, boft_replace};
