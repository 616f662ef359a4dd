/* OFT and BOFT as PEFT and OneTrainer have them: orthogonal blocks that turn a weight's inputs. */
#include "lora/rotation.h"
#include "lora/turning.h"

#include <math.h>
#include <stdlib.h>

static uint32_t no_rank(const struct sd_lora_module *m) {
    (void)m;
    return 0;
}

/* to = the blocks times the groups of x's columns that they belong to; `stage` counts sets of so many blocks,
 * one block alone serves all groups. */
static void turn_columns(sd_edit *e, sd_matrix to, const struct sd_lora_blocks *b, uint32_t stage,
                         sd_matrix x) {
    uint32_t n = b->size, groups = x.columns / n, set = b->count == 1 ? 1 : groups;
    if (e->failed)
        return;
    sd_matrix blocks = sd_edit_values(e, b->turned + (size_t)stage * set * n * n, set * n, n);
    sd_edit_products(e, to, x, blocks,
                     &(struct matrix_product){.m = x.rows,
                                              .n = n,
                                              .k = n,
                                              .batch = groups,
                                              .a_row = x.columns,
                                              .a_column = 1,
                                              .a_batch = n,
                                              .b_row = n,
                                              .b_column = 1,
                                              .b_batch = set == 1 ? 0 : n * n,
                                              .to_row = x.columns,
                                              .to_batch = n,
                                              .alpha = 1});
}

/* ---- OFT ---- */

static bool oft_input_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_OFT_R];
}

/* Size b of blocks that have b (b - 1) / 2 values. */
static uint32_t block_size(uint32_t values) {
    return (uint32_t)((1 + sqrt(1 + 8.0 * values)) / 2 + 0.5);
}

/* PEFT turns with R transposed; OneTrainer and newer kohya with R for convolutions. */
static void oft_input_replace(const struct sd_lora_site *site, sd_edit *e) {
    const sd_file_tensor *t = site->module->tensor[ROLE_OFT_R];
    const struct sd_lora_settings *settings = site->settings;
    uint32_t stored = sd_lora_dim(t, 0), upper = sd_lora_dim(t, 1), n = block_size(upper);
    sd_matrix w = sd_edit_weight(e), x = sd_edit_new(e, w.rows, w.columns);
    struct sd_lora_blocks b = {.count = stored, .size = n};
    uint32_t needed = n ? w.columns / n : 0;
    if (!e->failed &&
        (n * (n - 1) / 2 != upper || needed * n != w.columns || (stored != needed && stored != 1)))
        sd_edit_fail(e, SD_E_FORMAT,
                     "%s: tensor %s: expected blocks that cover %u inputs, found %u rows of %u values",
                     site->path, t->name, w.columns, stored, upper);
    float *values = sd_lora_values(site, e, ROLE_OFT_R);
    if (values && sd_lora_alloc_blocks(&b, e)) {
        bool transposed = settings->peft || !site->target->convolution;
        for (uint32_t i = 0; i < stored; i++) {
            sd_skew_from_upper(b.q + (size_t)i * n * n, values + (size_t)i * upper, n);
            if (settings->coft)
                sd_lora_shrink_blocks(&b, i, 1, settings->coft_limit / sqrt(stored));
        }
        sd_lora_turn(&b,
                     &(struct sd_lora_turning){.strength = site->strength,
                                               .transposed = transposed,
                                               .series = !settings->exact_cayley,
                                               .terms = settings->cayley_terms,
                                               .backwards = settings->exact_cayley},
                     e);
        turn_columns(e, x, &b, 0, w);
        sd_edit_sum(e, w, x, 1, x, 0);
    }
    free(values);
    sd_lora_free_blocks(&b);
}

const struct sd_lora_kind sd_lora_kind_oft_input = {"OFT", oft_input_fits, no_rank, NULL, oft_input_replace};

/* ---- BOFT ---- */

static bool boft_input_fits(const struct sd_lora_module *m) {
    return m->tensor[ROLE_BOFT_R];
}

