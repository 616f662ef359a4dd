#include "sd/nn/plan.h"

#include "sd/base/checked.h"
#include "sd/nn/op.h"

#include <stdlib.h>
#include <string.h>

enum { place_alignment = 256 };

/* When an owner's memory is needed: from the node that writes it to the last one that reads it, in plan
 * order. */
struct life {
    sd_tensor *tensor;
    uint32_t first, last;
};

static void order_nodes(sd_plan *plan) {
    const sd_graph *g = plan->graph;
    for (int rate = SD_RATE_PROMPT; rate <= SD_RATE_STEP; rate++) {
        if (rate == SD_RATE_STEP)
            plan->first_step = plan->count;
        for (uint32_t i = 0; i < g->node_count; i++)
            if ((int)g->nodes[i]->rate == rate)
                plan->order[plan->count++] = g->nodes[i];
    }
}

static void extend(struct life *lives, const sd_tensor *t, uint32_t at) {
    if (!t)
        return;
    if (t->parts[0]) {
        extend(lives, t->parts[0], at);
        extend(lives, t->parts[1], at);
        return;
    }
    struct life *life = &lives[t->owner->place];
    if (at > life->last)
        life->last = at;
}

/* `place` holds the tensor's own index until the placement overwrites it, which spares a map. */
static void find_lives(const sd_plan *plan, struct life *lives, bool no_reuse) {
    const sd_graph *g = plan->graph;
    uint32_t end = plan->count ? plan->count - 1 : 0;
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        sd_tensor *t = g->tensors[i];
        t->place = i;
        lives[i] = (struct life){t, 0, 0};
    }
    for (uint32_t at = 0; at < plan->count; at++) {
        const sd_node *node = plan->order[at];
        lives[node->out->owner->place].first = at;
        extend(lives, node->out, at);
        for (int i = 0; i < SD_NODE_INPUTS; i++)
            extend(lives, node->in[i], at);
    }
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        sd_tensor *t = lives[i].tensor;
        /* What a step reads from the prompt's part must survive all replays of the step. */
        bool crosses = lives[i].first < plan->first_step && lives[i].last >= plan->first_step;
        if (no_reuse || t->input || t->output || crosses)
            lives[i].last = end;
    }
}

