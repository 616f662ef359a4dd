/* Every format looks the same, and is told by what the file holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "sd/io/gguf.h"
#include "sd/io/safetensors.h"
#include "sd/io/tensor_file.h"
#include "tests/unit/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t content[64] = {1, 2, 3, 4, 5, 6, 7, 8};

static const sd_file_tensor two[] = {
    {.name = "b", .dtype = SD_FILE_F16, .rank = 2, .shape = {2, 8}, .data = content, .bytes = 32},
    {.name = "a", .dtype = SD_FILE_F32, .rank = 1, .shape = {2}, .data = content, .bytes = 8},
};

static void check(const char *path, const char *format, const char *title) {
    sd_tensor_file *file;
    sd_error err;
    if (sd_tensor_file_open(path, &file, &err))
        fail_msg("%s", err.message);
    assert_string_equal(sd_tensor_file_format(file), format);
    assert_int_equal(sd_tensor_file_count(file), 2);
    for (size_t i = 0; i < 2; i++) {
        const sd_file_tensor *t = sd_tensor_file_find(file, two[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, two[i].dtype);
        assert_int_equal(t->rank, two[i].rank);
        assert_memory_equal(t->shape, two[i].shape, t->rank * sizeof *t->shape);
        assert_memory_equal(t->data, content, two[i].bytes);
        assert_non_null(sd_tensor_file_at(file, i));
    }
    assert_null(sd_tensor_file_at(file, 2));
    assert_null(sd_tensor_file_find(file, "c"));
    assert_int_equal(sd_tensor_file_metadata_count(file), 1);
    assert_string_equal(sd_tensor_file_metadata_at(file, 0)->key, "title");
    assert_string_equal(sd_tensor_file_metadata(file, "title"), title);
    assert_null(sd_tensor_file_metadata_at(file, 1));
    assert_null(sd_tensor_file_metadata(file, "none"));
    sd_tensor_file_close(&file);
    assert_null(file);
    sd_tensor_file_close(&file);
}

static void the_content_decides(void **state) {
    sd_gguf_values values = {0};
    sd_error err;
    (void)state;
    sd_gguf_add_string(&values, "title", "G");
    assert_int_equal(sd_gguf_write(in_folder("g.safetensors"), two, 2, &values, NULL, &err), SD_OK);
    sd_gguf_values_clear(&values);
    const sd_file_metadata title = {"title", "S"};
    assert_int_equal(sd_safetensors_write(in_folder("s.gguf"), two, 2, &title, 1, &err), SD_OK);
    const char *index = " \n{\"weight_map\":{\"a\":\"s.gguf\",\"b\":\"s.gguf\"}}";
    assert_int_equal(sd_file_write(in_folder("i"), index, strlen(index), &err), SD_OK);
    check(in_folder("g.safetensors"), "GGUF", "G");
    check(in_folder("s.gguf"), "safetensors", "S");
    check(in_folder("i"), "safetensors", "S");
}

static void files_of_torch_save_look_the_same(void **state) {
    static const char name[] = "model.diffusion_model.out.2.weight";
    sd_tensor_file *file;
    sd_error err;
    (void)state;
    if (sd_tensor_file_open(SDVK_SOURCE_DIR "/tests/golden/pickles/lightning.ckpt", &file, &err))
        fail_msg("%s", err.message);
    assert_string_equal(sd_tensor_file_format(file), "PyTorch");
    assert_int_equal(sd_tensor_file_find(file, name)->bytes, 4 * 8 * 3 * 3 * 2);
    assert_non_null(sd_tensor_file_at(file, sd_tensor_file_count(file) - 1));
    assert_null(sd_tensor_file_at(file, sd_tensor_file_count(file)));
    assert_string_equal(sd_tensor_file_metadata(file, "epoch"), "13");
    sd_tensor_file_close(&file);
}

/* The length of a safetensors header may look like the brace of a JSON text. */
static void a_length_is_no_brace(void **state) {
    char name[64] = {0};
    sd_file_tensor t = {
        .name = name, .dtype = SD_FILE_U8, .rank = 1, .shape = {1}, .data = content, .bytes = 1};
    sd_bytes bytes;
    sd_tensor_file *file;
    sd_error err;
    (void)state;
    memset(name, 'n', 40);
    assert_int_equal(sd_safetensors_write(in_folder("n"), &t, 1, NULL, 0, &err), SD_OK);
    assert_int_equal(sd_file_read(in_folder("n"), 0, &bytes, &err), SD_OK);
    assert_true(bytes.data[0] <= '{' && bytes.size == 9u + bytes.data[0]);
    /* Blanks may follow the header. */
    size_t more = '{' - bytes.data[0];
    uint8_t longer[512];
    memcpy(longer, bytes.data, bytes.size - 1);
    memset(longer + bytes.size - 1, ' ', more);
    longer[bytes.size - 1 + more] = 9;
    longer[0] = '{';
    assert_int_equal(sd_file_write(in_folder("n"), longer, bytes.size + more, &err), SD_OK);
    if (sd_tensor_file_open(in_folder("n"), &file, &err))
        fail_msg("%s", err.message);
    assert_int_equal(sd_tensor_file_at(file, 0)->data[0], 9);
    sd_tensor_file_close(&file);
    sd_bytes_clear(&bytes);
}

