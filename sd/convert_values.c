/* The bytes of the output, made as they are asked for. */
#include "sd/convert.h"

#include "sd/base/clock.h"
#include "sd/base/thread.h"
#include "sd/base/values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { chunk_values = 16384, most_threads = 16 };

/* ---- values before they are written ---- */

static uint64_t count_of(const struct sd_raw *raw) {
    sd_dtype_block block = sd_dtype_block_of(raw->dtype);
    return raw->bytes / block.bytes * block.values;
}

/* Values from `first` on, out of the pieces that they lie in. */
static void read_pieces(const struct sd_convert_item *item, uint64_t first, uint64_t count, float *out) {
    for (uint32_t i = 0; i < item->pieces && count; i++) {
        const struct sd_raw *piece = &item->piece[i];
        uint64_t all = count_of(piece);
        if (first < all) {
            uint64_t now = all - first < count ? all - first : count;
            sd_values_decode(piece->dtype, piece->data, first, now, out);
            out += now;
            count -= now;
            first = 0;
        } else
            first -= all;
    }
}

static sd_status run_edit(struct sd_conversion *c, const struct sd_convert_item *item, uint32_t piece,
                          float *out, sd_error *err) {
    const struct sd_raw *raw = &item->piece[piece];
    const struct sd_weight_source *source = &c->source[item->network];
    uint64_t rows = raw->rank ? raw->shape[0] : 1;
    sd_edit edit;
    sd_edit_begin(&edit, (uint32_t)rows, (uint32_t)(count_of(raw) / rows));
    source->edit(source->user, item->edited[piece], &edit);
    sd_status status = sd_editor_run(c->editor, &edit, raw, out, err);
    sd_edit_clear(&edit);
    return status;
}

static bool is_edited(const struct sd_convert_item *item) {
    return item->edited[0] || item->edited[1] || item->edited[2];
}

/* All values of an item that needs more than its file: edited ones as the device computes them, then turned.
 */
static sd_status read_whole(struct sd_convert_values *v, const struct sd_convert_item *item, sd_error *err) {
    uint64_t at = 0, all = 0;
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < item->pieces; i++)
        all += count_of(&item->piece[i]);
    float *values = malloc(all * sizeof *values + 1);
    if (!(v->whole = values))
        return sd_fail(err, SD_E_MEMORY, "tensor %s: no memory for its values", item->out.name);
    for (uint32_t i = 0; i < item->pieces && !status; at += count_of(&item->piece[i]), i++) {
        const struct sd_raw *raw = &item->piece[i];
        if (item->edited[i])
            status = run_edit(v->conversion, item, i, values + at, err);
        else
            sd_values_decode(raw->dtype, raw->data, 0, count_of(raw), values + at);
    }
    if (status || !item->turned)
        return status;
    uint64_t rows = item->out.shape[0], columns = item->out.shape[1];
    if (!(v->whole = malloc(all * sizeof *values + 1)))
        status = sd_fail(err, SD_E_MEMORY, "tensor %s: no memory for its values", item->out.name);
    for (uint64_t i = 0; i < rows && !status; i++)
        for (uint64_t k = 0; k < columns; k++)
            v->whole[i * columns + k] = values[k * rows + i];
    free(values);
    return status;
}

/* ---- writing them ---- */

/* A share of one call, for one thread. */
struct share {
    const struct sd_convert_item *item;
    const float *whole; /* NULL: from the pieces */
    uint64_t first, count;
    uint8_t *out;
    bool fits;
    double difference, size, largest;
};

static void measure(struct share *s, const float *wanted, const float *got, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        double difference = fabs((double)got[i] - (double)wanted[i]);
        if (!isfinite(difference)) /* NaN and infinity that stayed what they were */
            continue;
        s->difference += difference * difference;
        s->size += (double)wanted[i] * (double)wanted[i];
        s->largest = fmax(s->largest, difference);
    }
}

static void *encode(void *user) {
    struct share *s = user;
    sd_dtype type = sd_file_dtype_base(s->item->out.dtype);
    sd_dtype_block block = sd_dtype_block_of(type);
    float wanted[chunk_values], got[chunk_values];
    for (uint64_t at = 0; at < s->count && s->fits; at += chunk_values) {
        uint64_t now = s->count - at < chunk_values ? s->count - at : chunk_values;
        uint8_t *out = s->out + at / block.values * block.bytes;
        const float *from = wanted;
        if (s->whole)
            from = s->whole + s->first + at;
        else
            read_pieces(s->item, s->first + at, now, wanted);
        s->fits = sd_values_encode(type, from, now, out);
        if (!s->fits)
            break;
        sd_values_decode(type, out, 0, now, got);
        measure(s, from, got, now);
    }
    return NULL;
}

