/* GGUF files of the Python package gguf (tests/golden/quants.py), and our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "sd/io/gguf.h"
#include "sd/io/safetensors.h"
#include "tests/unit/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/quants/"

/* ---- reading ---- */

static sd_gguf *open_golden(void) {
    sd_gguf *file;
    sd_error err;
    if (sd_gguf_open(GOLDEN "blocks.gguf", &file, &err))
        fail_msg("%s", err.message);
    return file;
}

static void the_packages_tensors_are_read(void **state) {
    sd_gguf *file = open_golden();
    sd_safetensors *values;
    sd_error err;
    (void)state;
    assert_int_equal(sd_safetensors_open(GOLDEN "values.safetensors", &values, &err), SD_OK);
    assert_int_equal(sd_gguf_count(file), 15);
    for (int d = SD_FILE_Q4_0; d <= SD_FILE_IQ4_XS; d++) {
        char name[32];
        snprintf(name, sizeof name, "%s.raw", sd_file_dtype_name((sd_file_dtype)d));
        const sd_file_tensor *t = sd_gguf_find(file, sd_file_dtype_name((sd_file_dtype)d)),
                             *want = sd_safetensors_find(values, name);
        assert_non_null(t);
        assert_int_equal(t->dtype, d);
        assert_int_equal(t->rank, 2);
        assert_int_equal(t->shape[0], 4);
        assert_int_equal(t->shape[1] * 4,
                         want->bytes * 8 / sd_file_dtype_bits(t->dtype) * sd_file_dtype_block(t->dtype));
        assert_int_equal(t->bytes, want->bytes);
        assert_memory_equal(t->data, want->data, t->bytes);
    }
    const sd_file_tensor *f32 = sd_gguf_find(file, "f32"), *f16 = sd_gguf_find(file, "f16"),
                         *reshaped = sd_gguf_find(file, "reshaped");
    const uint64_t shape[] = {3, 2, 5}, restored[] = {2, 4, 8, 8};
    assert_int_equal(f32->dtype, SD_FILE_F32);
    assert_int_equal(f16->dtype, SD_FILE_F16);
    assert_int_equal(f32->rank, 3);
    assert_memory_equal(f32->shape, shape, sizeof shape);
    assert_memory_equal(f32->data, sd_safetensors_find(values, "f32.values")->data, f32->bytes);
    assert_int_equal(reshaped->rank, 4);
    assert_memory_equal(reshaped->shape, restored, sizeof restored);
    assert_null(sd_gguf_find(file, "none"));
    assert_null(sd_gguf_at(file, 15));
    for (size_t i = 1; i < sd_gguf_count(file); i++)
        assert_true(sd_gguf_at(file, i - 1)->data < sd_gguf_at(file, i)->data);
    sd_safetensors_close(&values);
    sd_gguf_close(&file);
    assert_null(file);
    sd_gguf_close(&file);
}

static void the_packages_metadata_are_read(void **state) {
    static const struct {
        const char *key, *text;
        sd_gguf_type type;
    } rows[] = {
        {"general.architecture", "sd1", SD_GGUF_STRING},
        {"general.quantization_version", "2", SD_GGUF_U32},
        {"test.uint8", "200", SD_GGUF_U8},
        {"test.int8", "-100", SD_GGUF_I8},
        {"test.uint16", "60000", SD_GGUF_U16},
        {"test.int16", "-30000", SD_GGUF_I16},
        {"test.uint32", "4000000000", SD_GGUF_U32},
        {"test.int32", "-2000000000", SD_GGUF_I32},
        {"test.uint64", "9223372036854775808", SD_GGUF_U64},
        {"test.int64", "-4611686018427387904", SD_GGUF_I64},
        {"test.float32", "0.100000001", SD_GGUF_F32},
        {"test.float64", "0.10000000000000001", SD_GGUF_F64},
        {"test.bool", "true", SD_GGUF_BOOL},
        {"test.string",
         "Gr\xC3\xBC\xC3\x9F"
         "e",
         SD_GGUF_STRING},
        {"test.numbers", "[1, -2, 3]", SD_GGUF_ARRAY},
        {"test.words", "[a, , \xC3\xA9]", SD_GGUF_ARRAY},
        {"test.floats", "[0.5, 1e+10]", SD_GGUF_ARRAY},
        {"comfy.gguf.orig_shape.reshaped", "[2, 4, 8, 8]", SD_GGUF_ARRAY},
    };
    sd_gguf *file = open_golden();
    (void)state;
    assert_int_equal(sd_gguf_value_count(file), sizeof rows / sizeof *rows);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const sd_gguf_value *v = sd_gguf_value_find(file, rows[i].key);
        assert_ptr_equal(v, sd_gguf_value_at(file, i));
        assert_int_equal(v->type, rows[i].type);
        assert_string_equal(sd_gguf_metadata_at(file, i)->key, rows[i].key);
        assert_string_equal(sd_gguf_metadata_at(file, i)->value, rows[i].text);
    }
    assert_null(sd_gguf_value_at(file, sizeof rows / sizeof *rows));
    assert_null(sd_gguf_metadata_at(file, sizeof rows / sizeof *rows));
    assert_null(sd_gguf_value_find(file, "test"));
    sd_gguf_close(&file);
}

