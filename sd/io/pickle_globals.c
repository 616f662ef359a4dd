/* The names that a pickle may use, and what a call of them gives here. Nothing else can be named. */
#include "sd/io/pickle_internal.h"

#include <string.h>

bool sd_unpickle_expected(sd_unpickler *u, const char *function, size_t argument, const char *what,
                          const sd_pickle_value *found) {
    return sd_unpickle_fail(u, SD_E_FORMAT, "argument %zu of %s: expected %s, found %s", argument, function,
                            what, sd_pickle_kind_name(found->kind));
}

bool sd_unpickle_arguments(sd_unpickler *u, const char *function, size_t least, size_t most, size_t found) {
    if (found >= least && found <= most)
        return true;
    return least == most ? sd_unpickle_fail(u, SD_E_FORMAT, "%s: expected %zu arguments, found %zu", function,
                                            least, found)
                         : sd_unpickle_fail(u, SD_E_FORMAT, "%s: expected %zu to %zu arguments, found %zu",
                                            function, least, most, found);
}

/* A dict; of a list of pairs, as Python 2 gives it. */
static bool call_dict(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    if (!sd_unpickle_arguments(u, "OrderedDict", 0, 1, count) ||
        !sd_unpickle_items(u, SD_PICKLE_DICT, NULL, 0, out))
        return false;
    if (count == 0)
        return true;
    if (args[0].kind != SD_PICKLE_LIST)
        return sd_unpickle_expected(u, "OrderedDict", 1, "a list of pairs", &args[0]);
    const sd_pickle_items *pairs = args[0].as.items;
    if (!sd_unpickle_charge(u, pairs->count))
        return false;
    for (uint32_t i = 0; i < pairs->count; i++) {
        const sd_pickle_value *pair = &pairs->list[i];
        if ((pair->kind != SD_PICKLE_LIST && pair->kind != SD_PICKLE_TUPLE) || pair->as.items->count != 2)
            return sd_unpickle_expected(u, "OrderedDict", 1, "a list of pairs", pair);
        if (!sd_unpickle_append(u, out->as.items, pair->as.items->list, 2))
            return false;
    }
    return true;
}

/* Its argument makes members that do not exist yet, which means nothing here. */
static bool call_defaultdict(sd_unpickler *u, const sd_pickle_value *args, size_t count,
                             sd_pickle_value *out) {
    (void)args;
    return sd_unpickle_arguments(u, "defaultdict", 0, 1, count) &&
           sd_unpickle_items(u, SD_PICKLE_DICT, NULL, 0, out);
}

/* Types whose call gives the first argument. */
static bool call_same(sd_unpickler *u, const char *function, sd_pickle_kind kind, const sd_pickle_value *args,
                      size_t count, sd_pickle_value *out) {
    if (!sd_unpickle_arguments(u, function, 1, 4, count))
        return false;
    if (args[0].kind != kind)
        return sd_unpickle_expected(u, function, 1, sd_pickle_kind_name(kind), &args[0]);
    *out = args[0];
    return true;
}

static bool call_counter(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    return call_same(u, "Counter", SD_PICKLE_DICT, args, count, out);
}

static bool call_set(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    return call_same(u, "set", SD_PICKLE_LIST, args, count, out);
}

static bool call_size(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    return call_same(u, "Size", SD_PICKLE_TUPLE, args, count, out);
}

static bool call_device(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    return call_same(u, "device", SD_PICKLE_TEXT, args, count, out);
}

static bool call_parameter(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    return call_same(u, "_rebuild_parameter", SD_PICKLE_TENSOR, args, count, out);
}

