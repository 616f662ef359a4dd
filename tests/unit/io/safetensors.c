#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/base/str.h"
#include "sd/io/file.h"
#include "sd/io/safetensors.h"
#include "tests/unit/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void write_text(const char *path, const char *text) {
    sd_error err;
    assert_int_equal(sd_file_write(path, text, strlen(text), &err), SD_OK);
}

/* The bytes of a file with this header and `data` bytes of data. */
static void build(sd_str *out, const char *header, size_t header_size, size_t data) {
    uint64_t n = header_size;
    sd_str_append_bytes(out, &n, 8);
    sd_str_append_bytes(out, header, header_size);
    for (size_t i = 0; i < data; i++)
        sd_str_append_bytes(out, &(char){(char)i}, 1);
    assert_false(out->failed);
}

#define T(fields) "{\"a\":{" fields "}}"
#define F4 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"

static const struct {
    const char *header;
    size_t data;
    const char *message; /* after "m: header" */
} broken[] = {
    {"xx", 0, ": expected an object, found 'x' at byte 0"},
    {"[]", 0, ": expected an object, found an array at byte 0"},
    {"\"a\"", 0, ": expected an object, found a string at byte 0"},
    {"   ", 0, ": expected an object, found the end of the text at byte 3"},
    {"{} x", 0, ": expected nothing after the closing brace, found 'x' at byte 3"},
    {"{\"a\"", 0, ": expected ':', found the end of the text at byte 4"},
    {"{\"a", 0, ": a string that does not end"},
    {"{\"a\":{" F4 "}", 4, ": expected ',' or '}', found the end of the text at byte 53"},
    {"{,}", 0, ": expected a name in quotes, found ',' at byte 1"},
    {"{\"a\\u0000\":1}", 0, ": a string with U+0000 at byte 9"},
    {"{\"\\ud800\":1}", 0, ": half of a surrogate pair at byte 8"},
    {"{\"\\q\":1}", 0, ": an unknown escape in a string at byte 3"},
    {"{\"a\nb\":1}", 0, ": a control character inside a string at byte 3"},
    {"{\"a\":1}", 0, ": tensor 'a': expected an object with dtype, shape and data_offsets"},
    {T("\"shape\":[1],\"data_offsets\":[0,4]"), 4, ": tensor 'a': dtype is missing"},
    {T("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, ": tensor 'a': shape is missing"},
    {T("\"dtype\":\"F32\",\"shape\":[1]"), 4, ": tensor 'a': data_offsets is missing"},
    {T(F4 ",\"dtype\":\"F16\""), 4, ": tensor 'a': dtype is given twice"},
    {T("\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]"), 4, ": tensor 'a': unknown dtype 'F33'"},
    {T("\"dtype\":\"Q8_0\",\"shape\":[32],\"data_offsets\":[0,34]"), 34,
     ": tensor 'a': unknown dtype 'Q8_0'"},
    {T("\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]"), 4, ": tensor 'a': expected dtype as a string"},
    {T("\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]"), 4,
     ": tensor 'a': expected shape as an array"},
    {T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{}"), 4,
     ": tensor 'a': expected data_offsets as an array"},
    {T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]"), 4,
     ": tensor 'a': expected 2 data_offsets, found 1"},
    {T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]"), 4,
     ": tensor 'a': expected 2 data_offsets, found 3"},
    {T("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]"), 4,
     ": expected a dimension from 0 to 2^64-1, found -1 at byte 29"},
    {T("\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]"), 4,
     ": expected a dimension from 0 to 2^64-1, found 1.5 at byte 29"},
    {T("\"dtype\":\"F32\",\"shape\":[1e0],\"data_offsets\":[0,4]"), 4,
     ": expected a dimension from 0 to 2^64-1, found 1e0 at byte 29"},
    {T("\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]"), 4,
     ": expected a dimension from 0 to 2^64-1, found 01 at byte 29"},
    {T("\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,4]"), 4,
     ": expected a dimension from 0 to 2^64-1, found 18446744073709551616 at byte 29"},
    {T("\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]"), 4,
     ": expected a dimension from 0 to 2^64-1, found a string at byte 29"},
    {T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]"), 4,
     ": expected a byte offset from 0 to 2^64-1, found -4 at byte 48"},
    {T("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
     ": tensor 'a': expected at most 8 dimensions"},
    {T("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"), 4,
     ": tensor 'a': shape [4294967296,4294967296] of F32 has no size in whole bytes below 2^61"},
    {T("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]"), 1,
     ": tensor 'a': shape [3] of F4 has no size in whole bytes below 2^61"},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 4,
     ": tensor 'a': shape [2] of F32 needs 8 bytes, its data_offsets hold 4"},
    {T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]"), 4,
     ": tensor 'a': data_offsets [4,0] run backwards"},
    {T(F4), 3, ": tensor 'a': its data end at byte 4, the file holds 3 bytes of data"},
    {T(F4), 5, ": the tensors end at byte 4 of the data, the file holds 5"},
    {"{}", 1, ": the tensors end at byte 0 of the data, the file holds 1"},
    {"{\"a\":{" F4 "},\"a\":{" F4 "}}", 4, ": tensor 'a' is listed twice"},
    {"{\"a\":{" F4 "},\"b\":{" F4 "}}", 4, ": tensors 'a' and 'b' overlap at byte 0"},
    {"{\"a\":{" F4 "},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,6]}}", 6,
     ": tensors 'a' and 'b' overlap at byte 3"},
    {"{\"a\":{" F4 "},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[6,9]}}", 9,
     ": bytes 4 to 6 of the data, before tensor 'b', belong to no tensor"},
    {T("\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]"), 4,
     ": bytes 0 to 1 of the data, before tensor 'a', belong to no tensor"},
    {"{\"__metadata__\":[]}", 0, ": expected __metadata__ as an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, ": __metadata__: expected a string for 'k'"},
    {"{\"__metadata__\":{\"k\":\"\",\"j\":\"\",\"k\":\"\"}}", 0, ": __metadata__: 'k' is given twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, ": __metadata__ is given twice"},
    {T(F4 ",\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["), 4,
     ": values nested deeper than 64 levels"},
    {"{\"\xC3\x28\":1}", 0, " is not well-formed UTF-8"},
};

static void broken_headers_are_explained(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        sd_str bytes = {0};
        sd_safetensors *file = (sd_safetensors *)&bytes;
        sd_error err = {0};
        char expected[256];
        snprintf(expected, sizeof expected, "m: header%s", broken[i].message);
        build(&bytes, broken[i].header, strlen(broken[i].header), broken[i].data);
        /* A heap block of the exact size, so that AddressSanitizer sees a read past it. */
        char *exact = malloc(bytes.size);
        memcpy(exact, bytes.text, bytes.size);
        assert_int_equal(sd_safetensors_parse("m", exact, bytes.size, &file, &err), SD_E_FORMAT);
        assert_string_equal(err.message, expected);
        assert_int_equal(err.status, SD_E_FORMAT);
        assert_null(file);
        free(exact);
        sd_str_clear(&bytes);
    }
}

