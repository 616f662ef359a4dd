/* A part of a graph as a graph of its own, whole or for a strip of rows. Internal to sd/nn/strips.c and its
 * schedule. Tensors are known by the number that their owner's `place` holds. */
#ifndef SD_NN_PIECE_H
#define SD_NN_PIECE_H

#include "sd/nn/op.h"

/* Which rows of a tensor belong to a strip: `up` for every `down` rows of the piece's unit. */
struct sd_span {
    bool cut; /* else the whole tensor belongs to every strip */
    uint32_t up, down;
    uint32_t spoilt; /* rows next to a cut that are wrong */
};

struct sd_piece {
    const sd_graph *graph;
    bool *nodes;           /* [node_count]: which ones run */
    bool *stored;          /* [tensor_count]: which of their results go to the host */
    struct sd_span *spans; /* [tensor_count] */
    uint32_t unit;         /* rows that are cut into strips; 0 when the piece runs whole */
    uint32_t align;        /* strips begin at multiples of it */
    uint32_t margin;       /* rows of the unit, a multiple of `align`, that are spoilt at a cut */
    uint32_t steps;        /* a strip has steps * align + unit % align rows */
};

/* One strip: it begins at row `at` of the unit, and its rows [from,to) are right. {0} comes before the first.
 */
struct sd_cut {
    uint32_t at, from, to;
};

/* How the node runs on a strip; false when it needs all its inputs whole. */
bool sd_piece_rule(const sd_node *node, struct sd_strip *out);

/* Fills spans, unit, align and margin; false when the piece has to run whole. */
bool sd_piece_cut(struct sd_piece *piece);

/* Bounds of `steps`: with the highest there is one strip. */
uint32_t sd_piece_least(const struct sd_piece *piece);
uint32_t sd_piece_most(const struct sd_piece *piece);
uint32_t sd_piece_strips(const struct sd_piece *piece, uint32_t steps);
/* The lowest `steps` with no more strips: the last strip then repeats little of the one before it. */
uint32_t sd_piece_balance(const struct sd_piece *piece, uint32_t steps);

uint32_t sd_piece_rows(const struct sd_piece *piece);
/* False behind the last strip. */
bool sd_piece_next(const struct sd_piece *piece, struct sd_cut *cut);
/* Row of a tensor where row `row` of the unit begins; its height for the unit's end. */
uint32_t sd_piece_row(const struct sd_piece *piece, const sd_tensor *t, uint32_t row);

/* The piece for one strip (or whole) as a graph. copies[tensor_count]: the tensors in it, NULL for those that
 * do not occur. What is read whole has SD_RATE_PROMPT, what is read in strips SD_RATE_STEP. */
sd_status sd_piece_graph(const struct sd_piece *piece, sd_graph **out, sd_tensor **copies, sd_error *err);

#endif
