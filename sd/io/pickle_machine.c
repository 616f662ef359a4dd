/* The opcodes. Each costs at least one byte of the file and makes at most one value, so that a pickle of n
 * bytes never holds more than n values. */
#include "sd/io/pickle_internal.h"

#include "sd/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next `count` bytes, NULL when the pickle ends before. */
static const uint8_t *take(sd_unpickler *u, uint64_t count) {
    if (count > u->size - u->at) {
        if (u->clipped)
            sd_unpickle_fail(u, SD_E_UNSUPPORTED, "expected a pickle of at most %d bytes", SD_PICKLE_BYTES);
        else
            sd_unpickle_fail(u, SD_E_FORMAT, "%s needs %" PRIu64 " bytes, the pickle ends after %zu", u->name,
                             count, u->size - u->at);
        return NULL;
    }
    const uint8_t *bytes = u->data + u->at;
    u->at += (size_t)count;
    return bytes;
}

static bool take_number(sd_unpickler *u, unsigned width, uint64_t *out) {
    const uint8_t *bytes = take(u, width);
    *out = bytes ? sd_little_endian(bytes, width) : 0;
    return bytes != NULL;
}

static bool push_integer(sd_unpickler *u, sd_pickle_kind kind, int64_t value) {
    return sd_unpickle_push(u, (sd_pickle_value){.kind = kind, .as.integer = value});
}

/* What `n` of the functions below means stands in the table of opcodes: bytes, values or a constant. */
static bool run_proto(sd_unpickler *u, unsigned n) {
    uint64_t version;
    if (!take_number(u, n, &version))
        return false;
    return (version >= 2 && version <= 5) ||
           sd_unpickle_fail(u, SD_E_UNSUPPORTED, "expected a pickle of protocol 2 to 5, found %" PRIu64,
                            version);
}

/* Frames only say how far to read ahead. */
static bool run_frame(sd_unpickler *u, unsigned n) {
    uint64_t length;
    if (!take_number(u, n, &length))
        return false;
    return u->clipped || length <= u->size - u->at ||
           sd_unpickle_fail(u, SD_E_FORMAT, "FRAME needs %" PRIu64 " bytes, the pickle ends after %zu",
                            length, u->size - u->at);
}

static bool run_mark(sd_unpickler *u, unsigned n) {
    (void)n;
    return sd_unpickle_push(u, (sd_pickle_value){.kind = SD_PICKLE_MARK});
}

/* Of a mark too, as in Python. */
static bool run_pop(sd_unpickler *u, unsigned n) {
    if (u->depth && u->stack[u->depth - 1].kind == SD_PICKLE_MARK) {
        u->depth--;
        return true;
    }
    return sd_unpickle_pop(u, n) != NULL;
}

static bool run_pop_mark(sd_unpickler *u, unsigned n) {
    size_t count;
    (void)n;
    return sd_unpickle_pop_mark(u, &count) != NULL;
}

static bool run_none(sd_unpickler *u, unsigned n) {
    return push_integer(u, SD_PICKLE_NONE, n);
}

static bool run_bool(sd_unpickler *u, unsigned n) {
    return push_integer(u, SD_PICKLE_BOOL, n);
}

static bool run_unsigned(sd_unpickler *u, unsigned n) {
    uint64_t value;
    return take_number(u, n, &value) && push_integer(u, SD_PICKLE_INT, (int64_t)value);
}

static bool run_signed(sd_unpickler *u, unsigned n) {
    uint64_t value;
    return take_number(u, n, &value) && push_integer(u, SD_PICKLE_INT, (int32_t)(uint32_t)value);
}

/* Two's complement behind its width. */
static bool run_long(sd_unpickler *u, unsigned n) {
    uint64_t width;
    const uint8_t *bytes = take_number(u, n, &width) ? take(u, width) : NULL;
    if (!bytes)
        return false;
    if (width > 8)
        return sd_unpickle_push(
            u, (sd_pickle_value){.kind = SD_PICKLE_LONG, .size = (uint32_t)width, .as.bytes = bytes});
    uint64_t value = sd_little_endian(bytes, (unsigned)width);
    if (width > 0 && width < 8 && bytes[width - 1] & 0x80)
        value |= UINT64_MAX << 8 * width;
    return push_integer(u, SD_PICKLE_INT, (int64_t)value);
}

