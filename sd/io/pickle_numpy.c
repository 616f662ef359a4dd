/* What numpy leaves in checkpoints: single numbers in a trainer's state, and arrays where a tensor came from
 * a device that PyTorch could not write. */
#include "sd/io/pickle_internal.h"

#include "sd/base/checked.h"
#include "sd/base/half.h"

#include <inttypes.h>
#include <string.h>

/* numpy's dtype('f4', align, copy); its byte order comes with its state. */
bool sd_numpy_dtype(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    static const struct {
        const char *name;
        sd_file_dtype dtype;
    } types[] = {
        {"f8", SD_FILE_F64}, {"f4", SD_FILE_F32}, {"f2", SD_FILE_F16}, {"i8", SD_FILE_I64},
        {"i4", SD_FILE_I32}, {"i2", SD_FILE_I16}, {"i1", SD_FILE_I8},  {"u8", SD_FILE_U64},
        {"u4", SD_FILE_U32}, {"u2", SD_FILE_U16}, {"u1", SD_FILE_U8},  {"b1", SD_FILE_BOOL},
    };
    if (!sd_unpickle_arguments(u, "dtype", 1, 3, count))
        return false;
    if (args[0].kind != SD_PICKLE_TEXT)
        return sd_unpickle_expected(u, "dtype", 1, "a string", &args[0]);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(args[0].as.text, types[i].name) == 0) {
            *out = (sd_pickle_value){.kind = SD_PICKLE_NUMPY_DTYPE, .as.dtype = types[i].dtype};
            return true;
        }
    return sd_unpickle_fail(u, SD_E_UNSUPPORTED,
                            "dtype: expected numbers (f4, i8 and so on), found another type");
}

/* (version, byte order, ...). */
bool sd_numpy_build_dtype(sd_unpickler *u, const sd_pickle_value *state) {
    const sd_pickle_items *items = state->kind == SD_PICKLE_TUPLE ? state->as.items : NULL;
    if (!items || items->count < 2 || items->list[1].kind != SD_PICKLE_TEXT)
        return sd_unpickle_fail(u, SD_E_FORMAT, "dtype: expected a tuple with its byte order, found %s",
                                sd_pickle_kind_name(state->kind));
    const char *order = items->list[1].as.text;
    return strcmp(order, "<") == 0 || strcmp(order, "|") == 0 ||
           sd_unpickle_fail(u, SD_E_UNSUPPORTED,
                            "dtype: expected little-endian numbers, found another order");
}

/* Bytes as numpy writes them; a string where Python 2 did. NULL and an error for others. */
static const uint8_t *raw_bytes(sd_unpickler *u, const char *function, size_t argument,
                                const sd_pickle_value *value, uint64_t wanted) {
    if (value->kind != SD_PICKLE_TEXT && value->kind != SD_PICKLE_BINARY)
        sd_unpickle_expected(u, function, argument, "bytes", value);
    else if (value->size != wanted)
        sd_unpickle_fail(u, SD_E_FORMAT, "%s: expected %" PRIu64 " bytes, found %" PRIu32, function, wanted,
                         value->size);
    else
        return value->as.bytes;
    return NULL;
}

static sd_pickle_value integer(sd_file_dtype dtype, const uint8_t *bytes) {
    unsigned width = sd_file_dtype_bits(dtype) / 8;
    uint64_t value = sd_little_endian(bytes, width);
    bool is_signed =
        dtype == SD_FILE_I64 || dtype == SD_FILE_I32 || dtype == SD_FILE_I16 || dtype == SD_FILE_I8;
    if (!is_signed && value > INT64_MAX)
        return (sd_pickle_value){.kind = SD_PICKLE_LONG, .size = width, .as.bytes = bytes};
    if (is_signed && width < 8 && value >> (8 * width - 1))
        value |= UINT64_MAX << 8 * width;
    return (sd_pickle_value){.kind = SD_PICKLE_INT, .as.integer = (int64_t)value};
}