/* Splits the values among threads in whole chunks. */
static bool encode_all(const struct sd_convert_values *v, struct sd_convert_item *item, uint64_t first,
                       uint64_t count, uint8_t *out) {
    sd_dtype_block block = sd_dtype_block_of(sd_file_dtype_base(item->out.dtype));
    struct share shares[most_threads];
    pthread_t threads[most_threads];
    bool started[most_threads] = {false}, fits = true;
    uint64_t chunks = (count + chunk_values - 1) / chunk_values;
    unsigned used = chunks < v->threads ? (unsigned)chunks : v->threads;
    used = used < most_threads ? used : most_threads;
    for (unsigned i = 0; i < used; i++) {
        uint64_t from = chunks * i / used * chunk_values, to = chunks * (i + 1) / used * chunk_values;
        shares[i] = (struct share){.item = item,
                                   .whole = v->whole,
                                   .first = first + from,
                                   .count = (to < count ? to : count) - from,
                                   .out = out + from / block.values * block.bytes,
                                   .fits = true};
        started[i] = i + 1 < used && sd_thread_start(&threads[i], encode, &shares[i]);
        if (!started[i])
            encode(&shares[i]);
    }
    for (unsigned i = 0; i < used; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        fits = fits && shares[i].fits;
        item->difference += shares[i].difference;
        item->size += shares[i].size;
        item->largest = fmax(item->largest, shares[i].largest);
    }
    return fits;
}

/* Bytes that stay what they are, out of the pieces that they lie in. */
static void copy_pieces(const struct sd_convert_item *item, uint64_t first, uint8_t *out, size_t size) {
    for (uint32_t i = 0; i < item->pieces && size; i++) {
        const struct sd_raw *piece = &item->piece[i];
        if (first < piece->bytes) {
            size_t now = piece->bytes - first < size ? (size_t)(piece->bytes - first) : size;
            memcpy(out, (const uint8_t *)piece->data + first, now);
            out += now;
            size -= now;
            first = 0;
        } else
            first -= piece->bytes;
    }
}

/* ---- as the writer asks ---- */

/* The item's pages need not stay in memory. */
static void let_go(const sd_checkpoint *files, const struct sd_convert_item *item) {
    for (uint32_t i = 0; i < item->pieces; i++)
        for (uint32_t k = 0; k < files->file_count; k++)
            sd_tensor_file_advise(files->files[k], item->piece[i].data, item->piece[i].bytes, SD_FILE_DONE);
}

static sd_status begin(struct sd_convert_values *v, const struct sd_convert_item *item, sd_error *err) {
    const sd_convert_params *p = v->conversion->params;
    if (v->item)
        let_go(v->conversion->files, v->item);
    free(v->whole);
    v->whole = NULL;
    v->item = item;
    if (p->progress)
        p->progress(p->progress_user, &(sd_progress){.phase = SD_PHASE_CONVERT,
                                                     .images = 1,
                                                     .step = (uint32_t)v->written,
                                                     .steps = (uint32_t)v->conversion->count,
                                                     .seconds = sd_now() - v->began});
    v->written++;
    return is_edited(item) || item->turned ? read_whole(v, item, err) : SD_OK;
}

sd_status sd_convert_fill(void *values, const sd_file_tensor *tensor, uint64_t first, void *out, size_t size,
                          sd_error *err) {
    struct sd_convert_values *v = values;
    struct sd_conversion *c = v->conversion;
    struct sd_convert_item *item = &c->items[tensor - c->tensors];
    if (sd_cancel_requested(c->params->cancel))
        return sd_fail(err, SD_E_CANCELLED, "cancelled");
    sd_status status = v->item == item ? SD_OK : begin(v, item, err);
    if (status)
        return status;
    if (!v->whole && item->out.dtype == item->from) {
        copy_pieces(item, first, out, size);
        return SD_OK;
    }
    sd_dtype_block block = sd_dtype_block_of(sd_file_dtype_base(item->out.dtype));
    if (encode_all(v, item, first / block.bytes * block.values, size / block.bytes * block.values, out))
        return SD_OK;
    return sd_fail(err, SD_E_NUMERIC,
                   "%s: tensor %s: a value is NaN, infinite or too large for %s; a rule can keep its type",
                   c->files->path, sd_show_name(item->out.name).text, sd_file_dtype_name(item->out.dtype));
}