static void broken_lengths_are_explained(void **state) {
    (void)state;
    static const struct {
        size_t size;
        const char *bytes, *message;
    } rows[] = {
        {7, "\2\0\0\0\0\0\0", "m: expected a safetensors file, found only 7 bytes"},
        {8, "\2\0\0\0\0\0\0\0", "m: header of 2 bytes is cut short, 0 bytes follow"},
        {9, "\2\0\0\0\0\0\0\0{", "m: header of 2 bytes is cut short, 1 bytes follow"},
        {10, "\0\0\0\0\0\0\0\0{}", "m: header of 0 bytes is too short"},
        {10, "\1\xE1\xF5\5\0\0\0\0{}",
         "m: expected a safetensors header of at most 100000000 bytes, found 100000001"},
        {10, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}",
         "m: expected a safetensors header of at most 100000000 bytes, found 18446744073709551615"},
        {10, "\0\xE1\xF5\5\0\0\0\0{}", "m: header of 100000000 bytes is cut short, 2 bytes follow"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_safetensors *file;
        sd_error err;
        assert_int_equal(sd_safetensors_parse("m", rows[i].bytes, rows[i].size, &file, &err), SD_E_FORMAT);
        assert_string_equal(err.message, rows[i].message);
    }
}

static void assert_open_fails(const char *path, sd_status status, const char *reason) {
    sd_safetensors *file;
    sd_error err;
    char expected[256];
    snprintf(expected, sizeof expected, "%s: %s", path, reason);
    assert_int_equal(sd_safetensors_open(path, &file, &err), status);
    assert_string_equal(err.message, expected);
    assert_null(file);
    assert_int_equal(sd_safetensors_open(path, &file, NULL), status);
}

