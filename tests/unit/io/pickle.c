/* Every file of tests/golden/pickles against what torch put into it (tests/golden/pickles.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "sd/io/pickle.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#define FOLDER SDVK_SOURCE_DIR "/tests/golden/pickles/"

static cJSON *expected_files(void) {
    sd_bytes text;
    sd_error err;
    assert_int_equal(sd_file_read(FOLDER "expected.json", 0, &text, &err), SD_OK);
    cJSON *json = cJSON_ParseWithLength((const char *)text.data, text.size);
    sd_bytes_clear(&text);
    assert_non_null(json);
    assert_true(cJSON_GetArraySize(json) >= 25);
    return json;
}

static const char *text_of(const cJSON *object, const char *name) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    assert_non_null(text);
    return text;
}

static void assert_tensor(const sd_file_tensor *t, const cJSON *want, const sd_bytes *file) {
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(want, "shape");
    char hex[SD_SHA256_HEX];
    sd_error err;
    assert_non_null(t);
    assert_string_equal(sd_file_dtype_name(t->dtype), text_of(want, "dtype"));
    assert_int_equal(t->rank, cJSON_GetArraySize(shape));
    for (uint32_t d = 0; d < t->rank; d++)
        assert_int_equal(t->shape[d], (uint64_t)cJSON_GetArrayItem(shape, (int)d)->valuedouble);
    assert_int_equal(sd_sha256(t->data, (size_t)t->bytes, hex, &err), SD_OK);
    assert_string_equal(hex, text_of(want, "sha256"));
    if (t->bytes) {
        bool inside = t->data >= file->data && t->data < file->data + file->size;
        assert_int_equal(!inside, cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(want, "copied")));
    }
}

static void assert_file(const sd_pickle *file, const cJSON *want, const sd_bytes *bytes) {
    const cJSON *tensors = cJSON_GetObjectItemCaseSensitive(want, "tensors"), *item;
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(want, "metadata");
    assert_string_equal(sd_pickle_root(file), text_of(want, "root"));
    assert_int_equal(sd_pickle_left_out(file), cJSON_GetObjectItemCaseSensitive(want, "left_out")->valueint);
    assert_int_equal(sd_pickle_count(file), cJSON_GetArraySize(tensors));
    cJSON_ArrayForEach(item, tensors) assert_tensor(sd_pickle_find(file, item->string), item, bytes);
    for (size_t i = 0; i < sd_pickle_count(file); i++)
        assert_ptr_equal(sd_pickle_find(file, sd_pickle_at(file, i)->name), sd_pickle_at(file, i));
    assert_null(sd_pickle_at(file, sd_pickle_count(file)));
    assert_null(sd_pickle_find(file, "no such tensor"));
    assert_int_equal(sd_pickle_metadata_count(file), cJSON_GetArraySize(metadata));
    cJSON_ArrayForEach(item, metadata) {
        const char *value = sd_pickle_metadata(file, item->string);
        assert_non_null(value);
        assert_string_equal(value, item->valuestring);
    }
    assert_null(sd_pickle_metadata_at(file, sd_pickle_metadata_count(file)));
    assert_null(sd_pickle_metadata(file, "no such key"));
}

static void files_hold_what_torch_saved(void **state) {
    cJSON *files = expected_files(), *item;
    (void)state;
    cJSON_ArrayForEach(item, files) {
        char path[512];
        sd_bytes bytes;
        sd_pickle *file;
        sd_error err;
        snprintf(path, sizeof path, FOLDER "%s", item->string);
        assert_int_equal(sd_file_read(path, 0, &bytes, &err), SD_OK);
        assert_true(sd_pickle_detect(bytes.data, bytes.size));
        if (sd_pickle_parse(item->string, bytes.data, bytes.size, &file, &err))
            fail_msg("%s", err.message);
        print_message("%s\n", item->string);
        assert_file(file, item, &bytes);
        sd_pickle_close(&file);
        assert_null(file);
        sd_bytes_clear(&bytes);
    }
    cJSON_Delete(files);
}

/* The mapping outlives the call that made it. */
static void a_file_is_opened_by_its_path(void **state) {
    sd_pickle *file;
    sd_error err;
    (void)state;
    assert_int_equal(sd_pickle_open(FOLDER "lightning.ckpt", &file, &err), SD_OK);
    assert_int_equal(sd_pickle_count(file), 4);
    const sd_file_tensor *t = sd_pickle_at(file, 1);
    assert_string_equal(t->name, "model.diffusion_model.out.2.bias");
    assert_int_equal(t->bytes, 8);
    assert_string_equal(sd_pickle_metadata_at(file, 1)->key, "global_step");
    assert_string_equal(sd_pickle_metadata_at(file, 1)->value, "470000");
    sd_pickle_close(&file);
    sd_pickle_close(&file);
    assert_int_equal(sd_pickle_open(FOLDER "missing", &file, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message, FOLDER "missing: no such file");
    assert_null(file);
}

static void detection_knows_its_own(void **state) {
    static const struct {
        const char *bytes;
        size_t size;
        bool is;
    } rows[] = {
        {"PK\3\4", 4, true},
        {"PK\5\6", 4, true},
        {"PK\3", 3, false},
        {"\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15, true},
        {"\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50", 13, true}, /* another pickle, so far */
        {"\x80\4\x95\r\0\0\0\0\0\0\0\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 24, true},
        {"\x80\2}q\0X\4\0", 8, true},
        {"\x80\1}q\0X\4\0", 8, false},
        {"\x80\6}q\0X\4\0", 8, false},
        {"\x80\2\0\0\0\0\0\0{\"a\"", 12, false}, /* safetensors with a header of 640 bytes */
        {"\x80\2}q", 4, false},
        {"", 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sd_pickle_detect(rows[i].bytes, rows[i].size), rows[i].is);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_hold_what_torch_saved),
        cmocka_unit_test(a_file_is_opened_by_its_path),
        cmocka_unit_test(detection_knows_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
