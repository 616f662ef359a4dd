/* What the parts of the pickle reader share. */
#ifndef SD_IO_PICKLE_INTERNAL_H
#define SD_IO_PICKLE_INTERNAL_H

#include "sd/base/arena.h"
#include "sd/io/bytes.h"
#include "sd/io/file.h"
#include "sd/io/pickle.h"

typedef enum sd_pickle_kind {
    SD_PICKLE_NONE,
    SD_PICKLE_BOOL,
    SD_PICKLE_INT,
    SD_PICKLE_LONG, /* a whole number outside 64 bits; kept as it lies in the file */
    SD_PICKLE_FLOAT,
    SD_PICKLE_TEXT,   /* well-formed UTF-8 without NUL */
    SD_PICKLE_BINARY, /* bytes, and strings that are no TEXT */
    SD_PICKLE_TUPLE,
    SD_PICKLE_LIST, /* sets too */
    SD_PICKLE_DICT,
    SD_PICKLE_PARAMETERS, /* torch.nn.ParameterDict; one item: its members */
    SD_PICKLE_GLOBAL,
    SD_PICKLE_STORAGE,
    SD_PICKLE_TENSOR,
    SD_PICKLE_NUMPY_DTYPE,
    SD_PICKLE_INERT, /* an object of a class that is known and means nothing here */
    SD_PICKLE_MARK
} sd_pickle_kind;

struct sd_pickle_items;
struct sd_pickle_global;
struct sd_pickle_storage;
struct sd_pickle_view;

typedef struct sd_pickle_value {
    uint32_t kind;
    uint32_t size; /* bytes of TEXT, BINARY and LONG */
    union {
        int64_t integer; /* BOOL too */
        double number;
        const char *text; /* in the file's arena */
        const uint8_t *bytes;
        struct sd_pickle_items *items;
        const struct sd_pickle_global *global;
        struct sd_pickle_storage *storage;
        struct sd_pickle_view *view;
        sd_file_dtype dtype; /* NUMPY_DTYPE */
    } as;
} sd_pickle_value;

/* Of a tuple, list or dict; a dict has key, value, key, value. Shared by all who refer to it. */
typedef struct sd_pickle_items {
    sd_pickle_value *list; /* [capacity] */
    uint32_t count, capacity;
    uint32_t extent; /* this and all values below, once measured; 0 before, UINT32_MAX while */
    uint32_t tensors, height;
} sd_pickle_items;

/* The bytes behind tensors. `data` is NULL until they were found in the file. */
typedef struct sd_pickle_storage {
    const char *key;
    sd_file_dtype dtype;
    uint64_t count; /* elements, as the pickle says */
    const uint8_t *data;
    uint64_t bytes; /* behind `data` */
    uint64_t at;    /* of the pickle, for messages */
    struct sd_pickle_storage *next;
} sd_pickle_storage;

/* A tensor. Only the types of its numbers were checked. */
typedef struct sd_pickle_view {
    const sd_pickle_storage *storage; /* NULL: a numpy array before its state */
    sd_file_dtype dtype;
    bool array; /* numpy's */
    uint32_t rank;
    uint64_t offset; /* in elements */
    uint64_t shape[SD_FILE_RANK], stride[SD_FILE_RANK];
} sd_pickle_view;

/* The machine. The stack and the memo are on the heap and freed by sd_unpickle_clear. */
typedef struct sd_unpickler {
    const char *label; /* begins the messages */
    sd_arena *values;  /* what is only needed until the tensors were gathered */
    sd_arena *kept;    /* what lives as long as the file */
    sd_error *err;
    sd_status status;
    const uint8_t *data;
    size_t size, at; /* the pickle begins at `at` and ends before `size` */
    bool clipped;    /* the data go on behind `size` */
    size_t begin;    /* of the pickle */
    size_t op;       /* of the opcode that runs */
    const char *name;
    sd_pickle_value *stack, *memo;
    size_t depth, stack_capacity;
    size_t memo_size, memo_used; /* values outside the used ones are MARK */
    size_t budget;               /* bytes and values that may still be copied */
    sd_pickle_storage *storages; /* newest first */
} sd_unpickler;

/* Sets the sticky error "LABEL: byte N: ..." for the opcode that runs; returns false. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
bool sd_unpickle_fail(sd_unpickler *u, sd_status status, const char *format, ...);
bool sd_unpickle_no_memory(sd_unpickler *u);

bool sd_unpickle_push(sd_unpickler *u, sd_pickle_value value);

/* The last `count` values, first pushed first; a mark is no value. They stay readable until the next push. */
const sd_pickle_value *sd_unpickle_pop(sd_unpickler *u, size_t count);

/* All values after the last mark, which goes with them. */
const sd_pickle_value *sd_unpickle_pop_mark(sd_unpickler *u, size_t *count);

/* The memo: keeps the last value, pushes a kept one. */
bool sd_unpickle_put(sd_unpickler *u, uint64_t index);
bool sd_unpickle_get(sd_unpickler *u, uint64_t index);

/* Runs one pickle from u->at to its STOP. */
bool sd_unpickle(sd_unpickler *u, sd_pickle_value *out);
void sd_unpickle_clear(sd_unpickler *u);

/* "a list" and so on. */
const char *sd_pickle_kind_name(uint32_t kind);

/* Takes `count` from the budget for copies, so that repeated references cannot multiply what a file holds. */
bool sd_unpickle_charge(sd_unpickler *u, uint64_t count);

