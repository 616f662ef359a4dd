/* Builds files for the tests of the pickle reader. */
#ifndef TESTS_UNIT_IO_PICKLE_BUILD_H
#define TESTS_UNIT_IO_PICKLE_BUILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/base/str.h"
#include "sd/io/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses a heap block of the exact size, so that AddressSanitizer sees a read past it. */
static inline void assert_refused(const sd_str *file, sd_status status, const char *message) {
    sd_pickle *opened = (sd_pickle *)(uintptr_t)file;
    sd_error err = {0};
    assert_false(file->failed);
    char *exact = malloc(file->size ? file->size : 1);
    assert_non_null(exact);
    if (file->size)
        memcpy(exact, file->text, file->size);
    sd_status got = sd_pickle_parse("m", exact, file->size, &opened, &err);
    assert_string_equal(got ? err.message : "accepted", message);
    assert_int_equal(got, status);
    assert_null(opened);
    free(exact);
}

static inline void put(sd_str *out, uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; i++, value >>= 8)
        sd_str_append_bytes(out, &(uint8_t){(uint8_t)value}, 1);
}

/* An archive under construction; the entries are stored. */
typedef struct archive {
    sd_str bytes, directory;
    unsigned count;
    bool extended;      /* with 64-bit sizes, though they are small */
    size_t padding;     /* bytes of the local headers' extra fields */
    size_t central[16]; /* where each entry's record begins: in the directory, in the file once finished */
} archive;

static inline void add_entry(archive *a, const char *name, const void *data, size_t size) {
    size_t begin = a->bytes.size, length = strlen(name);
    sd_str_append(&a->bytes, "PK\3\4");
    put(&a->bytes, 0, 22);
    put(&a->bytes, length, 2);
    put(&a->bytes, a->padding, 2);
    sd_str_append(&a->bytes, name);
    for (size_t i = 0; i < a->padding; i++)
        sd_str_append(&a->bytes, "Z");
    sd_str_append_bytes(&a->bytes, data, size);
    a->central[a->count++] = a->directory.size;
    sd_str_append(&a->directory, "PK\1\2");
    put(&a->directory, 0, 16);
    put(&a->directory, a->extended ? UINT32_MAX : size, 4);
    put(&a->directory, a->extended ? UINT32_MAX : size, 4);
    put(&a->directory, length, 2);
    put(&a->directory, a->extended ? 34 : 0, 2);
    put(&a->directory, 0, 10);
    put(&a->directory, a->extended ? UINT32_MAX : begin, 4);
    sd_str_append(&a->directory, name);
    if (!a->extended)
        return;
    put(&a->directory, 0x4246, 2); /* another field before the sizes */
    put(&a->directory, 2, 2);
    put(&a->directory, 0, 2);
    put(&a->directory, 1, 2);
    put(&a->directory, 24, 2);
    put(&a->directory, size, 8);
    put(&a->directory, size, 8);
    put(&a->directory, begin, 8);
}

static inline void finish(archive *a) {
    size_t at = a->bytes.size;
    sd_str_append_bytes(&a->bytes, a->directory.text, a->directory.size);
    for (unsigned i = 0; i < a->count; i++)
        a->central[i] += at;
    if (a->extended) {
        size_t record = a->bytes.size;
        sd_str_append(&a->bytes, "PK\6\6");
        put(&a->bytes, 44, 8);
        put(&a->bytes, 0, 12);
        put(&a->bytes, a->count, 8);
        put(&a->bytes, a->count, 8);
        put(&a->bytes, a->directory.size, 8);
        put(&a->bytes, at, 8);
        sd_str_append(&a->bytes, "PK\6\7");
        put(&a->bytes, 0, 4);
        put(&a->bytes, record, 8);
        put(&a->bytes, 1, 4);
    }
    sd_str_append(&a->bytes, "PK\5\6");
    put(&a->bytes, 0, 4);
    put(&a->bytes, a->extended ? UINT16_MAX : a->count, 2);
    put(&a->bytes, a->extended ? UINT16_MAX : a->count, 2);
    put(&a->bytes, a->extended ? UINT32_MAX : a->directory.size, 4);
    put(&a->bytes, a->extended ? UINT32_MAX : at, 4);
    put(&a->bytes, 0, 2);
    sd_str_clear(&a->directory);
}

static const char storage_bytes[16] = "0123456789abcdef";

/* a/data.pkl with this pickle, and a/data/0 of 16 bytes. */
static inline void add_pickle(archive *a, const void *pickle, size_t size) {
    add_entry(a, "a/data.pkl", pickle, size);
    add_entry(a, "a/data/0", storage_bytes, sizeof storage_bytes);
}

/* Pieces of pickles. A string's length byte stands before it, so that the pieces stay literals. */
#define LITERAL(out, text) sd_str_append_bytes(out, text, sizeof text - 1)
#define P "\x80\2"
#define TEXT(length, text) "X" length "\0\0\0" text
#define STORAGE_OF(type, key, count) "(" TEXT("\7", "storage") type key TEXT("\3", "cpu") count "tQ"
#define FLOATS "ctorch\nFloatStorage\n"
#define STORAGE(count) STORAGE_OF(FLOATS, TEXT("\1", "0"), count)
#define HOOKS "ccollections\nOrderedDict\n)R"
#define TENSOR(storage, offset, shape, strides)                                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset shape strides "\x89" HOOKS "tR"
#define DICT(key, value) P "}" key value "s."
#define W TEXT("\1", "w")
#define VIEW(offset, shape, strides) DICT(W, TENSOR(STORAGE("K\4"), offset, shape, strides))
#define HUGE "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" /* 2^63 - 1 */
#define MINUS_ONE "\x8a\1\xff"
#define NUMPY_DTYPE(name) "cnumpy\ndtype\n" TEXT("\2", name) "\x89\x88\x87R"
#define ORDER(text) "(K\3" TEXT("\1", text) "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
#define ARRAY "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" TEXT("\1", "b") "\x87R"
#endif
