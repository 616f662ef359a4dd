#include "sd/nn/piece.h"

#include "sd/nn/ops.h"

static bool is_map(const sd_tensor *t) {
    return t->owner == t && t->n == 1;
}

bool sd_piece_rule(const sd_node *node, struct sd_strip *out) {
    const struct sd_strip_rule *strips = node->strips;
    if (!strips || !is_map(node->out) || !strips->describe(node, out))
        return false;
    for (uint32_t i = 0; i < SD_NODE_INPUTS; i++)
        if (node->in[i] && (out->inputs >> i & 1) && !is_map(node->in[i]))
            return false;
    return true;
}

static uint32_t gcd(uint32_t a, uint32_t b) {
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Strips must begin at multiples of `rows` too; false when that leaves no place to cut. */
static bool align_to(struct sd_piece *p, uint32_t rows) {
    uint64_t common = (uint64_t)(p->align / gcd(p->align, rows)) * rows;
    if (common > p->unit)
        return false;
    p->align = (uint32_t)common;
    return true;
}

/* `up` rows for `down` rows of the unit, in lowest terms. */
static struct sd_span span_of(uint32_t up, uint32_t down, uint32_t spoilt) {
    uint32_t common = gcd(up, down);
    return (struct sd_span){true, up / common, down / common, spoilt};
}

static uint32_t rows_in(const struct sd_span *s, uint32_t unit_rows) {
    return (uint32_t)(((uint64_t)unit_rows * s->up + s->down - 1) / s->down);
}

static struct sd_span *span(const struct sd_piece *p, const sd_tensor *t) {
    return &p->spans[t->owner->place];
}

static bool made_here(const struct sd_piece *p, const sd_tensor *t) {
    return t->owner->producer >= 0 && p->nodes[t->owner->producer];
}

/* What the host hands to a strip is cut where the first tensor that is cut is: its rows are the unit. */
static struct sd_span given_span(struct sd_piece *p, const sd_tensor *t) {
    p->unit = p->unit ? p->unit : t->h;
    return span_of(t->h, p->unit, 0);
}

static bool cut_node(struct sd_piece *p, const sd_node *node, const struct sd_strip *rule) {
    const sd_tensor *x = node->in[0];
    struct sd_span *out = span(p, node->out), *in = span(p, x);
    if (!made_here(p, x))
        *in = given_span(p, x);
    else if (!in->cut)
        return false;
    *out = span_of(in->up * rule->up, in->down * rule->down,
                   sd_ceil_div(in->spoilt * rule->up, rule->down) + rule->spoilt);
    for (uint32_t i = 1; i < SD_NODE_INPUTS; i++) {
        if (!node->in[i] || !(rule->inputs >> i & 1))
            continue;
        struct sd_span *other = span(p, node->in[i]);
        if (!made_here(p, node->in[i]))
            *other = given_span(p, node->in[i]);
        if (!other->cut || other->up != out->up || other->down != out->down)
            return false;
        out->spoilt = other->spoilt > out->spoilt ? other->spoilt : out->spoilt;
    }
    return align_to(p, in->down) && align_to(p, out->down) && rows_in(out, p->unit) == node->out->h;
}

/* Whatever a node reads whole must not be cut by another one. */
static bool reads_agree(const struct sd_piece *p, const sd_node *node, uint32_t in_strips) {
    for (uint32_t i = 0; i < SD_NODE_INPUTS; i++) {
        const sd_tensor *t = node->in[i];
        if (!t || (in_strips >> i & 1))
            continue;
        if (t->parts[0] ? span(p, t->parts[0])->cut || span(p, t->parts[1])->cut : span(p, t)->cut)
            return false;
    }
    return true;
}

static bool find_margin(struct sd_piece *p) {
    p->margin = 0;
    for (uint32_t i = 0; i < p->graph->tensor_count; i++) {
        const struct sd_span *s = &p->spans[i];
        if (!p->stored[i] || !s->cut)
            continue;
        uint32_t rows = sd_ceil_div(s->spoilt * s->down, s->up); /* few of each */
        p->margin = rows > p->margin ? rows : p->margin;
    }
    p->margin = sd_ceil_div(p->margin, p->align) * p->align;
    return p->unit > 0;
}

bool sd_piece_cut(struct sd_piece *p) {
    const sd_graph *g = p->graph;
    struct sd_strip rule;
    p->unit = 0;
    p->align = 1;
    for (uint32_t i = 0; i < g->tensor_count; i++)
        p->spans[i] = (struct sd_span){0};
    for (uint32_t i = 0; i < g->node_count; i++)
        if (p->nodes[i] && sd_piece_rule(g->nodes[i], &rule) && !cut_node(p, g->nodes[i], &rule))
            return false;
    for (uint32_t i = 0; i < g->node_count; i++)
        if (p->nodes[i] && !reads_agree(p, g->nodes[i], sd_piece_rule(g->nodes[i], &rule) ? rule.inputs : 0))
            return false;
    return find_margin(p);
}

uint32_t sd_piece_most(const struct sd_piece *p) {
    return p->unit / p->align;
}

/* Half of a strip at least is not repeated: lower ones save little memory and cost much time. */
uint32_t sd_piece_least(const struct sd_piece *p) {
    uint32_t least = p->margin / p->align * 4, most = sd_piece_most(p);
    return !least ? 1 : least < most ? least : most;
}

/* All strips but the first begin steps - 2 margins behind the one before; the last ends with the unit. */
uint32_t sd_piece_strips(const struct sd_piece *p, uint32_t steps) {
    uint32_t most = sd_piece_most(p);
    return steps >= most ? 1 : sd_ceil_div(most - steps, steps - p->margin / p->align * 2) + 1;
}

uint32_t sd_piece_balance(const struct sd_piece *p, uint32_t steps) {
    uint32_t strips = sd_piece_strips(p, steps);
    return sd_ceil_div(sd_piece_most(p) + (strips - 1) * (p->margin / p->align * 2), strips);
}

uint32_t sd_piece_rows(const struct sd_piece *p) {
    return p->steps * p->align + p->unit % p->align;
}

bool sd_piece_next(const struct sd_piece *p, struct sd_cut *cut) {
    uint32_t last = p->unit - sd_piece_rows(p);
    if (cut->to == p->unit)
        return false;
    uint32_t at = cut->to ? cut->to - p->margin : 0;
    cut->at = at < last ? at : last;
    cut->from = cut->at ? cut->at + p->margin : 0;
    cut->to = cut->at == last ? p->unit : cut->at + p->steps * p->align - p->margin;
    return true;
}

uint32_t sd_piece_row(const struct sd_piece *p, const sd_tensor *t, uint32_t row) {
    const struct sd_span *s = span(p, t);
    return row == p->unit ? t->h : (uint32_t)((uint64_t)row * s->up / s->down);
}

/* The copy of one graph's part in another. */
struct copier {
    const struct sd_piece *piece;
    sd_graph *graph;
    sd_tensor **copies;
};

static sd_tensor *copy_owner(struct copier *c, const sd_tensor *t) {
    const struct sd_span *s = &c->piece->spans[t->place];
    bool cut = c->piece->unit && s->cut;
    uint32_t h = cut ? rows_in(s, sd_piece_rows(c->piece)) : t->h;
    if (made_here(c->piece, t))
        return sd_graph_tensor(c->graph, t->dtype, t->n, h, t->w, t->c);
    return sd_graph_input(c->graph, t->name, cut ? SD_RATE_STEP : SD_RATE_PROMPT, t->dtype, t->n, h, t->w,
                          t->c);
}

static sd_tensor *copy(struct copier *c, const sd_tensor *t) {
    if (!t || c->graph->failed)
        return NULL;
    if (t->parts[0])
        return sd_concat(c->graph, copy(c, t->parts[0]), copy(c, t->parts[1]));
    sd_tensor **owner = &c->copies[t->owner->place];
    if (!*owner)
        *owner = copy_owner(c, t->owner);
    if (t == t->owner || !*owner)
        return *owner;
    sd_tensor *view = sd_arena_alloc(&c->graph->arena, sizeof *view);
    if (!view)
        return sd_graph_fail(c->graph, SD_E_MEMORY, "out of memory");
    *view = *t;
    view->owner = *owner;
    return view;
}

static void copy_node(struct copier *c, const sd_node *node) {
    sd_tensor *inputs[SD_NODE_INPUTS];
    for (uint32_t i = 0; i < SD_NODE_INPUTS; i++)
        inputs[i] = copy(c, node->in[i]);
    if (!sd_graph_add(c->graph, node->op, copy(c, node->out), inputs, SD_NODE_INPUTS, node->weight[0],
                      node->weight[1], node->params, sizeof node->params))
        return;
    sd_node *added = c->graph->nodes[c->graph->node_count - 1];
    added->name = node->name;
    if (c->piece->unit && node->strips && node->strips->fit)
        node->strips->fit(added);
}

sd_status sd_piece_graph(const struct sd_piece *p, sd_graph **out, sd_tensor **copies, sd_error *err) {
    const sd_graph *g = p->graph;
    struct copier c = {.piece = p, .copies = copies};
    sd_status status = sd_graph_create(out, &g->info, g->act, err);
    if (status)
        return status;
    c.graph = *out;
    for (uint32_t i = 0; i < g->tensor_count; i++)
        copies[i] = NULL;
    for (uint32_t i = 0; i < g->node_count; i++)
        if (p->nodes[i])
            copy_node(&c, g->nodes[i]);
    for (uint32_t i = 0; i < g->tensor_count && !c.graph->failed; i++)
        if (p->stored[i])
            sd_graph_output(c.graph, copies[i], g->tensors[i]->name);
    if ((status = sd_graph_status(c.graph, err)))
        sd_graph_destroy(out);
    return status;
}