/* A new tuple, list or dict of these items; `count` 0: empty. */
bool sd_unpickle_items(sd_unpickler *u, sd_pickle_kind kind, const sd_pickle_value *items, size_t count,
                       sd_pickle_value *out);
bool sd_unpickle_append(sd_unpickler *u, sd_pickle_items *to, const sd_pickle_value *items, size_t count);

/* The member of this name, NULL when `dict` is no dict or has none. Of several the last, as in Python. */
const sd_pickle_value *sd_pickle_member(const sd_pickle_value *dict, const char *name);

/* The names that a pickle may use. */
typedef enum sd_pickle_role {
    SD_PICKLE_PLAIN,
    SD_PICKLE_STORAGE_TYPE,
    SD_PICKLE_ELEMENT_TYPE
} sd_pickle_role;

typedef struct sd_pickle_global {
    const char *module, *name;
    sd_pickle_role role;
    sd_file_dtype dtype;  /* of the two types */
    sd_pickle_kind makes; /* what NEWOBJ gives; NONE when it may not be created */
    /* What a call gives; NULL when it may not be called. */
    bool (*call)(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);
} sd_pickle_global;

/* NULL when the name is not in the list. */
const sd_pickle_global *sd_pickle_find_global(const char *module, size_t module_size, const char *name,
                                              size_t name_size);

bool sd_unpickle_call(sd_unpickler *u, const sd_pickle_value *function, const sd_pickle_value *args,
                      sd_pickle_value *out);
bool sd_unpickle_create(sd_unpickler *u, const sd_pickle_value *type, sd_pickle_value *out);
bool sd_unpickle_build(sd_unpickler *u, const sd_pickle_value *object, const sd_pickle_value *state);
bool sd_unpickle_storage(sd_unpickler *u, const sd_pickle_value *id, sd_pickle_value *out);

/* "argument 2 of _rebuild_tensor_v2: expected WHAT, found a list". */
bool sd_unpickle_expected(sd_unpickler *u, const char *function, size_t argument, const char *what,
                          const sd_pickle_value *found);

/* From `least` to `most` arguments. */
bool sd_unpickle_arguments(sd_unpickler *u, const char *function, size_t least, size_t most, size_t found);

/* A tuple of at most SD_FILE_RANK dimensions or strides. */
bool sd_unpickle_numbers(sd_unpickler *u, const char *function, size_t argument, const sd_pickle_value *value,
                         uint64_t numbers[SD_FILE_RANK], uint32_t *rank);

/* The calls of pickle_globals.c that live elsewhere. */
bool sd_torch_tensor(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);
bool sd_torch_tensor_v2(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);
bool sd_torch_tensor_v3(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);

bool sd_numpy_dtype(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);
bool sd_numpy_scalar(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);
bool sd_numpy_reconstruct(sd_unpickler *u, const sd_pickle_value *args, size_t count, sd_pickle_value *out);
bool sd_numpy_build_dtype(sd_unpickler *u, const sd_pickle_value *state);
bool sd_numpy_build_array(sd_unpickler *u, sd_pickle_view *array, const sd_pickle_value *state);

struct sd_pickle {
    sd_arena arena;                 /* names, strings, tensors, tables, copied views */
    sd_mapping map;                 /* empty for parsed memory */
    sd_file_tensor *tensors;        /* [count] */
    const sd_file_tensor **by_name; /* [count], sorted */
    size_t count, left_out;
    const char *root;
    sd_file_metadata *metadata; /* [metadata_count] */
    size_t metadata_count, metadata_capacity;
};

/* Writes a key of a dict or list behind the first *length bytes of a path, with a dot between. */
typedef enum sd_pickle_key {
    SD_PICKLE_KEY_NAMED,
    SD_PICKLE_KEY_UNNAMED,  /* no string, number or class */
    SD_PICKLE_KEY_MALFORMED /* a string that is too long, or not UTF-8 without NUL */
} sd_pickle_key;
sd_pickle_key sd_pickle_extend(char path[SD_PICKLE_NAME + 1], const sd_pickle_value *key, size_t *length);

/* Fills the file's tensors and metadata from the object that a pickle of `pickle_size` bytes describes. */
sd_status sd_pickle_gather(sd_pickle *file, const char *label, const sd_pickle_value *object,
                           uint64_t pickle_size, uint64_t file_size, sd_error *err);

/* The metadata of a value whose name is the first `length` bytes of the path; false when memory runs out. */
bool sd_pickle_gather_metadata(sd_pickle *file, char path[SD_PICKLE_NAME + 1], const sd_pickle_value *value,
                               size_t length);

/* Checks a view against its storage and fills shape, type and data of a tensor that has its name. Takes what
 * it copies from *copies, bytes. */
sd_status sd_pickle_place(const char *label, const sd_pickle_view *view, sd_arena *arena, uint64_t *copies,
                          sd_file_tensor *t, sd_error *err);

/* The two forms of files: read the object, whose pickle has *pickle_size bytes, and give data to its
 * storages. */
bool sd_pickle_read_zip(sd_unpickler *u, sd_pickle_value *object, size_t *pickle_size);
bool sd_pickle_read_legacy(sd_unpickler *u, sd_pickle_value *object, size_t *pickle_size);

/* True for a whole file, or its beginning, in the older form. */
bool sd_pickle_is_legacy(const uint8_t *data, size_t size);

#endif