/* How protocol 2 writes bytes: as a string of the characters U+0000 to U+00FF. */
static bool call_encode(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    if (!sd_unpickle_arguments(u, "encode", 2, 2, count))
        return false;
    if (args[0].kind != SD_PICKLE_TEXT && args[0].kind != SD_PICKLE_BINARY)
        return sd_unpickle_expected(u, "encode", 1, "a string", &args[0]);
    if (args[1].kind != SD_PICKLE_TEXT || strcmp(args[1].as.text, "latin1") != 0)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "encode: expected latin1, found another encoding");
    if (!sd_unpickle_charge(u, args[0].size))
        return false;
    const uint8_t *text = args[0].as.bytes;
    uint8_t *bytes = sd_arena_alloc(u->kept, args[0].size);
    uint32_t used = 0, size = args[0].size;
    if (!bytes)
        return sd_unpickle_no_memory(u);
    for (uint32_t i = 0; i < size; i++) {
        bool wide = (text[i] | 1) == 0xC3 && i + 1 < size && (text[i + 1] & 0xC0) == 0x80;
        if (text[i] >= 0x80 && !wide)
            return sd_unpickle_fail(u, SD_E_FORMAT, "encode: the string has a character that is not Latin-1");
        bytes[used++] = wide ? (uint8_t)(text[i] << 6 | (text[i + 1] & 0x3F)) : text[i];
        i += wide;
    }
    *out = (sd_pickle_value){.kind = SD_PICKLE_BINARY, .size = used, .as.bytes = bytes};
    return true;
}

/* A tensor that an attribute or a subclass came with; both are dropped. */
static bool call_from_type(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out) {
    if (!sd_unpickle_arguments(u, "_rebuild_from_type_v2", 4, 4, count))
        return false;
    if (args[0].kind != SD_PICKLE_GLOBAL || args[0].as.global->call == call_from_type)
        return sd_unpickle_expected(u, "_rebuild_from_type_v2", 1, "another function", &args[0]);
    return sd_unpickle_call(u, &args[0], &args[2], out);
}

/* A tensor of another device: the first argument, in the element type that is the second. */
static bool call_device_tensor(sd_unpickler *u, const sd_pickle_value *args, size_t count,
                               sd_pickle_value *out) {
    static const char name[] = "_rebuild_device_tensor";
    if (!sd_unpickle_arguments(u, name, 4, 4, count))
        return false;
    if (args[0].kind != SD_PICKLE_TENSOR)
        return sd_unpickle_expected(u, name, 1, "a tensor", &args[0]);
    if (args[1].kind != SD_PICKLE_GLOBAL || args[1].as.global->role != SD_PICKLE_ELEMENT_TYPE)
        return sd_unpickle_expected(u, name, 2, "an element type", &args[1]);
    if (args[1].as.global->dtype != args[0].as.view->dtype)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "%s: expected %s as the array has it, found %s", name,
                                sd_file_dtype_name(args[0].as.view->dtype),
                                sd_file_dtype_name(args[1].as.global->dtype));
    *out = args[0];
    return true;
}

#define NAME(module, name)                                                                                   \
    { module, name, SD_PICKLE_PLAIN, SD_FILE_DTYPES, SD_PICKLE_NONE, NULL }
#define CALL(module, name, function)                                                                         \
    { module, name, SD_PICKLE_PLAIN, SD_FILE_DTYPES, SD_PICKLE_NONE, function }
#define CREATE(module, name, kind)                                                                           \
    { module, name, SD_PICKLE_PLAIN, SD_FILE_DTYPES, kind, NULL }
#define STORAGE(module, name, dtype)                                                                         \
    { module, name, SD_PICKLE_STORAGE_TYPE, dtype, SD_PICKLE_NONE, NULL }
#define ELEMENT(name, dtype)                                                                                 \
    { "torch", name, SD_PICKLE_ELEMENT_TYPE, dtype, SD_PICKLE_NONE, NULL }