static void errors_are_the_formats_own(void **state) {
    static const struct {
        const char *bytes;
        size_t size;
        sd_status status;
        const char *message;
    } rows[] = {
        {"GGUF\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, SD_E_UNSUPPORTED,
         "expected GGUF version 2 or 3, found 1"},
        {"GGUF", 4, SD_E_FORMAT, "expected a GGUF file, found only 4 bytes"},
        {"PK\3\4", 4, SD_E_FORMAT, "the zip archive has no end: the file is cut short or damaged"},
        {"{}", 2, SD_E_FORMAT, "weight_map is missing"},
        {"{\"a\": {}}", 9, SD_E_FORMAT, "weight_map is missing"},
        {"\2\0\0\0\0\0\0\0{}x", 11, SD_E_FORMAT,
         "header: the tensors end at byte 0 of the data, the file holds 1"},
        {"some text", 9, SD_E_FORMAT,
         "expected a safetensors header of at most 100000000 bytes, found 8675467939688574835"},
        {"\0", 1, SD_E_FORMAT, "expected a safetensors file, found only 1 bytes"},
        {"", 0, SD_E_FORMAT, "the file is empty"},
    };
    char expected[256];
    sd_tensor_file *file;
    sd_error err;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = in_folder("broken");
        assert_int_equal(sd_file_write(path, rows[i].bytes, rows[i].size, &err), SD_OK);
        snprintf(expected, sizeof expected, "%s: %s", path, rows[i].message);
        assert_int_equal(sd_tensor_file_open(path, &file, &err), rows[i].status);
        assert_string_equal(err.message, expected);
        assert_null(file);
    }
    assert_int_equal(sd_tensor_file_open(in_folder("missing"), &file, &err), SD_E_NOT_FOUND);
    assert_int_equal(sd_tensor_file_open(folder, &file, &err), SD_E_FORMAT);
}

static void names(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"acme.safetensors", "acme"},
        {"a/b/style.v2.PT", "style.v2"},
        {"models/v1.5", "v1.5"},
        {"models/v1.5//", "v1.5"},
        {"notes.txt", "notes.txt"},
        {".safetensors", ".safetensors"},
        {"/", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[64];
        sd_tensor_file_name(rows[i][0], name, sizeof name);
        assert_string_equal(name, rows[i][1]);
    }
    char cut[4];
    sd_tensor_file_name("folder/abcdef", cut, sizeof cut);
    assert_string_equal(cut, "abc");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(the_content_decides),
        cmocka_unit_test(files_of_torch_save_look_the_same),
        cmocka_unit_test(a_length_is_no_brace),
        cmocka_unit_test(errors_are_the_formats_own),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