static void wrong_files_are_explained(void **state) {
    (void)state;
    assert_open_fails(in_folder("missing"), SD_E_NOT_FOUND, "no such file");
    assert_open_fails(folder, SD_E_FORMAT, "expected a file, found a folder");
    assert_open_fails("/dev/null", SD_E_FORMAT, "expected a regular file, found a device, pipe or socket");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_open_fails(in_folder("pipe"), SD_E_FORMAT,
                      "expected a regular file, found a device, pipe or socket");
    write_text(in_folder("empty"), "");
    assert_open_fails(in_folder("empty"), SD_E_FORMAT, "the file is empty");
    assert_open_fails(in_folder("empty/below"), SD_E_NOT_FOUND, "no such file");
    write_text(in_folder("secret"), "x");
    assert_int_equal(chmod(in_folder("secret"), 0), 0);
    bool root = geteuid() == 0; /* root may read anything, so the test steps down */
    if (root)
        assert_int_equal(seteuid(65534), 0);
    assert_open_fails(in_folder("secret"), SD_E_ARGUMENT, "no permission to read this file");
    if (root)
        assert_int_equal(seteuid(0), 0);
}

static void every_dtype_is_read(void **state) {
    (void)state;
    for (unsigned d = 0; d < SD_FILE_DTYPES; d++) {
        sd_str header = {0}, bytes = {0};
        sd_safetensors *file;
        sd_error err;
        const char *name = sd_file_dtype_name((sd_file_dtype)d);
        if (sd_file_dtype_quantised((sd_file_dtype)d))
            continue; /* not types of this format */
        size_t size = 2 * 4 * sd_file_dtype_bits((sd_file_dtype)d) / 8;
        sd_str_printf(&header,
                      "{\"__metadata__\":{\"format\":\"pt\",\"\\u00e9\":\"\\ud83d\\ude00\\n\"},"
                      "\"t\\/1\":{\"dtype\":\"%s\",\"extra\":{\"x\":[1.5e3,null]},\"shape\":[2,4],"
                      "\"data_offsets\":[1,%zu]},\"z\":{\"dtype\":\"BOOL\",\"shape\":[],"
                      "\"data_offsets\":[0,1]},\"e\":{\"dtype\":\"I8\",\"shape\":[0,9],"
                      "\"data_offsets\":[1,1]}}  ",
                      name, size + 1);
        build(&bytes, header.text, header.size, size + 1);
        assert_int_equal(sd_safetensors_parse("m", bytes.text, bytes.size, &file, &err), SD_OK);
        assert_int_equal(sd_safetensors_count(file), 3);
        const sd_file_tensor *t = sd_safetensors_find(file, "t/1");
        assert_non_null(t);
        assert_ptr_equal(t, sd_safetensors_at(file, 2));
        assert_int_equal(t->dtype, d);
        assert_int_equal(t->rank, 2);
        assert_int_equal(t->shape[0], 2);
        assert_int_equal(t->shape[1], 4);
        assert_int_equal(t->bytes, size);
        assert_int_equal(t->data[0], 1);
        assert_string_equal(sd_safetensors_at(file, 0)->name, "z");
        assert_int_equal(sd_safetensors_at(file, 0)->rank, 0);
        assert_int_equal(sd_safetensors_find(file, "e")->bytes, 0);
        assert_null(sd_safetensors_find(file, "t"));
        assert_null(sd_safetensors_at(file, 3));
        assert_int_equal(sd_safetensors_metadata_count(file), 2);
        assert_string_equal(sd_safetensors_metadata_at(file, 0)->key, "format");
        assert_string_equal(sd_safetensors_metadata(file, "\xC3\xA9"), "\xF0\x9F\x98\x80\n");
        assert_null(sd_safetensors_metadata(file, "none"));
        assert_int_equal(sd_safetensors_data_offset(file), 8 + header.size);
        sd_safetensors_close(&file);
        assert_null(file);
        sd_str_clear(&header);
        sd_str_clear(&bytes);
    }
    sd_safetensors *none = NULL;
    sd_safetensors_close(&none);
}