/* Big-endian, unlike everything else. */
static bool run_float(sd_unpickler *u, unsigned n) {
    const uint8_t *bytes = take(u, n);
    sd_pickle_value value = {.kind = SD_PICKLE_FLOAT};
    uint64_t bits = 0;
    if (!bytes)
        return false;
    for (unsigned i = 0; i < n; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&value.as.number, &bits, sizeof bits);
    return sd_unpickle_push(u, value);
}

static bool run_text(sd_unpickler *u, unsigned n) {
    uint64_t size;
    const uint8_t *bytes = take_number(u, n, &size) ? take(u, size) : NULL;
    if (!bytes)
        return false;
    char *text = sd_arena_alloc(u->kept, (size_t)size + 1);
    if (!text)
        return sd_unpickle_no_memory(u);
    memcpy(text, bytes, (size_t)size);
    bool clean = !memchr(text, 0, (size_t)size) && sd_utf8_valid(text, (size_t)size);
    return sd_unpickle_push(u, (sd_pickle_value){.kind = clean ? SD_PICKLE_TEXT : SD_PICKLE_BINARY,
                                                 .size = (uint32_t)size,
                                                 .as.text = text});
}

static bool run_bytes(sd_unpickler *u, unsigned n) {
    uint64_t size;
    const uint8_t *bytes = take_number(u, n, &size) ? take(u, size) : NULL;
    return bytes &&
           sd_unpickle_push(
               u, (sd_pickle_value){.kind = SD_PICKLE_BINARY, .size = (uint32_t)size, .as.bytes = bytes});
}

static bool push_items(sd_unpickler *u, sd_pickle_kind kind, const sd_pickle_value *items, size_t count) {
    sd_pickle_value made;
    return sd_unpickle_items(u, kind, items, count, &made) && sd_unpickle_push(u, made);
}

static bool run_empty(sd_unpickler *u, unsigned n) {
    return push_items(u, (sd_pickle_kind)n, NULL, 0);
}

static bool run_small_tuple(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *items = sd_unpickle_pop(u, n);
    return items && push_items(u, SD_PICKLE_TUPLE, items, n);
}

static bool run_marked(sd_unpickler *u, unsigned n) {
    size_t count;
    const sd_pickle_value *items = sd_unpickle_pop_mark(u, &count);
    return items && push_items(u, (sd_pickle_kind)n, items, count);
}

/* Adds to the list or dict below. */
static bool append(sd_unpickler *u, sd_pickle_kind kind, const sd_pickle_value *items, size_t count) {
    const sd_pickle_value *to = u->depth ? &u->stack[u->depth - 1] : NULL;
    if (!to || to->kind != kind)
        return sd_unpickle_fail(u, SD_E_FORMAT, "%s: expected %s, found %s", u->name,
                                sd_pickle_kind_name(kind),
                                to ? sd_pickle_kind_name(to->kind) : "an empty stack");
    return sd_unpickle_append(u, to->as.items, items, count);
}

static bool run_append(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *items = sd_unpickle_pop(u, n);
    return items && append(u, SD_PICKLE_LIST, items, n);
}

static bool run_appends(sd_unpickler *u, unsigned n) {
    size_t count;
    const sd_pickle_value *items = sd_unpickle_pop_mark(u, &count);
    (void)n;
    return items && append(u, SD_PICKLE_LIST, items, count);
}

static bool run_setitem(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *items = sd_unpickle_pop(u, n);
    return items && append(u, SD_PICKLE_DICT, items, n);
}

static bool run_setitems(sd_unpickler *u, unsigned n) {
    size_t count;
    const sd_pickle_value *items = sd_unpickle_pop_mark(u, &count);
    if (items && count % n)
        return sd_unpickle_fail(u, SD_E_FORMAT, "SETITEMS: expected keys and values, found %zu values",
                                count);
    return items && append(u, SD_PICKLE_DICT, items, count);
}

static bool push_global(sd_unpickler *u, const char *module, size_t module_size, const char *name,
                        size_t name_size) {
    const sd_pickle_global *found = sd_pickle_find_global(module, module_size, name, name_size);
    if (found)
        return sd_unpickle_push(u, (sd_pickle_value){.kind = SD_PICKLE_GLOBAL, .as.global = found});
    sd_str text = {0};
    sd_str_append_bytes(&text, module, module_size);
    sd_str_append(&text, ".");
    sd_str_append_bytes(&text, name, name_size);
    if (text.failed)
        sd_unpickle_no_memory(u);
    else if (!sd_utf8_valid(text.text, text.size))
        sd_unpickle_fail(u, SD_E_FORMAT, "%s: a name that is not well-formed UTF-8", u->name);
    else
        sd_unpickle_fail(u, SD_E_UNSUPPORTED, "wants to call %s; only tensors are read",
                         sd_show_name(text.text).text);
    sd_str_clear(&text);
    return false;
}