static const sd_pickle_global globals[] = {
    CALL("collections", "OrderedDict", call_dict),
    CALL("collections", "defaultdict", call_defaultdict),
    CALL("collections", "Counter", call_counter),
    CALL("__builtin__", "set", call_set),
    CALL("builtins", "set", call_set),
    CALL("__builtin__", "frozenset", call_set),
    CALL("builtins", "frozenset", call_set),
    NAME("__builtin__", "dict"),
    NAME("builtins", "dict"),
    CALL("_codecs", "encode", call_encode),

    CALL("torch._utils", "_rebuild_tensor", sd_torch_tensor),
    CALL("torch._utils", "_rebuild_tensor_v2", sd_torch_tensor_v2),
    CALL("torch._utils", "_rebuild_tensor_v3", sd_torch_tensor_v3),
    CALL("torch._utils", "_rebuild_parameter", call_parameter),
    CALL("torch._utils", "_rebuild_parameter_with_state", call_parameter),
    CALL("torch._utils", "_rebuild_device_tensor_from_numpy", call_device_tensor),
    CALL("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", call_device_tensor),
    CALL("torch._tensor", "_rebuild_from_type_v2", call_from_type),
    NAME("torch", "Tensor"),
    NAME("torch.nn.parameter", "Parameter"),
    CREATE("torch.nn.modules.container", "ParameterDict", SD_PICKLE_PARAMETERS),
    CALL("torch", "Size", call_size),
    CALL("torch", "device", call_device),

    STORAGE("torch", "DoubleStorage", SD_FILE_F64),
    STORAGE("torch", "FloatStorage", SD_FILE_F32),
    STORAGE("torch", "HalfStorage", SD_FILE_F16),
    STORAGE("torch", "BFloat16Storage", SD_FILE_BF16),
    STORAGE("torch", "ComplexFloatStorage", SD_FILE_C64),
    STORAGE("torch", "LongStorage", SD_FILE_I64),
    STORAGE("torch", "IntStorage", SD_FILE_I32),
    STORAGE("torch", "ShortStorage", SD_FILE_I16),
    STORAGE("torch", "CharStorage", SD_FILE_I8),
    STORAGE("torch", "ByteStorage", SD_FILE_U8),
    STORAGE("torch", "BoolStorage", SD_FILE_BOOL),
    STORAGE("torch", "UntypedStorage", SD_FILE_U8),
    STORAGE("torch.storage", "UntypedStorage", SD_FILE_U8),

    ELEMENT("float64", SD_FILE_F64),
    ELEMENT("float32", SD_FILE_F32),
    ELEMENT("float16", SD_FILE_F16),
    ELEMENT("bfloat16", SD_FILE_BF16),
    ELEMENT("float8_e4m3fn", SD_FILE_F8_E4M3),
    ELEMENT("float8_e5m2", SD_FILE_F8_E5M2),
    ELEMENT("float8_e8m0fnu", SD_FILE_F8_E8M0),
    ELEMENT("float8_e4m3fnuz", SD_FILE_F8_E4M3FNUZ),
    ELEMENT("float8_e5m2fnuz", SD_FILE_F8_E5M2FNUZ),
    ELEMENT("complex64", SD_FILE_C64),
    ELEMENT("int64", SD_FILE_I64),
    ELEMENT("int32", SD_FILE_I32),
    ELEMENT("int16", SD_FILE_I16),
    ELEMENT("int8", SD_FILE_I8),
    ELEMENT("uint64", SD_FILE_U64),
    ELEMENT("uint32", SD_FILE_U32),
    ELEMENT("uint16", SD_FILE_U16),
    ELEMENT("uint8", SD_FILE_U8),
    ELEMENT("bool", SD_FILE_BOOL),

    CALL("numpy", "dtype", sd_numpy_dtype),
    NAME("numpy", "ndarray"),
    CALL("numpy.core.multiarray", "scalar", sd_numpy_scalar),
    CALL("numpy._core.multiarray", "scalar", sd_numpy_scalar),
    CALL("numpy.core.multiarray", "_reconstruct", sd_numpy_reconstruct),
    CALL("numpy._core.multiarray", "_reconstruct", sd_numpy_reconstruct),

    /* What the trainers of old checkpoints left in them. */
    CREATE("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", SD_PICKLE_INERT),
    CREATE("pytorch_lightning.callbacks.early_stopping", "EarlyStopping", SD_PICKLE_INERT),
    CREATE("pytorch_lightning.utilities.parsing", "AttributeDict", SD_PICKLE_DICT),
    CREATE("argparse", "Namespace", SD_PICKLE_INERT),
};

