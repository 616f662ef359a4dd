/* Which tensors of the output LoRAs change. */
#include "sd/convert.h"

#include "sd/convert_names.h"

#include <stdio.h>
#include <string.h>

static struct sd_convert_item *find_item(const struct sd_conversion *c, const char *name) {
    const sd_file_tensor *t = sd_file_tensors_find(c->by_name, c->count, name);
    return t ? &c->items[t - c->tensors] : NULL;
}

/* The tensor that holds a weight. The checkpoint finds text encoders under some other names too. */
static struct sd_convert_item *find_weight(const struct sd_conversion *c, sd_part part, const char *canonical,
                                           struct sd_single_name *name) {
    char wrapped[256];
    struct sd_convert_item *item =
        sd_single_name(c->files, part, canonical, name) ? find_item(c, name->text) : NULL;
    if (item || part == SD_PART_UNET)
        return item;
    snprintf(wrapped, sizeof wrapped, "text_model.%s", canonical);
    if (sd_single_name(c->files, part, wrapped, name) && (item = find_item(c, name->text)))
        return item;
    name->turned = !strcmp(canonical, "text_projection.weight");
    return name->turned && sd_single_name(c->files, part, "text_projection", name) ? find_item(c, name->text)
                                                                                   : NULL;
}

/* A stacked tensor as the three weights that it is. */
static void split(struct sd_convert_item *item) {
    const struct sd_raw whole = item->piece[0];
    for (uint32_t i = 0; i < CONVERT_PIECES; i++) {
        struct sd_raw *piece = &item->piece[i];
        *piece = whole;
        piece->shape[0] /= CONVERT_PIECES;
        piece->bytes /= CONVERT_PIECES;
        piece->data = (const char *)whole.data + i * piece->bytes;
    }
    item->pieces = CONVERT_PIECES;
}

static sd_status mark(struct sd_conversion *c, sd_lora_part network, sd_part part, const char *canonical,
                      sd_error *err) {
    struct sd_single_name name;
    struct sd_convert_item *item = find_weight(c, part, canonical, &name);
    const struct sd_weight_source *source = &c->source[network];
    if (!item)
        return sd_fail(err, SD_E_UNSUPPORTED, "%s: no tensor of the output holds %s", c->files->path,
                       canonical);
    if (name.third >= 0 && item->pieces == 1)
        split(item);
    else if (name.turned && !item->turned) {
        if (!source->find(source->user, canonical, &item->piece[0]))
            return sd_fail(err, SD_E_MEMORY, "%s: no memory to turn %s", c->files->path, canonical);
        item->turned = true;
    }
    item->network = network;
    item->edited[name.third >= 0 ? name.third : 0] = canonical;
    return SD_OK;
}

sd_status sd_convert_mark_edits(struct sd_conversion *c, sd_model *model, sd_error *err) {
    static const sd_part parts[] = {
        [SD_LORA_UNET] = SD_PART_UNET, [SD_LORA_TEXT] = SD_PART_TEXT, [SD_LORA_TEXT_2] = SD_PART_TEXT_2};
    sd_status status = SD_OK;
    for (int network = 0; network < SD_LORA_PARTS; network++) {
        const sd_weights *weights = sd_model_adapted_weights(model, (sd_lora_part)network);
        c->source[network] = sd_model_source(model, (sd_lora_part)network);
        const struct sd_weight_source *source = &c->source[network];
        for (size_t i = 0; weights && source->edit && i < sd_weights_count(weights); i++) {
            const sd_weight *w = sd_weights_at(weights, i);
            for (uint32_t k = 0; k < w->parts && !status; k++)
                if (source->edit(source->user, w->names[k], NULL))
                    status = mark(c, (sd_lora_part)network, parts[network], w->names[k], err);
        }
    }
    return status;
}
