/* From the object that a pickle describes to tensors with names. Lists and dicts may be shared and may even
 * hold themselves, so that they are measured first: what is walked afterwards is a tree of bounded size. */
#include "sd/io/pickle_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { measuring = UINT32_MAX, countless = UINT32_MAX / 2 };

typedef struct gathering {
    sd_pickle *file;
    const char *label;
    uint64_t copies; /* bytes that may still be copied */
    sd_error *err;
    sd_status status;
    char path[SD_PICKLE_NAME + 1];
} gathering;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static bool
fail(gathering *g, sd_status status, const char *format, ...) {
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    g->status = sd_fail(g->err, status, "%s: %s", g->label, message);
    return false;
}

static bool no_memory(gathering *g) {
    return fail(g, SD_E_MEMORY, "no memory for its tensors");
}

/* The items of a list or dict, NULL for other values. */
static sd_pickle_items *items_of(const sd_pickle_value *value) {
    return value->kind >= SD_PICKLE_TUPLE && value->kind <= SD_PICKLE_PARAMETERS ? value->as.items : NULL;
}

static uint32_t tensors_in(const sd_pickle_value *value) {
    const sd_pickle_items *items = items_of(value);
    return items ? items->tensors : value->kind == SD_PICKLE_TENSOR;
}

static uint32_t add(uint32_t a, uint32_t b) {
    return a > countless - b ? countless : a + b;
}

/* Counts values, tensors and levels below; values and tensors as often as they are reached. */
static bool measure(gathering *g, const sd_pickle_value *value, uint32_t depth) {
    sd_pickle_items *items = items_of(value);
    uint32_t step = value->kind == SD_PICKLE_DICT ? 2 : 1, extent = 1, tensors = 0, height = 0;
    if (!items || (items->extent && items->extent != measuring))
        return true;
    if (items->extent)
        return fail(g, SD_E_FORMAT, "a list or dict that holds itself");
    items->extent = measuring;
    for (uint32_t i = step - 1; i < items->count; i += step) {
        const sd_pickle_value *item = &items->list[i];
        const sd_pickle_items *below = items_of(item);
        bool too_deep = below && depth + 1 == SD_PICKLE_DEPTH;
        if (!too_deep && !measure(g, item, depth + 1))
            return false;
        if (too_deep || (below && below->height + 1 == SD_PICKLE_DEPTH))
            return fail(g, SD_E_UNSUPPORTED, "lists and dicts nested deeper than %d levels", SD_PICKLE_DEPTH);
        extent = add(extent, below ? below->extent : 1);
        tensors = add(tensors, tensors_in(item));
        height = below && below->height >= height ? below->height + 1 : height;
    }
    items->extent = extent;
    items->tensors = tensors;
    items->height = height;
    return true;
}

sd_pickle_key sd_pickle_extend(char path[SD_PICKLE_NAME + 1], const sd_pickle_value *key, size_t *length) {
    char buffer[160];
    const char *text = buffer;
    size_t size, dot = *length > 0;
    if (key->kind == SD_PICKLE_TEXT) {
        text = key->as.text;
        size = key->size;
    } else if (key->kind == SD_PICKLE_INT)
        size = (size_t)snprintf(buffer, sizeof buffer, "%" PRId64, key->as.integer);
    else if (key->kind == SD_PICKLE_GLOBAL)
        size = (size_t)snprintf(buffer, sizeof buffer, "%s.%s", key->as.global->module, key->as.global->name);
    else
        return key->kind == SD_PICKLE_BINARY ? SD_PICKLE_KEY_MALFORMED : SD_PICKLE_KEY_UNNAMED;
    if (*length + dot + size > SD_PICKLE_NAME)
        return SD_PICKLE_KEY_MALFORMED;
    if (dot)
        path[*length] = '.';
    memcpy(path + *length + dot, text, size);
    *length += dot + size;
    path[*length] = 0;
    return SD_PICKLE_KEY_NAMED;
}

static bool give_tensor(gathering *g, const sd_pickle_view *view) {
    sd_file_tensor *t = &g->file->tensors[g->file->count];
    t->name = sd_arena_strdup(&g->file->arena, g->path[0] ? g->path : "tensor");
    if (!t->name)
        return no_memory(g);
    g->status = sd_pickle_place(g->label, view, &g->file->arena, &g->copies, t, g->err);
    g->file->count += !g->status;
    return !g->status;
}

