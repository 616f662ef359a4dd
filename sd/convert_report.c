/* What `sd_convert` tells of its work. */
#include "sd/convert.h"

#include <math.h>
#include <stdlib.h>

/* Groups in the order of the report. */
struct key {
    int part, kind;
    sd_file_dtype type, asked;
};

struct sum {
    struct key key;
    sd_convert_group group;
    double difference, size;
};

static struct key key_of(const struct sd_convert_item *item) {
    static const int order[] = {[SD_PART_TEXT] = 0, [SD_PART_TEXT_2] = 1, [SD_PART_UNET] = 2,
                                [SD_PART_VAE] = 3,  [SD_PART_TAESD] = 4,  [SD_PARTS] = 4};
    return (struct key){order[item->part], (int)item->kind, item->out.dtype, item->asked};
}

static int compare(const struct key *a, const struct key *b) {
    return a->part != b->part   ? a->part - b->part
           : a->kind != b->kind ? a->kind - b->kind
           : a->type != b->type ? (int)a->type - (int)b->type
                                : (int)a->asked - (int)b->asked;
}

static int by_key(const void *a, const void *b) {
    return compare(&((const struct sum *)a)->key, &((const struct sum *)b)->key);
}

static void add(struct sum *s, const struct sd_convert_item *item) {
    sd_convert_group *g = &s->group;
    g->tensors++;
    for (uint32_t i = 0; i < item->pieces; i++)
        g->bytes_before += item->piece[i].bytes;
    g->bytes_after += item->out.bytes;
    g->largest = fmax(g->largest, item->largest);
    s->difference += item->difference;
    s->size += item->size;
}

static void finish(struct sum *s) {
    static const char *const parts[] = {"text encoder", "text encoder 2", "UNet", "VAE", "other"};
    static const char *const kinds[] = {
        [CONVERT_ATTENTION] = "attention",      [CONVERT_FEED_FORWARD] = "feed-forward",
        [CONVERT_CONVOLUTION] = "convolutions", [CONVERT_LAYER] = "layers",
        [CONVERT_EMBEDDING] = "embeddings",     [CONVERT_VECTOR] = "vectors"};
    s->group.part = parts[s->key.part];
    s->group.kind = kinds[s->key.kind];
    s->group.type = sd_file_dtype_name(s->key.type);
    s->group.asked = sd_file_dtype_name(s->key.asked);
    s->group.error = s->size > 0 ? sqrt(s->difference / s->size) : 0;
}

sd_status sd_convert_summarise(const struct sd_conversion *c, sd_convert_report **out, sd_error *err) {
    struct sum *sums = calloc(c->count + 1, sizeof *sums);
    sd_convert_report *report = calloc(1, sizeof *report);
    if (report)
        report->groups = calloc(c->count + 1, sizeof *report->groups);
    if (!sums || !report || !report->groups) {
        free(sums);
        sd_convert_report_free(&report);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct key key = key_of(&c->items[i]);
        size_t k = 0;
        while (k < report->count && compare(&sums[k].key, &key))
            k++;
        sums[k].key = key;
        report->count += k == report->count;
        add(&sums[k], &c->items[i]);
    }
    qsort(sums, report->count, sizeof *sums, by_key);
    report->tensors = (uint32_t)c->count;
    for (size_t i = 0; i < report->count; i++) {
        finish(&sums[i]);
        report->groups[i] = sums[i].group;
        report->bytes_before += sums[i].group.bytes_before;
        report->bytes_after += sums[i].group.bytes_after;
    }
    free(sums);
    *out = report;
    return SD_OK;
}

void sd_convert_report_free(sd_convert_report **report) {
    if (!*report)
        return;
    free((*report)->groups);
    free(*report);
    *report = NULL;
}