static sd_file_tensor bytes_tensor(const char *name, const char *bytes) {
    return (sd_file_tensor){.name = name,
                            .dtype = SD_FILE_U8,
                            .rank = 1,
                            .shape = {strlen(bytes)},
                            .data = (const uint8_t *)bytes,
                            .bytes = strlen(bytes)};
}

static void written_files_read_back(void **state) {
    (void)state;
    static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, 7};
    const sd_file_tensor tensors[] = {
        bytes_tensor("q\"\\\n", "abc"),
        {.name = "w",
         .dtype = SD_FILE_F32,
         .rank = 2,
         .shape = {2, 3},
         .data = (const uint8_t *)weights,
         .bytes = 24},
        {.name = "empty", .dtype = SD_FILE_F16, .rank = 1, .shape = {0}},
    };
    const sd_file_metadata metadata[] = {{"k\t", "v\x01"}, {"a", ""}};
    const char *path = in_folder("w.safetensors"), *again = in_folder("w2.safetensors");
    sd_safetensors *file;
    sd_error err = {0};
    assert_int_equal(sd_safetensors_write(path, tensors, 3, metadata, 2, &err), SD_OK);
    assert_int_equal(sd_safetensors_open(path, &file, &err), SD_OK);
    assert_int_equal(sd_safetensors_data_offset(file) % 8, 0);
    assert_string_equal(sd_safetensors_at(file, 0)->name, "w");
    assert_memory_equal(sd_safetensors_at(file, 0)->data, weights, 24);
    assert_memory_equal(sd_safetensors_find(file, "q\"\\\n")->data, "abc", 3);
    assert_string_equal(sd_safetensors_metadata(file, "k\t"), "v\x01");
    sd_safetensors_close(&file);

    /* The order of the caller does not show in the file. */
    const sd_file_tensor other[] = {tensors[2], tensors[0], tensors[1]};
    char one[SD_SHA256_HEX], two[SD_SHA256_HEX];
    assert_int_equal(sd_safetensors_write(again, other, 3, metadata, 2, &err), SD_OK);
    assert_int_equal(sd_file_sha256(path, 0, one, &err), SD_OK);
    assert_int_equal(sd_file_sha256(again, 0, two, &err), SD_OK);
    assert_string_equal(one, two);

    assert_int_equal(sd_safetensors_write(path, NULL, 0, NULL, 0, &err), SD_OK);
    assert_int_equal(sd_safetensors_open(path, &file, &err), SD_OK);
    assert_int_equal(sd_safetensors_count(file), 0);
    assert_null(sd_safetensors_find(file, "w"));
    sd_safetensors_close(&file);
}

/* Gives the bytes of a tensor whose own are not looked at. */
static sd_status fill(void *user, const sd_file_tensor *t, uint64_t first, void *out, size_t size,
                      sd_error *err) {
    const sd_file_tensor *whole = user;
    assert_true(!t->data && size <= 4 << 20);
    memcpy(out, whole->data + first, size);
    return strcmp(t->name, "bad") ? SD_OK : sd_fail(err, SD_E_NUMERIC, "value 7 is NaN");
}

static void tensors_may_be_produced_in_pieces(void **state) {
    (void)state;
    enum { values = 3 << 19 };
    static float numbers[values];
    for (size_t i = 0; i < values; i++)
        numbers[i] = (float)i;
    sd_file_tensor t = {.name = "large",
                        .dtype = SD_FILE_F32,
                        .rank = 1,
                        .shape = {values},
                        .data = (const uint8_t *)numbers,
                        .bytes = sizeof numbers};
    const char *path = in_folder("whole.safetensors"), *again = in_folder("pieces.safetensors");
    char one[SD_SHA256_HEX], two[SD_SHA256_HEX];
    sd_file_tensor hollow = t;
    const struct sd_tensor_producer producer = {&t, fill};
    sd_error err;
    hollow.data = NULL;
    assert_int_equal(sd_safetensors_write(path, &t, 1, NULL, 0, &err), SD_OK);
    assert_int_equal(sd_safetensors_produce(again, &hollow, 1, NULL, 0, &producer, &err), SD_OK);
    assert_int_equal(sd_file_sha256(path, 0, one, &err), SD_OK);
    assert_int_equal(sd_file_sha256(again, 0, two, &err), SD_OK);
    assert_string_equal(one, two);
    hollow.name = "bad";
    path = in_folder("none.safetensors");
    assert_int_equal(sd_safetensors_produce(path, &hollow, 1, NULL, 0, &producer, &err), SD_E_NUMERIC);
    assert_string_equal(err.message, "value 7 is NaN");
    assert_int_equal(access(path, F_OK), -1);
}