/* Each getter takes what it can hold and nothing else. */
static void numbers_are_converted_when_they_fit(void **state) {
    static const struct {
        const char *key;
        bool u, i, f;
        uint64_t natural;
        int64_t whole;
        double real;
    } rows[] = {
        {"test.uint8", true, true, true, 200, 200, 200},
        {"test.int8", false, true, true, 0, -100, -100},
        {"test.int16", false, true, true, 0, -30000, -30000},
        {"test.uint32", true, true, true, 4000000000, 4000000000, 4e9},
        {"test.uint64", true, false, true, UINT64_C(1) << 63, 0, 9223372036854775808.0},
        {"test.int64", false, true, true, 0, -(INT64_C(1) << 62), -4611686018427387904.0},
        {"test.float32", false, false, true, 0, 0, (double)0.1f},
        {"test.float64", false, false, true, 0, 0, 0.1},
        {"test.bool", true, true, true, 1, 1, 1},
        {"test.string", false, false, false, 0, 0, 0},
        {"test.numbers", false, false, false, 0, 0, 0},
    };
    sd_gguf *file = open_golden();
    (void)state;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const sd_gguf_value *v = sd_gguf_value_find(file, rows[k].key);
        uint64_t natural = 0;
        int64_t whole = 0;
        double real = 0;
        assert_int_equal(sd_gguf_u64(v, &natural), rows[k].u);
        assert_int_equal(sd_gguf_i64(v, &whole), rows[k].i);
        assert_int_equal(sd_gguf_f64(v, &real), rows[k].f);
        assert_true(!rows[k].u || natural == rows[k].natural);
        assert_true(!rows[k].i || whole == rows[k].whole);
        assert_true(real == rows[k].real);
    }
    const sd_gguf_value *words = sd_gguf_value_find(file, "test.words");
    static const char *const expected[] = {"a", "", "\xC3\xA9"};
    sd_gguf_value word;
    uint64_t at = 0;
    size_t n = 0;
    assert_int_equal(words->count, 3);
    for (; sd_gguf_next(words, &at, &word); n++) {
        assert_int_equal(word.type, SD_GGUF_STRING);
        assert_int_equal(word.bytes, strlen(expected[n]));
        assert_memory_equal(word.data, expected[n], word.bytes);
    }
    assert_int_equal(n, 3);
    at = 0;
    assert_false(sd_gguf_next(sd_gguf_value_find(file, "test.bool"), &at, &word));
    sd_gguf_close(&file);
}

/* ---- writing ---- */

static sd_file_tensor tensor(const char *name, sd_file_dtype dtype, uint32_t rank, const uint64_t *shape,
                             const void *data) {
    sd_file_tensor t = {.name = name, .dtype = dtype, .rank = rank, .data = data};
    for (uint32_t i = 0; i < rank; i++)
        t.shape[i] = shape[i];
    assert_true(sd_file_tensor_size(dtype, rank, t.shape, &t.bytes));
    return t;
}

static void same_tensor(const sd_file_tensor *got, const sd_file_tensor *want) {
    assert_non_null(got);
    assert_int_equal(got->dtype, want->dtype);
    assert_int_equal(got->rank, want->rank);
    assert_memory_equal(got->shape, want->shape, want->rank * sizeof *want->shape);
    assert_int_equal(got->bytes, want->bytes);
    if (want->bytes)
        assert_memory_equal(got->data, want->data, want->bytes);
}

/* Every element type, every rank, rows of part blocks, nothing at all. */
enum { written = 9 };
static uint8_t some[8192];