/* One line, without its end. */
static const char *take_line(sd_unpickler *u, size_t *size) {
    const char *line = (const char *)u->data + u->at;
    const char *end = memchr(line, '\n', u->size - u->at);
    *size = end ? (size_t)(end - line) : u->size - u->at;
    return take(u, (uint64_t)*size + 1) ? line : NULL;
}

static bool run_global(sd_unpickler *u, unsigned n) {
    size_t module_size, name_size;
    const char *module = take_line(u, &module_size);
    const char *name = module ? take_line(u, &name_size) : NULL;
    (void)n;
    return name && push_global(u, module, module_size, name, name_size);
}

static bool run_stack_global(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *names = sd_unpickle_pop(u, n);
    if (!names)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (names[i].kind != SD_PICKLE_TEXT)
            return sd_unpickle_fail(u, SD_E_FORMAT, "STACK_GLOBAL: expected a string, found %s",
                                    sd_pickle_kind_name(names[i].kind));
    return push_global(u, names[0].as.text, names[0].size, names[1].as.text, names[1].size);
}

static bool run_persistent(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *id = sd_unpickle_pop(u, n);
    sd_pickle_value made;
    return id && sd_unpickle_storage(u, id, &made) && sd_unpickle_push(u, made);
}

static bool run_reduce(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *both = sd_unpickle_pop(u, n);
    sd_pickle_value made;
    return both && sd_unpickle_call(u, &both[0], &both[1], &made) && sd_unpickle_push(u, made);
}

static bool run_newobj(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *both = sd_unpickle_pop(u, n);
    sd_pickle_value made;
    return both && sd_unpickle_create(u, &both[0], &made) && sd_unpickle_push(u, made);
}

/* The object stays on the stack. */
static bool run_build(sd_unpickler *u, unsigned n) {
    const sd_pickle_value *both = sd_unpickle_pop(u, n);
    if (!both)
        return false;
    u->depth++;
    return sd_unpickle_build(u, &both[0], &both[1]);
}

static bool run_put(sd_unpickler *u, unsigned n) {
    uint64_t index;
    return take_number(u, n, &index) && sd_unpickle_put(u, index);
}

static bool run_memoize(sd_unpickler *u, unsigned n) {
    (void)n;
    return sd_unpickle_put(u, u->memo_used);
}

static bool run_get(sd_unpickler *u, unsigned n) {
    uint64_t index;
    return take_number(u, n, &index) && sd_unpickle_get(u, index);
}