const sd_pickle_global *sd_pickle_find_global(const char *module, size_t module_size, const char *name,
                                              size_t name_size) {
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        const sd_pickle_global *g = &globals[i];
        if (strlen(g->module) == module_size && strlen(g->name) == name_size &&
            memcmp(g->module, module, module_size) == 0 && memcmp(g->name, name, name_size) == 0)
            return g;
    }
    return NULL;
}

bool sd_unpickle_call(sd_unpickler *u, const sd_pickle_value *function, const sd_pickle_value *args,
                      sd_pickle_value *out) {
    if (function->kind != SD_PICKLE_GLOBAL)
        return sd_unpickle_fail(u, SD_E_FORMAT, "wants to call %s; only tensors are read",
                                sd_pickle_kind_name(function->kind));
    const sd_pickle_global *g = function->as.global;
    if (!g->call)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "wants to call %s.%s; only tensors are read", g->module,
                                g->name);
    if (args->kind != SD_PICKLE_TUPLE)
        return sd_unpickle_fail(u, SD_E_FORMAT, "a call of %s: expected a tuple of arguments, found %s",
                                g->name, sd_pickle_kind_name(args->kind));
    return g->call(u, args->as.items->list, args->as.items->count, out);
}

bool sd_unpickle_create(sd_unpickler *u, const sd_pickle_value *type, sd_pickle_value *out) {
    if (type->kind != SD_PICKLE_GLOBAL)
        return sd_unpickle_fail(u, SD_E_FORMAT, "NEWOBJ: expected a name, found %s",
                                sd_pickle_kind_name(type->kind));
    const sd_pickle_global *g = type->as.global;
    if (g->makes == SD_PICKLE_NONE)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "wants to create a %s.%s; only tensors are read",
                                g->module, g->name);
    if (g->makes == SD_PICKLE_PARAMETERS)
        return sd_unpickle_items(u, g->makes, &(sd_pickle_value){.kind = SD_PICKLE_NONE}, 1, out);
    if (g->makes == SD_PICKLE_DICT)
        return sd_unpickle_items(u, g->makes, NULL, 0, out);
    *out = (sd_pickle_value){.kind = SD_PICKLE_INERT};
    return true;
}

/* Of all that a module's state says only the parameters count. */
static bool build_parameters(sd_unpickler *u, sd_pickle_items *object, const sd_pickle_value *state) {
    if (state->kind != SD_PICKLE_DICT)
        return sd_unpickle_fail(u, SD_E_FORMAT, "ParameterDict: expected a dict as its state, found %s",
                                sd_pickle_kind_name(state->kind));
    const sd_pickle_value *members = sd_pickle_member(state, "_parameters");
    if (members)
        object->list[0] = *members;
    return sd_unpickle_charge(u, state->as.items->count);
}

bool sd_unpickle_build(sd_unpickler *u, const sd_pickle_value *object, const sd_pickle_value *state) {
    switch (object->kind) {
    case SD_PICKLE_PARAMETERS:
        return build_parameters(u, object->as.items, state);
    case SD_PICKLE_NUMPY_DTYPE:
        return sd_numpy_build_dtype(u, state);
    case SD_PICKLE_TENSOR:
        return sd_numpy_build_array(u, object->as.view, state);
    case SD_PICKLE_DICT: /* a state dict's _metadata: the versions of its modules */
    case SD_PICKLE_INERT:
        return true;
    default:
        return sd_unpickle_fail(u, SD_E_FORMAT, "BUILD: expected an object, found %s",
                                sd_pickle_kind_name(object->kind));
    }
}
