/* GGUF files put together byte by byte: broken ones and unusual ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/base/str.h"
#include "sd/io/file.h"
#include "sd/io/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Little-endian numbers whose lowest byte is given; the others are 0. */
#define N4(byte) byte "\0\0\0"
#define N8(byte) byte "\0\0\0\0\0\0\0"
#define MOST "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" /* 2^64-1 */
#define HEAD(tensors, values) "GGUF" N4("\3") N8(tensors) N8(values)
#define A N8("\1") "a"
#define B N8("\1") "b"
#define KEY(size, text) N8(size) text
/* Type numbers: values and elements. */
#define U8 N4("\0")
#define U32 N4("\4")
#define I32 N4("\5")
#define BOOL N4("\7")
#define STRING N4("\10")
#define ARRAY N4("\11")
#define U64 N4("\12")
#define F32 N4("\0")
#define Q8_0 N4("\10")
/* An F32 tensor of one value. */
#define ONE(name, offset) name N4("\1") N8("\1") F32 offset
#define SHAPE_KEY KEY("\27", "comfy.gguf.orig_shape.a")
#define ALIGNMENT_KEY KEY("\21", "general.alignment")
#define VERSION_KEY KEY("\34", "general.quantization_version")

/* `data` bytes follow at the next multiple of 32; -1: the file ends with the header. */
static const struct {
    const char *header;
    size_t size;
    int data;
    sd_status status;
    const char *message; /* after "m: " */
} broken[] = {
#define ROW(header, data, message)                                                                           \
    { header, sizeof(header) - 1, data, SD_E_FORMAT, message }
#define UNSUPPORTED(header, data, message)                                                                   \
    { header, sizeof(header) - 1, data, SD_E_UNSUPPORTED, message }
    ROW("", -1, "expected a GGUF file, its first 4 bytes are not GGUF"),
    ROW("GGU", -1, "expected a GGUF file, its first 4 bytes are not GGUF"),
    ROW("GGML" N4("\3") N8("\0") N8("\0"), -1, "expected a GGUF file, its first 4 bytes are not GGUF"),
    ROW("GGUF", -1, "expected a GGUF file, found only 4 bytes"),
    ROW("GGUF" N4("\3") N8("\0") "\0\0\0\0\0\0\0", -1, "expected a GGUF file, found only 23 bytes"),
    UNSUPPORTED("GGUF" N4("\0") N8("\0") N8("\0"), -1, "expected GGUF version 2 or 3, found 0"),
    UNSUPPORTED("GGUF" N4("\1") N8("\0") N8("\0"), -1, "expected GGUF version 2 or 3, found 1"),
    UNSUPPORTED("GGUF" N4("\4") N8("\0") N8("\0"), -1, "expected GGUF version 2 or 3, found 4"),
    UNSUPPORTED("GGUF\0\0\0\3" N8("\0") N8("\0"), -1,
                "expected a little-endian GGUF file, found a big-endian one"),
    ROW("GGUF" N4("\3") MOST N8("\0"), -1, "expected at most 100000 tensors, found 18446744073709551615"),
    ROW("GGUF" N4("\3") "\xA1\x86\1\0\0\0\0\0" N8("\0"), -1, "expected at most 100000 tensors, found 100001"),
    ROW("GGUF" N4("\3") N8("\0") "\0\0\0\0\0\0\0\x80", -1,
        "expected at most 100000 metadata values, found 9223372036854775808"),
    ROW(HEAD("\2", "\0") ONE(A, N8("\0")), -1, "2 tensors need at least 48 bytes, 33 follow"),
    ROW(HEAD("\0", "\2") A U8 "\0", -1, "2 metadata values need at least 26 bytes, 14 follow"),

    ROW(HEAD("\0", "\1") MOST "aaaaa", -1,
        "metadata value 1: its key needs 18446744073709551615 bytes from byte 32 on, the file has 37"),
    ROW(HEAD("\0", "\1") N8("\6") "aaaaa", -1,
        "metadata value 1: its key needs 6 bytes from byte 32 on, the file has 37"),
    ROW(HEAD("\0", "\1") N8("\0") U8 "\0", -1,
        "metadata value 1: expected its key as UTF-8 text without NUL, found 0 other bytes"),
    ROW(HEAD("\0", "\1") N8("\3") "a\0b" U8 "\0", -1,
        "metadata value 1: expected its key as UTF-8 text without NUL, found 3 other bytes"),
    ROW(HEAD("\0", "\1") N8("\2") "\xC3\x28" U8 "\0", -1,
        "metadata value 1: expected its key as UTF-8 text without NUL, found 2 other bytes"),
    ROW(HEAD("\0", "\2") A U8 "\0" A U8 "\0", -1, "metadata 'a' is given twice"),
    ROW(HEAD("\0", "\1") A N4("\15") "\0", -1, "metadata 'a': unknown value type 13"),
    ROW(HEAD("\0", "\1") A "\0\0\0\x80"
                           "\0",
        -1, "metadata 'a': unknown value type 2147483648"),
    ROW(HEAD("\0", "\1") A "\0\0"
                           "\0\0",
        -1, "metadata 'a': the value needs 1 bytes from byte 37 on, the file has 37"),
    ROW(HEAD("\0", "\1") A U64 "\0\0\0\0\0\0\0", -1,
        "metadata 'a': the value needs 8 bytes from byte 37 on, the file has 44"),
    ROW(HEAD("\0", "\1") A BOOL "\2", -1, "metadata 'a': expected 0 or 1 as a BOOL, found 2"),
    ROW(HEAD("\0", "\1") A STRING N8("\2") "x", -1,
        "metadata 'a': the string needs 2 bytes from byte 45 on, the file has 46"),
    ROW(HEAD("\0", "\1") A STRING MOST, -1,
        "metadata 'a': the string needs 18446744073709551615 bytes from byte 45 on, the file has 45"),
    ROW(HEAD("\0", "\1") A ARRAY N4("\15") N8("\0"), -1, "metadata 'a': unknown value type 13"),
    ROW(HEAD("\0", "\1") A ARRAY U8 "\0\0\0\0\0\0\0", -1,
        "metadata 'a': the length needs 8 bytes from byte 41 on, the file has 48"),
    ROW(HEAD("\0", "\1") A ARRAY U32 N8("\2") "\0\0\0\0\0\0\0", -1,
        "metadata 'a': the array needs 8 bytes from byte 49 on, the file has 56"),
    ROW(HEAD("\0", "\1") A ARRAY U64 "\1\0\0\0\0\0\0\x20"
                                     "12345678",
        -1, "metadata 'a': the array needs 18446744073709551615 bytes from byte 49 on, the file has 57"),
    ROW(HEAD("\0", "\1") A ARRAY BOOL N8("\3") "\1\0\3", -1,
        "metadata 'a': expected 0 or 1 as a BOOL, found 3"),
    ROW(HEAD("\0", "\1") A ARRAY STRING MOST N8("\0"), -1,
        "metadata 'a': the string needs 8 bytes from byte 57 on, the file has 57"),
    ROW(HEAD("\0", "\1") A ARRAY ARRAY MOST U8 N8("\0"), -1,
        "metadata 'a': the type needs 4 bytes from byte 61 on, the file has 61"),
    UNSUPPORTED(HEAD("\0", "\1") A ARRAY ARRAY N8("\1") ARRAY N8("\1") ARRAY N8("\1") ARRAY N8("\1")
                    ARRAY N8("\1") ARRAY N8("\1") ARRAY N8("\1") ARRAY N8("\1") U8 N8("\0"),
                -1, "metadata 'a': arrays nested deeper than 8 levels"),
    ROW(HEAD("\0", "\1") ALIGNMENT_KEY STRING N8("\2") "32", -1,
        "general.alignment: expected a power of two up to 1048576 as U32, found 32 as STRING"),
    ROW(HEAD("\0", "\1") ALIGNMENT_KEY U32 N4("\0"), -1,
        "general.alignment: expected a power of two up to 1048576 as U32, found 0 as U32"),
    ROW(HEAD("\0", "\1") ALIGNMENT_KEY U32 N4("\60"), -1,
        "general.alignment: expected a power of two up to 1048576 as U32, found 48 as U32"),
    ROW(HEAD("\0", "\1") ALIGNMENT_KEY U32 "\0\0\x20\0", -1,
        "general.alignment: expected a power of two up to 1048576 as U32, found 2097152 as U32"),

    ROW(HEAD("\1", "\0") N8("\31") "name that is cut short", -1,
        "tensor 1: its name needs 25 bytes from byte 32 on, the file has 54"),
    ROW(HEAD("\1", "\0") N8("\0") N4("\1") N8("\1") F32 N8("\0"), 4,
        "tensor 1: expected its name as UTF-8 text without NUL, found 0 other bytes"),
    ROW(HEAD("\2", "\0") ONE(A, N8("\0")) ONE(N8("\1") "\x80", N8("\0")), 4,
        "tensor 2: expected its name as UTF-8 text without NUL, found 1 other bytes"),
    ROW(HEAD("\1", "\0") A N4("\5") N8("\1") N8("\1") N8("\1") N8("\1") N8("\1") F32 N8("\0"), 4,
        "tensor 'a': expected at most 4 dimensions, found 5"),
    ROW(HEAD("\1", "\0") A N4("\2") N8("\1") "\0\0\0", -1,
        "tensor 'a': its shape needs 8 bytes from byte 45 on, the file has 48"),
    ROW(HEAD("\1", "\0") A N4("\2") N8("\1") N8("\1") "\0\0\0", -1,
        "tensor 'a': its element type needs 4 bytes from byte 53 on, the file has 56"),
    ROW(HEAD("\1", "\0") A N4("\1") N8("\1") F32 "\0\0\0\0\0\0\0", -1,
        "tensor 'a': its offset needs 8 bytes from byte 49 on, the file has 56"),
    ROW(HEAD("\1", "\0") A N4("\2") "\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0" F32 N8("\0"), 4,
        "tensor 'a': shape [4294967296,4294967296] of F32 has no size in whole bytes below 2^61"),
    ROW(HEAD("\1", "\0") A N4("\1") "\0\0\0\0\0\0\0\x20" F32 N8("\0"), 4,
        "tensor 'a': shape [2305843009213693952] of F32 has no size in whole bytes below 2^61"),
    ROW(HEAD("\1", "\0") A N4("\1") N8("\1") N4("\143") N8("\0"), 4, "tensor 'a': unknown element type 99"),
    UNSUPPORTED(HEAD("\1", "\0") A N4("\1") N8("\0") N4("\20") N8("\0"), 4,
                "tensor 'a': its element type IQ2_XXS is not supported"),
    UNSUPPORTED(HEAD("\1", "\0") A N4("\1") N8("\0") N4("\11") N8("\0"), 4,
                "tensor 'a': its element type Q8_1 is not supported"),
    UNSUPPORTED(HEAD("\1", "\0") A N4("\1") N8("\0") N4("\47") N8("\0"), 4,
                "tensor 'a': its element type MXFP4 is not supported"),
    ROW(HEAD("\1", "\0") A N4("\2") N8("\41") N8("\40") Q8_0 N8("\0"), 1122,
        "tensor 'a': its rows of 33 values are not whole blocks of 32 (Q8_0)"),
    ROW(HEAD("\1", "\0") A N4("\0") Q8_0 N8("\0"), 34,
        "tensor 'a': its rows of 1 values are not whole blocks of 32 (Q8_0)"),
    ROW(HEAD("\1", "\0") ONE(A, N8("\4")), 8,
        "tensor 'a': its offset 4 is not a multiple of the alignment 32"),
    ROW(HEAD("\1", "\0") ONE(A, N8("\0")), 3,
        "tensor 'a': its data end at byte 4, the file holds 3 bytes of data"),
    ROW(HEAD("\1", "\0") ONE(A, N8("\0")), -1,
        "tensor 'a': its data end at byte 4, the file holds 0 bytes of data"),
    ROW(HEAD("\1", "\0") ONE(A, N8("\40")), 32,
        "tensor 'a': its data end at byte 36, the file holds 32 bytes of data"),
    ROW(HEAD("\1", "\0") A N4("\1") N8("\20") F32 "\xE0\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 64,
        "tensor 'a': its data end at byte 18446744073709551615, the file holds 64 bytes of data"),
    ROW(HEAD("\2", "\0") ONE(A, N8("\0")) ONE(A, N8("\40")), 36, "tensor 'a' is listed twice"),
    ROW(HEAD("\2", "\0") ONE(B, N8("\0")) ONE(A, N8("\0")), 4,
        "tensors 'a' and 'b' overlap at byte 0 of the data"),
    ROW(HEAD("\2", "\0") A N4("\1") N8("\11") F32 N8("\0") ONE(B, N8("\40")), 36,
        "tensors 'a' and 'b' overlap at byte 32 of the data"),

    ROW(HEAD("\1", "\1") SHAPE_KEY U32 N4("\1") ONE(A, N8("\0")), 4,
        "metadata 'comfy.gguf.orig_shape.a': expected an array of at most 8 dimensions"),
    ROW(HEAD("\1", "\1") SHAPE_KEY ARRAY U8 N8("\11") "\1\1\1\1\1\1\1\1\1" ONE(A, N8("\0")), 4,
        "metadata 'comfy.gguf.orig_shape.a': expected an array of at most 8 dimensions"),
    ROW(HEAD("\1", "\1") SHAPE_KEY ARRAY I32 N8("\1") "\xFF\xFF\xFF\xFF" ONE(A, N8("\0")), 4,
        "metadata 'comfy.gguf.orig_shape.a': expected dimensions of 0 or more"),
    ROW(HEAD("\1", "\1") SHAPE_KEY ARRAY STRING N8("\1") A ONE(A, N8("\0")), 4,
        "metadata 'comfy.gguf.orig_shape.a': expected dimensions of 0 or more"),
    ROW(HEAD("\1", "\1") SHAPE_KEY ARRAY U8 N8("\2") "\1\2" ONE(A, N8("\0")), 4,
        "metadata 'comfy.gguf.orig_shape.a': expected a shape of as many values as [1], found [1,2]"),
    ROW(HEAD("\1", "\1") SHAPE_KEY ARRAY U64 N8("\2") MOST MOST ONE(A, N8("\0")), 4,
        "metadata 'comfy.gguf.orig_shape.a': expected a shape of as many values as [1], found "
        "[18446744073709551615,18446744073709551615]"),
    UNSUPPORTED(HEAD("\1", "\1") VERSION_KEY U32 N4("\1") A N4("\1") N8("\40") Q8_0 N8("\0"), 34,
                "general.quantization_version: expected 2, found 1"),
};

