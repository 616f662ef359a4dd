/* What the record functions of ops share: where inputs lie, and how work is laid out over workgroups. */
#ifndef SD_NN_OP_SOURCE_H
#define SD_NN_OP_SOURCE_H

#include "sd/base/checked.h"
#include "sd/nn/op.h"
#include "sd/nn/ops.h"
#include "shaders/source.h"

/* Bytes that the values of a tensor take, for costs. */
static inline uint64_t sd_value_bytes(const sd_tensor *t) {
    return (uint64_t)sd_tensor_rows(t) * t->c * sd_dtype_size(t->dtype);
}

static inline uint64_t sd_value_count(const sd_tensor *t) {
    return (uint64_t)sd_tensor_rows(t) * t->c;
}

static inline bool sd_same_shape(const sd_tensor *a, const sd_tensor *b) {
    return a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c;
}

static inline bool sd_is_real(const sd_tensor *t) {
    return t->dtype == SD_F32 || t->dtype == SD_F16;
}

static inline bool sd_part_aligned(const sd_tensor *t) {
    return t->c % 4 == 0 && t->pitch % 4 == 0 && t->offset % 4 == 0;
}

/* Whether every vector of four channels lies in one part at an address that is a multiple of its size. */
static inline bool sd_aligned4(const sd_tensor *t) {
    return t->parts[0] ? sd_part_aligned(t->parts[0]) && sd_part_aligned(t->parts[1]) : sd_part_aligned(t);
}

static inline struct sd_source sd_source_of(const sd_emit *e, const sd_tensor *t) {
    const sd_tensor *first = t->parts[0] ? t->parts[0] : t;
    const sd_tensor *second = t->parts[0] ? t->parts[1] : t;
    return (struct sd_source){.part0 = sd_emit_address(e, first),
                              .part1 = sd_emit_address(e, second),
                              .pitch0 = first->pitch,
                              .pitch1 = second->pitch,
                              .split = first->c,
                              .c = t->c};
}

#endif