/* [stages, count, size, size]: later stages take pairs of groups that lie further and further apart. */
static bool wrong_stages(const struct sd_lora_site *site, sd_edit *e) {
    const sd_file_tensor *t = site->module->tensor[ROLE_BOFT_R];
    uint32_t stages = sd_lora_dim(t, 0), count = sd_lora_dim(t, 1), n = sd_lora_dim(t, 2),
             inputs = site->target->c * site->target->taps;
    if (t->rank == 4 && sd_lora_dim(t, 3) == n && (uint64_t)count * n == inputs && stages <= 31 &&
        count % (1u << (stages - 1)) == 0 && (stages == 1 || n % 2 == 0))
        return false;
    char found[64];
    sd_file_shape_text(t->rank, t->shape, found, sizeof found);
    sd_edit_fail(e, SD_E_FORMAT,
                 "%s: tensor %s: expected stages of square blocks that cover %u inputs, found %s", site->path,
                 t->name, inputs, found);
    return true;
}

/* Puts the first and the second half of each run of 2 * half groups of n / 2 columns in turns, or back. */
static void deal_columns(sd_edit *e, sd_matrix to, sd_matrix from, uint32_t n, uint32_t half, bool back) {
    const struct matrix_map map = {.op = MATRIX_ADD,
                                   .x_index = MATRIX_SHUFFLE,
                                   .x_p = back ? half : 2,
                                   .x_q = back ? 2 : half,
                                   .alpha = 1};
    uint32_t rows = from.rows * (from.columns / (n / 2)); /* of groups, one below the other */
    const sd_matrix x = {from.index, rows, n / 2}, y = {to.index, rows, n / 2};
    sd_edit_map(e, y, x, y, &map); /* beta 0: `to` is read, not used */
}

static void turn_stages(const struct sd_lora_site *site, sd_edit *e, const struct sd_lora_blocks *b,
                        uint32_t stages) {
    sd_matrix w = sd_edit_weight(e), x = sd_edit_new(e, w.rows, w.columns),
              y = sd_edit_new(e, w.rows, w.columns);
    turn_columns(e, x, b, 0, w); /* its groups lie as they are */
    for (uint32_t stage = 1; stage < stages; stage++) {
        deal_columns(e, y, x, b->size, 1u << stage, false);
        turn_columns(e, x, b, stage, y);
        deal_columns(e, y, x, b->size, 1u << stage, true);
        sd_matrix kept = x;
        x = y;
        y = kept;
    }
    sd_edit_sum(e, w, x, 1, x, 0);
    if (site->module->tensor[ROLE_BOFT_S])
        sd_lora_scale_axis(site, e, ROLE_BOFT_S, false, 1);
}

static void boft_input_replace(const struct sd_lora_site *site, sd_edit *e) {
    const sd_file_tensor *t = site->module->tensor[ROLE_BOFT_R];
    uint32_t stages = sd_lora_dim(t, 0);
    struct sd_lora_blocks b = {.count = stages * sd_lora_dim(t, 1), .size = sd_lora_dim(t, 2)};
    size_t n = b.size;
    float *values = wrong_stages(site, e) ? NULL : sd_lora_values(site, e, ROLE_BOFT_R);
    if (values && sd_lora_alloc_blocks(&b, e)) {
        for (uint32_t i = 0; i < b.count; i++)
            sd_skew(b.q + i * n * n, values + i * n * n, n);
        for (size_t i = 0; i < b.count * n * n; i++)
            b.q[i] /= 2;
        sd_lora_turn(
            &b, &(struct sd_lora_turning){.strength = site->strength, .transposed = true, .backwards = true},
            e);
        turn_stages(site, e, &b, stages);
    }
    free(values);
    sd_lora_free_blocks(&b);
}

const struct sd_lora_kind sd_lora_kind_boft_input = {"BOFT", boft_input_fits, no_rank, NULL,
                                                     boft_input_replace};