static void append_zeros(sd_str *s, size_t count) {
    while (count--)
        sd_str_append_bytes(s, "", 1);
}

/* A heap block of the exact size, so that AddressSanitizer sees a read past it. */
static sd_status parse_exact(const char *bytes, size_t size, sd_gguf **out, char **copy, sd_error *err) {
    *copy = malloc(size ? size : 1);
    memcpy(*copy, bytes, size);
    return sd_gguf_parse("m", *copy, size, out, err);
}

static void broken_files_are_explained(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        sd_str bytes = {0};
        sd_gguf *file = (sd_gguf *)&bytes;
        sd_error err = {0};
        char expected[256], *copy;
        snprintf(expected, sizeof expected, "m: %s", broken[i].message);
        sd_str_append_bytes(&bytes, broken[i].header, broken[i].size);
        if (broken[i].data >= 0)
            append_zeros(&bytes, (32 - bytes.size % 32) % 32 + (size_t)broken[i].data);
        assert_int_equal(parse_exact(bytes.text, bytes.size, &file, &copy, &err), broken[i].status);
        assert_string_equal(err.message, expected);
        assert_null(file);
        assert_int_equal(sd_gguf_parse("m", copy, bytes.size, &file, NULL), broken[i].status);
        free(copy);
        sd_str_clear(&bytes);
    }
    print_message("%zu broken files\n", sizeof broken / sizeof *broken);
}