/* The tensors below a value whose name is the first `length` bytes of the path. */
static bool give_tensors(gathering *g, const sd_pickle_value *value, size_t length) {
    const sd_pickle_items *items = items_of(value);
    uint32_t step = value->kind == SD_PICKLE_DICT ? 2 : 1;
    g->path[length] = 0;
    if (value->kind == SD_PICKLE_TENSOR)
        return give_tensor(g, value->as.view);
    if (value->kind == SD_PICKLE_PARAMETERS)
        return give_tensors(g, &items->list[0], length);
    for (uint32_t i = step - 1; items && i < items->count; i += step) {
        const sd_pickle_value *item = &items->list[i], place = {.kind = SD_PICKLE_INT, .as.integer = i};
        size_t longer = length;
        if (!tensors_in(item))
            continue;
        sd_pickle_key form = sd_pickle_extend(g->path, step == 2 ? item - 1 : &place, &longer);
        if (form == SD_PICKLE_KEY_MALFORMED)
            return fail(
                g, SD_E_FORMAT,
                "expected names of at most %d bytes of UTF-8 without NUL, found a tensor with another",
                SD_PICKLE_NAME);
        if (form == SD_PICKLE_KEY_UNNAMED)
            g->file->left_out += tensors_in(item);
        else if (!give_tensors(g, item, longer))
            return false;
    }
    return true;
}

/* The only member that holds tensors, NULL when there are none or several; *key is its key. */
static const sd_pickle_value *only_member(const sd_pickle_items *dict, const sd_pickle_value **key) {
    const sd_pickle_value *only = NULL;
    for (uint32_t i = 1; i < dict->count; i += 2)
        if (tensors_in(&dict->list[i])) {
            if (only)
                return NULL;
            only = &dict->list[i];
        }
    *key = only ? only - 1 : NULL;
    return only;
}

/* The dict inside that a trainer wrapped; NULL when there is none. */
static const sd_pickle_value *unwrap(const sd_pickle_value *value, const char **name) {
    static const char *const winners[] = {"state_dict", "params_ema", "params"};
    static const char *const wrappers[] = {"model", "module", "model_state_dict"};
    const sd_pickle_value *key;
    if (value->kind != SD_PICKLE_DICT)
        return NULL;
    for (size_t i = 0; i < sizeof winners / sizeof *winners; i++) {
        const sd_pickle_value *inner = sd_pickle_member(value, winners[i]);
        *name = winners[i];
        if (inner && inner->kind == SD_PICKLE_DICT && tensors_in(inner))
            return inner;
    }
    const sd_pickle_value *only = only_member(value->as.items, &key);
    if (!only || only->kind != SD_PICKLE_DICT || key->kind != SD_PICKLE_TEXT)
        return NULL;
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        *name = wrappers[i];
        if (strcmp(key->as.text, wrappers[i]) == 0)
            return only;
    }
    return NULL;
}

static const sd_pickle_value *find_root(gathering *g, const sd_pickle_value *object) {
    const char *root = "", *name;
    for (const sd_pickle_value *inner; root && (inner = unwrap(object, &name)); object = inner)
        root = sd_arena_printf(&g->file->arena, "%s%s%s", root, *root ? "." : "", name);
    g->file->root = root;
    return object;
}

/* Fills by_name; a name must stand once. */
static bool sort_names(gathering *g) {
    sd_pickle *f = g->file;
    f->by_name = sd_file_tensors_by_name(&f->arena, f->tensors, f->count);
    if (!f->by_name)
        return no_memory(g);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->by_name[i]->name, f->by_name[i - 1]->name) == 0)
            return fail(g, SD_E_FORMAT, "tensor '%s' is there twice", sd_show_name(f->by_name[i]->name).text);
    return true;
}

static bool gather(gathering *g, const sd_pickle_value *object, uint64_t pickle_size) {
    sd_pickle *f = g->file;
    if (!measure(g, object, 0))
        return false;
    if (items_of(object) && items_of(object)->extent > pickle_size)
        return fail(g, SD_E_FORMAT,
                    "refers to the same lists and dicts more often than a pickle of its size needs to");
    const sd_pickle_value *root = find_root(g, object);
    if (tensors_in(root) > SD_PICKLE_TENSORS)
        return fail(g, SD_E_UNSUPPORTED, "expected at most %d tensors, found %" PRIu32, SD_PICKLE_TENSORS,
                    tensors_in(root));
    f->left_out = tensors_in(object) - tensors_in(root);
    f->tensors = sd_arena_array(&f->arena, tensors_in(root), sizeof *f->tensors);
    if (!f->tensors || !f->root || !sd_pickle_gather_metadata(f, g->path, object, 0))
        return no_memory(g);
    return give_tensors(g, root, 0) && sort_names(g);
}

sd_status sd_pickle_gather(sd_pickle *file, const char *label, const sd_pickle_value *object,
                           uint64_t pickle_size, uint64_t file_size, sd_error *err) {
    gathering g = {.file = file, .label = label, .copies = file_size, .err = err};
    gather(&g, object, pickle_size);
    return g.status;
}