static int larger_first(const void *a, const void *b) {
    const struct life *x = a, *y = b;
    if (x->tensor->bytes != y->tensor->bytes)
        return x->tensor->bytes < y->tensor->bytes ? 1 : -1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static int lower_first(const void *a, const void *b) {
    const struct life *x = *(const struct life *const *)a, *y = *(const struct life *const *)b;
    return x->tensor->place < y->tensor->place ? -1 : x->tensor->place > y->tensor->place;
}

static bool overlap(const struct life *a, const struct life *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Largest tensors first, each at the lowest place that no tensor alive at the same time holds. */
static bool place_all(struct life *lives, uint32_t count, uint32_t guard, const struct life **busy,
                      uint64_t *peak) {
    qsort(lives, count, sizeof *lives, larger_first);
    *peak = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t busy_count = 0;
        uint64_t at = 0, size, end;
        for (uint32_t j = 0; j < i; j++)
            if (overlap(&lives[i], &lives[j]))
                busy[busy_count++] = &lives[j];
        qsort(busy, busy_count, sizeof *busy, lower_first);
        if (!sd_add_u64(lives[i].tensor->bytes, guard, &size) || !sd_align_u64(size, place_alignment, &size))
            return false;
        for (uint32_t j = 0; j < busy_count; j++) {
            const sd_tensor *other = busy[j]->tensor;
            if (other->place >= at && other->place - at >= size)
                break;
            uint64_t behind;
            if (!sd_align_u64(other->place + other->bytes + guard, place_alignment, &behind))
                return false;
            if (behind > at)
                at = behind;
        }
        lives[i].tensor->place = at;
        if (!sd_add_u64(at, size, &end))
            return false;
        if (end > *peak)
            *peak = end;
    }
    return true;
}

struct range {
    uint64_t from, to;
};

struct hazards {
    struct range *reads, *writes;
    uint32_t read_count, write_count;
};

static bool touches(const struct range *list, uint32_t count, const sd_tensor *owner) {
    for (uint32_t i = 0; i < count; i++)
        if (owner->place < list[i].to && list[i].from < owner->place + owner->bytes)
            return true;
    return false;
}

static bool reads_pending(const struct hazards *h, const sd_tensor *t) {
    if (!t)
        return false;
    if (t->parts[0])
        return reads_pending(h, t->parts[0]) || reads_pending(h, t->parts[1]);
    return touches(h->writes, h->write_count, t->owner);
}

static void add_read(struct hazards *h, const sd_tensor *t) {
    if (!t)
        return;
    if (t->parts[0]) {
        add_read(h, t->parts[0]);
        add_read(h, t->parts[1]);
        return;
    }
    h->reads[h->read_count++] = (struct range){t->owner->place, t->owner->place + t->owner->bytes};
}

/* A barrier stands only where bytes written since the last one are read or written again, or bytes read are
 * overwritten. */
static void place_barriers(sd_plan *plan, struct hazards *h) {
    for (uint32_t at = 0; at < plan->count; at++) {
        const sd_node *node = plan->order[at];
        const sd_tensor *out = node->out->owner;
        bool wait = touches(h->writes, h->write_count, out) || touches(h->reads, h->read_count, out);
        for (int i = 0; i < SD_NODE_INPUTS; i++)
            wait = wait || reads_pending(h, node->in[i]);
        if (at == plan->first_step) /* a submission of its own, which waits anyway */
            h->read_count = h->write_count = 0;
        else if (wait) {
            plan->barrier[at] = true;
            plan->stats.barriers[node->rate]++;
            h->read_count = h->write_count = 0;
        }
        h->writes[h->write_count++] = (struct range){out->place, out->place + out->bytes};
        for (int i = 0; i < SD_NODE_INPUTS; i++)
            add_read(h, node->in[i]);
    }
}

static void count_work(sd_plan *plan) {
    for (uint32_t i = 0; i < plan->count; i++) {
        const sd_node *node = plan->order[i];
        struct sd_cost cost = {0};
        if (node->op->cost)
            node->op->cost(node, &cost);
        plan->stats.nodes[node->rate]++;
        plan->stats.flop[node->rate] += cost.flop;
        plan->stats.bytes[node->rate] += cost.bytes;
    }
}

sd_status sd_plan_create(sd_plan **out, sd_graph *graph, const struct sd_plan_options *options,
                         sd_error *err) {
    static const struct sd_plan_options defaults;
    options = options ? options : &defaults;
    *out = NULL;
    sd_status status = sd_graph_status(graph, err);
    if (status)
        return status;
    uint32_t nodes = graph->node_count, tensors = graph->tensor_count;
    sd_plan *plan = calloc(1, sizeof *plan);
    struct life *lives = calloc(tensors + 1, sizeof *lives);
    const struct life **busy = calloc(tensors + 1, sizeof *busy);
    struct hazards hazards = {calloc((size_t)nodes * SD_NODE_INPUTS * 2 + 1, sizeof(struct range)),
                              calloc((size_t)nodes + 1, sizeof(struct range)), 0, 0};
    if (plan) {
        plan->graph = graph;
        plan->order = calloc((size_t)nodes + 1, sizeof *plan->order);
        plan->barrier = calloc((size_t)nodes + 1, sizeof *plan->barrier);
    }
    if (!plan || !lives || !busy || !hazards.reads || !hazards.writes || !plan->order || !plan->barrier) {
        status = sd_fail(err, SD_E_MEMORY, "out of memory while planning");
        goto done;
    }
    order_nodes(plan);
    find_lives(plan, lives, options->no_reuse);
    if (!place_all(lives, tensors, options->guard, busy, &plan->stats.activation_bytes)) {
        status = sd_fail(err, SD_E_UNSUPPORTED, "the activations of this size do not fit into 2^64 bytes");
        goto done;
    }
    place_barriers(plan, &hazards);
    count_work(plan);
done:
    free(lives);
    free(busy);
    free(hazards.reads);
    free(hazards.writes);
    if (status)
        sd_plan_destroy(&plan);
    *out = plan;
    return status;
}

void sd_plan_destroy(sd_plan **plan) {
    if (!*plan)
        return;
    free((*plan)->order);
    free((*plan)->barrier);
    free(*plan);
    *plan = NULL;
}