static void files_that_are_none_are_explained(void **state) {
    sd_gguf *file;
    sd_error err;
    (void)state;
    assert_int_equal(sd_gguf_open("/dev/null", &file, &err), SD_E_FORMAT);
    assert_string_equal(err.message, "/dev/null: expected a regular file, found a device, pipe or socket");
    assert_null(file);
    assert_int_equal(sd_gguf_open("/nowhere/x.gguf", &file, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message, "/nowhere/x.gguf: no such file");
}

/* A file that is cut anywhere is refused, but for the padding of its last tensor. */
static void cut_files_are_refused(void **state) {
    sd_bytes whole;
    sd_error err;
    sd_gguf *file;
    char *copy;
    (void)state;
    assert_int_equal(sd_file_read(SDVK_SOURCE_DIR "/tests/golden/quants/blocks.gguf", 0, &whole, &err),
                     SD_OK);
    for (size_t n = 0; n + 32 < whole.size; n += n < 2000 ? 1 : 61) {
        sd_status status = parse_exact((const char *)whole.data, n, &file, &copy, &err);
        assert_int_equal(status, SD_E_FORMAT);
        assert_null(file);
        free(copy);
    }
    sd_bytes_clear(&whole);
}

/* What no writer of the package makes: nested arrays, texts that are none, another alignment, gaps, version
 * 2, nothing at all. */
static void unusual_files_are_read(void **state) {
    static const char nested[] = HEAD("\2", "\3") ALIGNMENT_KEY U32 N4("\10") A ARRAY ARRAY N8("\2")
        U8 N8("\1") "\7" STRING N8("\1") B B STRING N8("\2") "\xFF\0" ONE(B, N8("\30")) ONE(A, N8("\0")),
                      none[] = "GGUF" N4("\2") N8("\0") N8("\0");
    sd_str bytes = {0};
    sd_gguf *file;
    sd_gguf_value list, element;
    sd_error err;
    uint64_t at = 0, inner = 0, number;
    (void)state;
    sd_str_append_bytes(&bytes, nested, sizeof nested - 1);
    append_zeros(&bytes, (8 - bytes.size % 8) % 8 + 29);
    bytes.text[bytes.size - 29] = 1;
    bytes.text[bytes.size - 5] = 2;
    if (sd_gguf_parse("m", bytes.text, bytes.size, &file, &err))
        fail_msg("%s", err.message);
    assert_int_equal(sd_gguf_find(file, "a")->data[0], 1);
    assert_int_equal(sd_gguf_find(file, "b")->data[0], 2);
    assert_string_equal(sd_gguf_at(file, 0)->name, "a");
    const sd_gguf_value *v = sd_gguf_value_find(file, "a");
    assert_true(sd_gguf_next(v, &at, &list));
    assert_int_equal(list.type, SD_GGUF_ARRAY);
    assert_true(sd_gguf_next(&list, &inner, &element));
    assert_true(sd_gguf_u64(&element, &number));
    assert_int_equal(number, 7);
    assert_false(sd_gguf_next(&list, &inner, &element));
    assert_true(sd_gguf_next(v, &at, &list));
    assert_int_equal(list.element, SD_GGUF_STRING);
    assert_false(sd_gguf_next(v, &at, &list));
    assert_string_equal(sd_gguf_metadata_at(file, 1)->value, "(2 values of type ARRAY)");
    assert_string_equal(sd_gguf_metadata_at(file, 2)->value, "(2 bytes)");
    sd_gguf_close(&file);
    sd_str_clear(&bytes);
    assert_int_equal(sd_gguf_parse("m", none, sizeof none - 1, &file, &err), SD_OK);
    assert_int_equal(sd_gguf_count(file), 0);
    assert_int_equal(sd_gguf_value_count(file), 0);
    assert_null(sd_gguf_find(file, "a"));
    sd_gguf_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_are_explained),
        cmocka_unit_test(files_that_are_none_are_explained),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(unusual_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