static void wrong_tensors_are_not_written(void **state) {
    (void)state;
    sd_file_tensor twice[] = {bytes_tensor("a", "x"), bytes_tensor("a", "y")};
    sd_file_tensor size = bytes_tensor("a", "x"), reserved = bytes_tensor("__metadata__", "x"),
                   name = bytes_tensor("\xFF", "x"), quantised = bytes_tensor("a", "x");
    const sd_file_metadata keys[] = {{"k", "1"}, {"k", "2"}};
    sd_error err;
    size.bytes = 2;
    assert_int_equal(sd_safetensors_write("/x", twice, 2, NULL, 0, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "/x: cannot be written: 'a' is given twice");
    assert_int_equal(sd_safetensors_write("/x", twice, 1, keys, 2, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "/x: cannot be written: 'k' is given twice");
    assert_int_equal(sd_safetensors_write("/x", &size, 1, NULL, 0, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message,
                        "/x: cannot be written: the 2 bytes of tensor 'a' do not match its shape and type");
    assert_int_equal(sd_safetensors_write("/x", &reserved, 1, NULL, 0, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "/x: cannot be written: a tensor is named __metadata__");
    assert_int_equal(sd_safetensors_write("/x", &name, 1, NULL, 0, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "/x: cannot be written: a name or value is not well-formed UTF-8");
    quantised.dtype = SD_FILE_Q8_0;
    assert_int_equal(sd_safetensors_write("/x", &quantised, 1, NULL, 0, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message,
                        "/x: cannot be written: tensor 'a' is Q8_0, which only GGUF files can hold");
    assert_int_equal(access("/x", F_OK), -1);
}

static void an_index_looks_like_one_file(void **state) {
    (void)state;
    const sd_file_tensor one[] = {bytes_tensor("b", "B"), bytes_tensor("c", "CC")},
                         two[] = {bytes_tensor("a", "AAA")};
    const sd_file_metadata pt = {"format", "pt"};
    const char *index = in_folder("m.safetensors.index.json");
    sd_safetensors *file;
    sd_error err = {0};
    assert_int_equal(sd_safetensors_write(in_folder("1.safetensors"), one, 2, &pt, 1, &err), SD_OK);
    assert_int_equal(sd_safetensors_write(in_folder("2.safetensors"), two, 1, &pt, 1, &err), SD_OK);
    write_text(index, "{\"metadata\":{\"total_size\":6},\"weight_map\":{\"a\":\"2.safetensors\","
                      "\"b\":\"1.safetensors\",\"c\":\"1.safetensors\"}}\n");
    assert_int_equal(sd_safetensors_open_index(index, &file, &err), SD_OK);
    assert_int_equal(sd_safetensors_count(file), 3);
    assert_memory_equal(sd_safetensors_find(file, "a")->data, "AAA", 3);
    assert_memory_equal(sd_safetensors_find(file, "c")->data, "CC", 2);
    assert_string_equal(sd_safetensors_at(file, 2)->name, "a");
    assert_string_equal(sd_safetensors_metadata(file, "format"), "pt");
    sd_safetensors_close(&file);
}

static void broken_indexes_are_explained(void **state) {
    (void)state;
    static const struct {
        const char *text;
        sd_status status;
        const char *message; /* "@" stands for the folder */
    } rows[] = {
        {"", SD_E_FORMAT, "@/i.json: expected an object, found the end of the text at byte 0"},
        {"{}", SD_E_FORMAT, "@/i.json: weight_map is missing"},
        {"{\"weight_map\":{}}", SD_E_FORMAT, "@/i.json: weight_map is empty"},
        {"{\"weight_map\":[]}", SD_E_FORMAT, "@/i.json: expected weight_map as an object"},
        {"{\"weight_map\":{\"b\":1}}", SD_E_FORMAT, "@/i.json: weight_map: expected a file name for 'b'"},
        {"{\"weight_map\":{\"b\":\"1.safetensors\"},\"weight_map\":{\"b\":\"1.safetensors\"}}", SD_E_FORMAT,
         "@/i.json: weight_map is given twice"},
        {"{\"weight_map\":{\"b\":\"../1.safetensors\"}}", SD_E_FORMAT,
         "@/i.json: weight_map: expected a file name without folders for 'b', found '../1.safetensors'"},
        {"{\"weight_map\":{\"b\":\"3.safetensors\"}}", SD_E_NOT_FOUND,
         "@/i.json: its shard @/3.safetensors is missing"},
        {"{\"weight_map\":{\"b\":\"i.json\"}}", SD_E_FORMAT,
         "@/i.json: expected a safetensors header of at most 100000000 bytes, found 8388068008349082235"},
        {"{\"weight_map\":{\"x\":\"1.safetensors\"}}", SD_E_FORMAT,
         "@/i.json: weight_map: tensor 'x' is not in @/1.safetensors"},
        {"{\"weight_map\":{\"b\":\"1.safetensors\"}}", SD_E_FORMAT,
         "@/i.json: tensor 'c' of @/1.safetensors is not in the weight_map"},
        {"{\"weight_map\":{\"b\":\"1.safetensors\",\"c\":\"1.safetensors\",\"b\":\"1.safetensors\"}}",
         SD_E_FORMAT, "@/i.json: weight_map: 'b' is given twice"},
        {"{\"weight_map\":{\"b\":\"1.safetensors\",\"c\":\"1.safetensors\",\"b\":\"copy.safetensors\","
         "\"c\":\"copy.safetensors\"}}",
         SD_E_FORMAT, "@/i.json: weight_map: 'b' is given twice"},
    };
    const sd_file_tensor one[] = {bytes_tensor("b", "B"), bytes_tensor("c", "CC")};
    sd_error err;
    assert_int_equal(sd_safetensors_write(in_folder("1.safetensors"), one, 2, NULL, 0, &err), SD_OK);
    assert_int_equal(sd_safetensors_write(in_folder("copy.safetensors"), one, 2, NULL, 0, &err), SD_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_str expected = {0};
        sd_safetensors *file;
        for (const char *p = rows[i].message; *p; p++)
            sd_str_append_bytes(&expected, *p == '@' ? folder : p, *p == '@' ? strlen(folder) : 1);
        write_text(in_folder("i.json"), rows[i].text);
        assert_int_equal(sd_safetensors_open_index(in_folder("i.json"), &file, &err), rows[i].status);
        assert_string_equal(err.message, expected.text);
        assert_null(file);
        sd_str_clear(&expected);
    }
}

/* A checkpoint's header of 2,000 tensors opens in a few milliseconds; the bound leaves room for sanitizers.
 */
static void large_headers_open_fast(void **state) {
    (void)state;
    enum { count = 2000 };
    static sd_file_tensor tensors[count];
    static char names[count][80];
    struct timespec a, b;
    sd_safetensors *file;
    sd_error err;
    const char *path = in_folder("large.safetensors");
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i],
                 "model.diffusion_model.output_blocks.%d.1.transformer_blocks.to_q.weight", i);
        tensors[i] = bytes_tensor(names[i], "0123456789");
    }
    assert_int_equal(sd_safetensors_write(path, tensors, count, NULL, 0, &err), SD_OK);
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(sd_safetensors_open(path, &file, &err), SD_OK);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
    print_message("opened %d tensors in %.2f ms\n", count, ms);
    assert_true(ms < 250);
    for (int i = 0; i < count; i++)
        assert_string_equal(sd_safetensors_find(file, names[i])->name, names[i]);
    sd_safetensors_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_headers_are_explained),      cmocka_unit_test(broken_lengths_are_explained),
        cmocka_unit_test(wrong_files_are_explained),         cmocka_unit_test(every_dtype_is_read),
        cmocka_unit_test(written_files_read_back),           cmocka_unit_test(wrong_tensors_are_not_written),
        cmocka_unit_test(an_index_looks_like_one_file),      cmocka_unit_test(broken_indexes_are_explained),
        cmocka_unit_test(tensors_may_be_produced_in_pieces), cmocka_unit_test(large_headers_open_fast),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
