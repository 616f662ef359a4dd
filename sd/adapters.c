#include "sd/adapters.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static sd_status open_one(struct sd_adapter *a, const sd_lora_use *use, bool strict,
                          const sd_lora_targets *targets, sd_error *err) {
    struct stat st;
    if (!use->path || !*use->path)
        return sd_fail(err, SD_E_ARGUMENT, "loras: expected the path of a file, found none");
    if (!isfinite(use->unet) || !isfinite(use->text))
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected finite strengths, found %g and %g", use->path,
                       (double)use->unet, (double)use->text);
    if (stat(use->path, &st))
        return sd_fail(err, errno == ENOENT || errno == ENOTDIR ? SD_E_NOT_FOUND : SD_E_IO,
                       "%s: cannot open the LoRA: %s", use->path, strerror(errno));
    a->device = st.st_dev;
    a->inode = st.st_ino;
    a->size = st.st_size;
    a->changed = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    if (!(a->path = strdup(use->path)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_lora_strength_init(&a->strength, use->unet, use->text);
    sd_status status = use->blocks ? sd_lora_parse_blocks(&a->strength, use->blocks, err) : SD_OK;
    if (!status && !(status = sd_lora_open(&a->file, use->path, err)))
        status = sd_lora_match_create(&a->match, a->file, targets, strict, err);
    return status;
}

sd_status sd_adapter_set_open(struct sd_adapter_set *set, const sd_lora_use *uses, size_t count, bool strict,
                              const sd_lora_targets *targets, sd_error *err) {
    *set = (struct sd_adapter_set){0};
    if (!count)
        return SD_OK;
    if (!(set->items = calloc(count, sizeof *set->items)))
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = SD_OK;
    while (set->count < count && !status) {
        status = open_one(&set->items[set->count], &uses[set->count], strict, targets, err);
        set->count++;
    }
    if (status)
        sd_adapter_set_close(set);
    return status;
}

sd_status sd_adapter_set_append(struct sd_adapter_set *set, struct sd_adapter_set *more, sd_error *err) {
    if (!more->count)
        return SD_OK;
    struct sd_adapter *items = realloc(set->items, (set->count + (size_t)more->count) * sizeof *items);
    if (!items) {
        sd_adapter_set_close(more);
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    }
    memcpy(items + set->count, more->items, more->count * sizeof *items);
    set->items = items;
    set->count += more->count;
    free(more->items);
    *more = (struct sd_adapter_set){0};
    return SD_OK;
}

void sd_adapter_set_close(struct sd_adapter_set *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        sd_lora_match_destroy(&set->items[i].match);
        sd_lora_close(&set->items[i].file);
        free(set->items[i].path);
    }
    free(set->items);
    *set = (struct sd_adapter_set){0};
}

static bool same_file(const struct sd_adapter *a, const struct sd_adapter *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->changed == b->changed;
}

static bool same_strength(const struct sd_adapter *a, const struct sd_adapter *b) {
    return a->strength.unet == b->strength.unet && a->strength.text == b->strength.text &&
           !memcmp(a->strength.block, b->strength.block, sizeof a->strength.block);
}

/* The next adapter from index `at` on that changes the tensor; set->count when there is none. */
static uint32_t next(const struct sd_adapter_set *set, uint32_t at, sd_lora_part part, const char *name) {
    while (at < set->count && !sd_lora_changes(set->items[at].match, &set->items[at].strength, part, name))
        at++;
    return at;
}

bool sd_adapter_sets_agree(const struct sd_adapter_set *a, const struct sd_adapter_set *b, sd_lora_part part,
                           const char *name) {
    uint32_t i = next(a, 0, part, name), k = next(b, 0, part, name);
    while (i < a->count && k < b->count) {
        if (!same_file(&a->items[i], &b->items[k]) || !same_strength(&a->items[i], &b->items[k]))
            return false;
        i = next(a, i + 1, part, name);
        k = next(b, k + 1, part, name);
    }
    return i == a->count && k == b->count;
}

static bool find(void *user, const char *name, struct sd_raw *out) {
    const struct sd_adapted *a = user;
    return a->base.find(a->base.user, name, out);
}

static bool edit(void *user, const char *name, struct sd_edit *e) {
    const struct sd_adapted *a = user;
    uint32_t at = next(a->set, 0, a->part, name);
    bool any = at < a->set->count;
    for (; e && at < a->set->count; at = next(a->set, at + 1, a->part, name))
        sd_lora_edit(a->set->items[at].match, &a->set->items[at].strength, a->part, name, e);
    return any;
}

static void advise(void *user, const struct sd_raw *raw, bool done) {
    const struct sd_adapted *a = user;
    if (a->base.advise)
        a->base.advise(a->base.user, raw, done);
}

static uint64_t low_rank(void *user, const char *name, const struct sd_low_rank *out) {
    const struct sd_adapted *a = user;
    uint64_t all = 0;
    struct sd_low_rank here = out ? *out : (struct sd_low_rank){0};
    for (uint32_t at = next(a->set, 0, a->part, name); at < a->set->count;
         at = next(a->set, at + 1, a->part, name)) {
        const struct sd_adapter *item = &a->set->items[at];
        uint32_t rank = sd_lora_low_rank(item->match, &item->strength, a->part, name, out ? &here : NULL);
        if (!rank)
            return 0;
        all += rank;
        here.up += out ? rank : 0;
        here.down += out ? (uint64_t)rank * here.down_pitch : 0;
    }
    return all;
}

struct sd_weight_source sd_adapted_source(struct sd_adapted *adapted) {
    return (struct sd_weight_source){.label = adapted->base.label,
                                     .user = adapted,
                                     .find = find,
                                     .advise = advise,
                                     .edit = adapted->set->count ? edit : NULL,
                                     .low_rank = adapted->set->apart ? low_rank : NULL};
}
