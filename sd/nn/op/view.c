/* Views: other shapes and parts of the same memory. */
#include "sd/nn/ops.h"

static sd_tensor *view_of(sd_graph *g, const sd_tensor *x) {
    sd_tensor *v = sd_arena_alloc(&g->arena, sizeof *v);
    if (!v)
        return sd_graph_fail(g, SD_E_MEMORY, "out of memory");
    *v = *x;
    v->name = NULL;
    v->input = v->output = false;
    return v;
}

sd_tensor *sd_concat(sd_graph *g, sd_tensor *a, sd_tensor *b) {
    if (g->failed || !a || !b)
        return NULL;
    if (a->n != b->n || a->h != b->h || a->w != b->w || a->dtype != b->dtype)
        return sd_graph_fail(
            g, SD_E_INTERNAL, "concat: [%u,%u,%u,%u] %s and [%u,%u,%u,%u] %s do not fit together", a->n, a->h,
            a->w, a->c, sd_dtype_name(a->dtype), b->n, b->h, b->w, b->c, sd_dtype_name(b->dtype));
    if (b->c > UINT32_MAX - a->c)
        return sd_graph_fail(g, SD_E_UNSUPPORTED, "concat: more than 2^32 channels");
    /* Ops read two parts at most. */
    a = sd_graph_whole(g, a);
    b = sd_graph_whole(g, b);
    if (!a || !b)
        return NULL;
    sd_tensor *v = view_of(g, a);
    if (!v)
        return NULL;
    v->c = v->pitch = a->c + b->c;
    v->offset = 0;
    v->owner = NULL;
    v->parts[0] = a;
    v->parts[1] = b;
    v->rate = a->rate > b->rate ? a->rate : b->rate;
    v->producer = a->producer > b->producer ? a->producer : b->producer;
    v->place = v->bytes = 0;
    return v;
}

sd_tensor *sd_slice(sd_graph *g, sd_tensor *x, uint32_t first, uint32_t c) {
    if (g->failed || !x)
        return NULL;
    if (!c || first > x->c || c > x->c - first)
        return sd_graph_fail(g, SD_E_INTERNAL, "slice: channels %u to %u of %u", first, first + c, x->c);
    if (x->parts[0]) {
        uint32_t split = x->parts[0]->c;
        if (first + c <= split)
            return sd_slice(g, x->parts[0], first, c);
        /* Behind an odd part of f16, even channels lie in the middle of words. */
        if (first >= split && (x->dtype != SD_F16 || (first - split) % 2 == 0))
            return sd_slice(g, x->parts[1], first - split, c);
        if (!(x = sd_graph_whole(g, x)))
            return NULL;
    }
    if (x->dtype == SD_F16 && first % 2)
        return sd_graph_fail(g, SD_E_INTERNAL, "slice: an f16 slice must start at an even channel, not %u",
                             first);
    sd_tensor *v = view_of(g, x);
    if (!v)
        return NULL;
    v->c = c;
    v->offset = x->offset + first;
    return v;
}

sd_tensor *sd_reshape(sd_graph *g, sd_tensor *x, uint32_t n, uint32_t h, uint32_t w, uint32_t c) {
    if (g->failed || !x)
        return NULL;
    uint64_t rows = (uint64_t)n * h;
    rows = rows <= UINT32_MAX ? rows * w : 0;
    if (!c || !rows || rows > UINT32_MAX || rows * c != (uint64_t)sd_tensor_rows(x) * x->c)
        return sd_graph_fail(g, SD_E_INTERNAL, "reshape: [%u,%u,%u,%u] does not fit into [%u,%u,%u,%u]", x->n,
                             x->h, x->w, x->c, n, h, w, c);
    if (c == x->c && x->parts[0])
        return sd_concat(g, sd_reshape(g, x->parts[0], n, h, w, x->parts[0]->c),
                         sd_reshape(g, x->parts[1], n, h, w, x->parts[1]->c));
    if (c != x->c) {
        /* Pixels of other sizes need memory without gaps. */
        if (x->dtype == SD_F16 && (c % 2 || x->c % 2))
            return sd_graph_fail(g, SD_E_UNSUPPORTED, "reshape: f16 pixels of %u and %u channels", x->c, c);
        if (x->parts[0] || x->pitch != x->c)
            x = sd_copy(g, x);
        if (!x)
            return NULL;
    }
    sd_tensor *v = view_of(g, x);
    if (!v)
        return NULL;
    if (c != x->c)
        v->pitch = c;
    v->n = n;
    v->h = h;
    v->w = w;
    v->c = c;
    return v;
}