static const struct {
    const char *name;
    bool (*run)(sd_unpickler *u, unsigned n); /* NULL: known and refused */
    unsigned n;
} opcodes[256] = {
    ['('] = {"MARK", run_mark, 0},
    [')'] = {"EMPTY_TUPLE", run_empty, SD_PICKLE_TUPLE},
    ['.'] = {"STOP", NULL, 0}, /* sd_unpickle ends at it */
    ['0'] = {"POP", run_pop, 1},
    ['1'] = {"POP_MARK", run_pop_mark, 0},
    ['2'] = {"DUP", NULL, 0},
    ['B'] = {"BINBYTES", run_bytes, 4},
    ['C'] = {"SHORT_BINBYTES", run_bytes, 1},
    ['F'] = {"FLOAT", NULL, 0},
    ['G'] = {"BINFLOAT", run_float, 8},
    ['I'] = {"INT", NULL, 0},
    ['J'] = {"BININT", run_signed, 4},
    ['K'] = {"BININT1", run_unsigned, 1},
    ['L'] = {"LONG", NULL, 0},
    ['M'] = {"BININT2", run_unsigned, 2},
    ['N'] = {"NONE", run_none, 0},
    ['P'] = {"PERSID", NULL, 0},
    ['Q'] = {"BINPERSID", run_persistent, 1},
    ['R'] = {"REDUCE", run_reduce, 2},
    ['S'] = {"STRING", NULL, 0},
    ['T'] = {"BINSTRING", run_text, 4},
    ['U'] = {"SHORT_BINSTRING", run_text, 1},
    ['V'] = {"UNICODE", NULL, 0},
    ['X'] = {"BINUNICODE", run_text, 4},
    [']'] = {"EMPTY_LIST", run_empty, SD_PICKLE_LIST},
    ['a'] = {"APPEND", run_append, 1},
    ['b'] = {"BUILD", run_build, 2},
    ['c'] = {"GLOBAL", run_global, 0},
    ['d'] = {"DICT", NULL, 0},
    ['e'] = {"APPENDS", run_appends, 0},
    ['g'] = {"GET", NULL, 0},
    ['h'] = {"BINGET", run_get, 1},
    ['i'] = {"INST", NULL, 0},
    ['j'] = {"LONG_BINGET", run_get, 4},
    ['l'] = {"LIST", NULL, 0},
    ['o'] = {"OBJ", NULL, 0},
    ['p'] = {"PUT", NULL, 0},
    ['q'] = {"BINPUT", run_put, 1},
    ['r'] = {"LONG_BINPUT", run_put, 4},
    ['s'] = {"SETITEM", run_setitem, 2},
    ['t'] = {"TUPLE", run_marked, SD_PICKLE_TUPLE},
    ['u'] = {"SETITEMS", run_setitems, 2},
    ['}'] = {"EMPTY_DICT", run_empty, SD_PICKLE_DICT},
    [0x80] = {"PROTO", run_proto, 1},
    [0x81] = {"NEWOBJ", run_newobj, 2},
    [0x82] = {"EXT1", NULL, 0},
    [0x83] = {"EXT2", NULL, 0},
    [0x84] = {"EXT4", NULL, 0},
    [0x85] = {"TUPLE1", run_small_tuple, 1},
    [0x86] = {"TUPLE2", run_small_tuple, 2},
    [0x87] = {"TUPLE3", run_small_tuple, 3},
    [0x88] = {"NEWTRUE", run_bool, 1},
    [0x89] = {"NEWFALSE", run_bool, 0},
    [0x8A] = {"LONG1", run_long, 1},
    [0x8B] = {"LONG4", run_long, 4},
    [0x8C] = {"SHORT_BINUNICODE", run_text, 1},
    [0x8D] = {"BINUNICODE8", run_text, 8},
    [0x8E] = {"BINBYTES8", run_bytes, 8},
    [0x8F] = {"EMPTY_SET", run_empty, SD_PICKLE_LIST},
    [0x90] = {"ADDITEMS", run_appends, 0},
    [0x91] = {"FROZENSET", run_marked, SD_PICKLE_LIST},
    [0x92] = {"NEWOBJ_EX", NULL, 0},
    [0x93] = {"STACK_GLOBAL", run_stack_global, 2},
    [0x94] = {"MEMOIZE", run_memoize, 0},
    [0x95] = {"FRAME", run_frame, 8},
    [0x96] = {"BYTEARRAY8", NULL, 0},
    [0x97] = {"NEXT_BUFFER", NULL, 0},
    [0x98] = {"READONLY_BUFFER", NULL, 0},
};

static bool step(sd_unpickler *u, uint8_t code) {
    u->name = opcodes[code].name;
    if (!u->name)
        return sd_unpickle_fail(u, SD_E_FORMAT, "0x%02X is no opcode of a pickle", code);
    if (!opcodes[code].run)
        return sd_unpickle_fail(u, SD_E_UNSUPPORTED, "the opcode %s is not one that tensors need", u->name);
    return opcodes[code].run(u, opcodes[code].n);
}

bool sd_unpickle(sd_unpickler *u, sd_pickle_value *out) {
    *out = (sd_pickle_value){0};
    u->begin = u->op = u->at;
    u->depth = u->memo_used = 0;
    u->budget = u->size - u->at;
    for (size_t i = 0; i < u->memo_size; i++)
        u->memo[i].kind = SD_PICKLE_MARK;
    if (u->at == u->size || u->data[u->at] != 0x80)
        return sd_unpickle_fail(u, SD_E_FORMAT, "expected the beginning of a pickle of protocol 2 to 5");
    do {
        u->op = u->at;
        u->name = "STOP";
        const uint8_t *code = take(u, 1);
        if (!code)
            return false;
        if (*code == '.') {
            const sd_pickle_value *result = sd_unpickle_pop(u, 1);
            if (result)
                *out = *result;
            return result != NULL;
        }
        if (!step(u, *code))
            return false;
    } while (true);
}

void sd_unpickle_clear(sd_unpickler *u) {
    free(u->stack);
    free(u->memo);
    u->stack = u->memo = NULL;
    u->stack_capacity = u->memo_size = 0;
}