static void fill_tensors(sd_file_tensor *t) {
    for (size_t i = 0; i < sizeof some; i++)
        some[i] = (uint8_t)(i * 7 + i / 256);
    t[0] = tensor("w", SD_FILE_F32, 2, (uint64_t[]){2, 3}, some);
    t[1] = tensor("scalar", SD_FILE_F16, 0, NULL, some + 1);
    t[2] = tensor("conv", SD_FILE_Q8_0, 4, (uint64_t[]){8, 16, 3, 3}, some);
    t[3] = tensor("conv.small", SD_FILE_Q8_0, 4, (uint64_t[]){8, 4, 3, 3}, some + 5);
    t[4] = tensor("five", SD_FILE_BF16, 5, (uint64_t[]){2, 3, 4, 5, 6}, some);
    t[5] = tensor("empty", SD_FILE_F16, 2, (uint64_t[]){0, 4}, NULL);
    t[6] = tensor("rows", SD_FILE_Q4_K, 3, (uint64_t[]){2, 3, 256}, some + 9);
    t[7] = tensor("whole", SD_FILE_I64, 1, (uint64_t[]){3}, some + 3);
    t[8] = tensor("\xC3\xA9", SD_FILE_I8, 1, (uint64_t[]){33}, some);
}

static void written_files_read_back(void **state) {
    sd_file_tensor t[written], other[written];
    sd_gguf_values values = {0};
    const char *path = in_folder("w.gguf"), *again = in_folder("again.gguf");
    sd_gguf *file, *golden = open_golden();
    sd_error err;
    (void)state;
    fill_tensors(t);
    sd_gguf_add_string(&values, "general.architecture", "sd1");
    for (size_t i = 2; i < sd_gguf_value_count(golden); i++)
        sd_gguf_add(&values, sd_gguf_value_at(golden, i));
    if (sd_gguf_write(path, t, written, &values, NULL, &err) || sd_gguf_open(path, &file, &err))
        fail_msg("%s", err.message);
    assert_int_equal(sd_gguf_count(file), written);
    for (int i = 0; i < written; i++)
        same_tensor(sd_gguf_find(file, t[i].name), &t[i]);
    /* All but the shape of a tensor that is not there, then what the writer adds. */
    size_t copied = sd_gguf_value_count(golden) - 2;
    assert_int_equal(sd_gguf_value_count(file), copied + 5);
    for (size_t i = 0; i < copied; i++) {
        const sd_gguf_value *v = sd_gguf_value_at(file, i);
        const sd_gguf_value *want = sd_gguf_value_find(golden, v->key);
        assert_int_equal(v->type, want->type);
        assert_int_equal(v->element, want->element);
        assert_int_equal(v->bytes, want->bytes);
        assert_memory_equal(v->data, want->data, v->bytes);
    }
    static const char *const added[][2] = {{"general.quantization_version", "2"},
                                           {"comfy.gguf.orig_shape.conv", "[8, 16, 3, 3]"},
                                           {"comfy.gguf.orig_shape.conv.small", "[8, 4, 3, 3]"},
                                           {"comfy.gguf.orig_shape.five", "[2, 3, 4, 5, 6]"},
                                           {"comfy.gguf.orig_shape.scalar", "[]"}};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(sd_gguf_metadata_at(file, copied + i)->key, added[i][0]);
        assert_string_equal(sd_gguf_metadata_at(file, copied + i)->value, added[i][1]);
    }
    sd_gguf_close(&file);

    /* The order of the caller does not show in the file. */
    char one[SD_SHA256_HEX], two[SD_SHA256_HEX];
    for (int i = 0; i < written; i++)
        other[i] = t[(i + 4) % written];
    assert_int_equal(sd_gguf_write(again, other, written, &values, NULL, &err), SD_OK);
    assert_int_equal(sd_file_sha256(path, 0, one, &err), SD_OK);
    assert_int_equal(sd_file_sha256(again, 0, two, &err), SD_OK);
    assert_string_equal(one, two);
    sd_gguf_values_clear(&values);
    sd_gguf_close(&golden);

    assert_int_equal(sd_gguf_write(path, NULL, 0, NULL, NULL, &err), SD_OK);
    assert_int_equal(sd_gguf_open(path, &file, &err), SD_OK);
    assert_int_equal(sd_gguf_count(file) + sd_gguf_value_count(file), 0);
    sd_gguf_close(&file);
}

static void another_alignment_is_kept(void **state) {
    sd_file_tensor t[written];
    sd_gguf_values values = {0};
    sd_gguf *file;
    sd_error err;
    (void)state;
    fill_tensors(t);
    sd_gguf_add_u32(&values, "general.alignment", 8192);
    assert_int_equal(sd_gguf_write(in_folder("a.gguf"), t, written, &values, NULL, &err), SD_OK);
    if (sd_gguf_open(in_folder("a.gguf"), &file, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < written; i++)
        same_tensor(sd_gguf_find(file, t[i].name), &t[i]);
    for (size_t i = 0; i < written; i++)
        if (sd_gguf_at(file, i)->bytes) /* the mapping begins at a page */
            assert_int_equal((uintptr_t)sd_gguf_at(file, i)->data % 4096, 0);
    sd_gguf_close(&file);
    sd_gguf_values_clear(&values);
}

/* 10 MiB in pieces that are whole blocks; what is produced is what is written. */
struct produced {
    uint64_t calls, next;
    bool fails;
};

static sd_status fill(void *user, const sd_file_tensor *t, uint64_t first, void *out, size_t size,
                      sd_error *err) {
    struct produced *p = user;
    assert_int_equal(first, p->next);
    assert_int_equal(first % 34, 0);
    assert_int_equal(size % 34, 0);
    assert_true(size <= 4 << 20);
    p->calls++;
    p->next = first + size == t->bytes ? 0 : first + size;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)out)[i] = (uint8_t)((first + i) * 31 >> 5);
    return p->fails && p->calls == 2 ? sd_fail(err, SD_E_NUMERIC, "value 7 is NaN") : SD_OK;
}