/* scalar(dtype, bytes). */
bool sd_numpy_scalar(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    if (!sd_unpickle_arguments(u, "scalar", 2, 2, count))
        return false;
    if (args[0].kind != SD_PICKLE_NUMPY_DTYPE)
        return sd_unpickle_expected(u, "scalar", 1, "a numpy dtype", &args[0]);
    sd_file_dtype dtype = args[0].as.dtype;
    const uint8_t *bytes = raw_bytes(u, "scalar", 2, &args[1], sd_file_dtype_bits(dtype) / 8);
    float single;
    if (!bytes)
        return false;
    *out = (sd_pickle_value){.kind = SD_PICKLE_FLOAT};
    switch (dtype) {
    case SD_FILE_F64:
        memcpy(&out->as.number, bytes, 8);
        return true;
    case SD_FILE_F32:
        memcpy(&single, bytes, 4);
        out->as.number = single;
        return true;
    case SD_FILE_F16:
        out->as.number = sd_f32_from_f16((uint16_t)sd_little_endian(bytes, 2));
        return true;
    case SD_FILE_BOOL:
        *out = (sd_pickle_value){.kind = SD_PICKLE_BOOL, .as.integer = bytes[0] != 0};
        return true;
    default:
        *out = integer(dtype, bytes);
        return true;
    }
}

/* _reconstruct(ndarray, (0,), b'b'): an array that gets its shape and numbers as its state. */
bool sd_numpy_reconstruct(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    if (!sd_unpickle_arguments(u, "_reconstruct", 3, 3, count))
        return false;
    if (args[0].kind != SD_PICKLE_GLOBAL || strcmp(args[0].as.global->name, "ndarray") != 0)
        return sd_unpickle_expected(u, "_reconstruct", 1, "numpy's ndarray", &args[0]);
    sd_pickle_view *view = sd_arena_alloc(u->values, sizeof *view);
    if (!view)
        return sd_unpickle_no_memory(u);
    view->array = true;
    view->rank = 1;
    *out = (sd_pickle_value){.kind = SD_PICKLE_TENSOR, .as.view = view};
    return true;
}

/* Strides of an array without gaps; the first dimension varies fastest when `fortran`. The shape has a size.
 */
static void pack(sd_pickle_view *view, bool fortran) {
    uint64_t stride = 1;
    for (uint32_t i = 0; i < view->rank; i++) {
        uint32_t d = fortran ? i : view->rank - 1 - i;
        view->stride[d] = stride;
        stride *= view->shape[d];
    }
}

/* (version, shape, dtype, Fortran order, bytes). */
bool sd_numpy_build_array(sd_unpickler *u, sd_pickle_view *array, const sd_pickle_value *state) {
    const sd_pickle_items *items = state->kind == SD_PICKLE_TUPLE ? state->as.items : NULL;
    uint64_t bytes;
    if (!array->array)
        return sd_unpickle_fail(u, SD_E_FORMAT, "BUILD: expected an object, found a tensor");
    if (!items || items->count != 5)
        return sd_unpickle_fail(u, SD_E_FORMAT, "ndarray: expected a state of 5 items, found %s",
                                sd_pickle_kind_name(state->kind));
    if (items->list[2].kind != SD_PICKLE_NUMPY_DTYPE)
        return sd_unpickle_expected(u, "ndarray", 3, "a numpy dtype", &items->list[2]);
    if (items->list[3].kind != SD_PICKLE_BOOL)
        return sd_unpickle_expected(u, "ndarray", 4, "a bool", &items->list[3]);
    if (!sd_unpickle_numbers(u, "ndarray", 2, &items->list[1], array->shape, &array->rank))
        return false;
    array->dtype = items->list[2].as.dtype;
    if (!sd_file_tensor_size(array->dtype, array->rank, array->shape, &bytes))
        return sd_unpickle_fail(u, SD_E_FORMAT, "ndarray: a shape whose size is 2^61 bytes or more");
    const uint8_t *data = raw_bytes(u, "ndarray", 5, &items->list[4], bytes);
    sd_pickle_storage *storage = data ? sd_arena_alloc(u->values, sizeof *storage) : NULL;
    if (!storage)
        return data ? sd_unpickle_no_memory(u) : false;
    *storage = (sd_pickle_storage){.key = "numpy", .dtype = array->dtype, .data = data, .bytes = bytes};
    array->storage = storage;
    pack(array, items->list[3].as.integer);
    return true;
}
