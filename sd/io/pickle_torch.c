/* Storages and tensors as the pickle describes them. Whether the file holds what they claim is checked when
 * the tensors are gathered, because only then they have names. */
#include "sd/io/pickle_internal.h"

#include "sd/base/checked.h"

#include <inttypes.h>
#include <string.h>

enum { longest_key = 120 };

/* A whole number from 0 to 2^63 - 1. */
static bool is_size(const sd_pickle_value *value) {
    return value->kind == SD_PICKLE_INT && value->as.integer >= 0;
}

/* ('storage', type, key, device, elements), in the older form with a sixth item, which names a part of a
 * storage and is None since PyTorch 0.4. */
bool sd_unpickle_storage(sd_unpickler *u, const sd_pickle_value *id, sd_pickle_value *out) {
    if (id->kind != SD_PICKLE_TUPLE || id->as.items->count < 5 || id->as.items->count > 6)
        return sd_unpickle_fail(u, SD_E_FORMAT, "BINPERSID: expected a storage, found %s",
                                sd_pickle_kind_name(id->kind));
    const sd_pickle_value *item = id->as.items->list;
    if (item[0].kind != SD_PICKLE_TEXT || strcmp(item[0].as.text, "storage") != 0)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED,
                                "BINPERSID: expected a storage, found another kind of object");
    if (item[1].kind != SD_PICKLE_GLOBAL || item[1].as.global->role != SD_PICKLE_STORAGE_TYPE)
        return sd_unpickle_expected(u, "a storage", 2, "a type of storage", &item[1]);
    if (item[2].kind != SD_PICKLE_TEXT || item[2].size > longest_key)
        return sd_unpickle_expected(u, "a storage", 3, "a short key", &item[2]);
    if (!is_size(&item[4]))
        return sd_unpickle_expected(u, "a storage", 5, "its number of elements", &item[4]);
    if (id->as.items->count == 6 && item[5].kind != SD_PICKLE_NONE)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "storage '%s' is a part of another one",
                                sd_show_name(item[2].as.text).text);
    sd_pickle_storage *made = sd_arena_alloc(u->values, sizeof *made);
    if (!made)
        return sd_unpickle_no_memory(u);
    *made = (sd_pickle_storage){.key = item[2].as.text,
                                .dtype = item[1].as.global->dtype,
                                .count = (uint64_t)item[4].as.integer,
                                .at = u->op,
                                .next = u->storages};
    u->storages = made;
    *out = (sd_pickle_value){.kind = SD_PICKLE_STORAGE, .as.storage = made};
    return true;
}

bool sd_unpickle_numbers(sd_unpickler *u, const char *function, size_t argument, const sd_pickle_value *value,
                         uint64_t numbers[SD_FILE_RANK], uint32_t *rank) {
    if (value->kind != SD_PICKLE_TUPLE)
        return sd_unpickle_expected(u, function, argument, "a tuple of whole numbers", value);
    const sd_pickle_items *items = value->as.items;
    if (items->count > SD_FILE_RANK)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED,
                                "argument %zu of %s: expected at most %d dimensions, found %" PRIu32,
                                argument, function, SD_FILE_RANK, items->count);
    for (uint32_t i = 0; i < items->count; i++) {
        if (!is_size(&items->list[i]))
            return items->list[i].kind == SD_PICKLE_INT
                       ? sd_unpickle_fail(u, SD_E_FORMAT,
                                          "argument %zu of %s: expected no negative number, found %" PRId64,
                                          argument, function, items->list[i].as.integer)
                       : sd_unpickle_expected(u, function, argument, "whole numbers below 2^63",
                                              &items->list[i]);
        numbers[i] = (uint64_t)items->list[i].as.integer;
    }
    *rank = items->count;
    return true;
}

/* (storage, offset, shape, strides, ...): the arguments that all versions begin with. */
static bool tensor(sd_unpickler *u, const char *name, const sd_pickle_value *args, sd_pickle_value *out) {
    uint32_t strides;
    sd_pickle_view *view = sd_arena_alloc(u->values, sizeof *view);
    if (!view)
        return sd_unpickle_no_memory(u);
    if (args[0].kind != SD_PICKLE_STORAGE)
        return sd_unpickle_expected(u, name, 1, "a storage", &args[0]);
    if (!is_size(&args[1]))
        return sd_unpickle_expected(u, name, 2, "an offset from 0 to 2^63-1", &args[1]);
    view->storage = args[0].as.storage;
    view->dtype = view->storage->dtype;
    view->offset = (uint64_t)args[1].as.integer;
    if (!sd_unpickle_numbers(u, name, 3, &args[2], view->shape, &view->rank) ||
        !sd_unpickle_numbers(u, name, 4, &args[3], view->stride, &strides))
        return false;
    if (strides != view->rank)
        return sd_unpickle_fail(u, SD_E_FORMAT,
                                "%s: a shape of %" PRIu32 " dimensions with %" PRIu32 " strides", name,
                                view->rank, strides);
    *out = (sd_pickle_value){.kind = SD_PICKLE_TENSOR, .as.view = view};
    return true;
}

/* The last argument says how the numbers differ from what is stored (negated, conjugated). */
static bool no_metadata(sd_unpickler *u, const char *name, const sd_pickle_value *metadata) {
    if (metadata->kind == SD_PICKLE_NONE ||
        (metadata->kind == SD_PICKLE_DICT && metadata->as.items->count == 0))
        return true;
    return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "%s: a tensor that is stored negated or conjugated", name);
}

bool sd_torch_tensor(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    static const char name[] = "_rebuild_tensor";
    return sd_unpickle_arguments(u, name, 4, 4, count) && tensor(u, name, args, out);
}

bool sd_torch_tensor_v2(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    static const char name[] = "_rebuild_tensor_v2";
    return sd_unpickle_arguments(u, name, 6, 7, count) && tensor(u, name, args, out) &&
           (count < 7 || no_metadata(u, name, &args[6]));
}

/* For the element types that have no storage type of their own. */
bool sd_torch_tensor_v3(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    static const char name[] = "_rebuild_tensor_v3";
    if (!sd_unpickle_arguments(u, name, 7, 8, count))
        return false;
    if (args[6].kind != SD_PICKLE_GLOBAL || args[6].as.global->role != SD_PICKLE_ELEMENT_TYPE)
        return sd_unpickle_expected(u, name, 7, "an element type", &args[6]);
    if (!tensor(u, name, args, out) || (count == 8 && !no_metadata(u, name, &args[7])))
        return false;
    out->as.view->dtype = args[6].as.global->dtype;
    return true;
}