static void tensors_may_be_produced_in_pieces(void **state) {
    const uint64_t shape[] = {320, 32000};
    sd_file_tensor t = tensor("large", SD_FILE_Q8_0, 2, shape, NULL);
    struct produced p = {0};
    const struct sd_tensor_producer producer = {&p, fill};
    const char *path = in_folder("p.gguf");
    sd_gguf *file;
    sd_error err;
    (void)state;
    if (sd_gguf_write(path, &t, 1, NULL, &producer, &err) || sd_gguf_open(path, &file, &err))
        fail_msg("%s", err.message);
    const sd_file_tensor *got = sd_gguf_find(file, "large");
    assert_int_equal(got->bytes, 10880000);
    assert_true(p.calls > 1);
    for (uint64_t i = 0; i < got->bytes; i++)
        if (got->data[i] != (uint8_t)(i * 31 >> 5))
            fail_msg("byte %llu differs", (unsigned long long)i);
    sd_gguf_close(&file);
    p = (struct produced){.fails = true};
    assert_int_equal(sd_gguf_write(in_folder("none.gguf"), &t, 1, NULL, &producer, &err), SD_E_NUMERIC);
    assert_string_equal(err.message, "value 7 is NaN");
    assert_int_equal(access(in_folder("none.gguf"), F_OK), -1);
}

static void refused(const sd_file_tensor *t, size_t count, sd_gguf_values *values, const char *message) {
    char expected[256];
    sd_error err;
    snprintf(expected, sizeof expected, "/x: cannot be written: %s", message);
    assert_int_equal(sd_gguf_write("/x", t, count, values, NULL, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, expected);
    assert_int_equal(access("/x", F_OK), -1);
    if (values)
        sd_gguf_values_clear(values);
}

static void wrong_tensors_are_not_written(void **state) {
    sd_file_tensor t[written], two[2];
    sd_gguf_values values = {0};
    (void)state;
    fill_tensors(t);
    two[0] = two[1] = t[0];
    refused(two, 2, NULL, "'w' is given twice");
    two[0].bytes = 23;
    refused(two, 1, NULL, "the 23 bytes of tensor 'w' do not match its shape and type");
    two[0] = t[0];
    two[0].data = NULL;
    refused(two, 1, NULL, "the 24 bytes of tensor 'w' do not match its shape and type");
    two[0].name = "";
    refused(two, 1, NULL, "a tensor's name is empty or not well-formed UTF-8");
    two[0].name = "\xFF";
    refused(two, 1, NULL, "a tensor's name is empty or not well-formed UTF-8");
    two[0] = tensor("f8", SD_FILE_F8_E4M3, 1, (uint64_t[]){4}, some);
    refused(two, 1, NULL, "tensor 'f8' is F8_E4M3, which GGUF files cannot hold");
    two[0] = tensor("huge", SD_FILE_I8, 5, (uint64_t[]){1, 1, 1, 1, UINT64_C(1) << 31}, some);
    refused(two, 1, NULL, "a dimension of tensor 'huge' is over 2^31-1 and the tensor has to be reshaped");
    sd_gguf_add_u32(&values, "k", 1);
    sd_gguf_add_u32(&values, "k", 2);
    refused(t, 1, &values, "metadata 'k' is given twice");
    sd_gguf_add_u32(&values, "\xFF", 1);
    refused(t, 1, &values, "a metadata key is empty or not well-formed UTF-8");
    sd_gguf_add_u32(&values, "general.alignment", 33);
    refused(t, 1, &values, "general.alignment is not a power of two up to 1048576 as U32");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_packages_tensors_are_read),
        cmocka_unit_test(the_packages_metadata_are_read),
        cmocka_unit_test(numbers_are_converted_when_they_fit),
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(another_alignment_is_kept),
        cmocka_unit_test(tensors_may_be_produced_in_pieces),
        cmocka_unit_test(wrong_tensors_are_not_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
