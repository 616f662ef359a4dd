/* Layouts of textual inversions, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clip/inversion.h"
#include "sd/base/half.h"
#include "sd/io/safetensors.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden/"
#define FILE_NAME "inversion_test.safetensors" /* in the test's working folder */

/* A tensor of zeros: rank 1 when `vectors` is 0. */
struct tensor {
    const char *name;
    sd_file_dtype dtype;
    uint64_t vectors, width;
};

static const uint8_t zeros[80 * 70000];

static void write_file(const struct tensor *tensors, size_t count) {
    sd_file_tensor list[4] = {{0}};
    sd_error err;
    for (size_t i = 0; i < count; i++) {
        sd_file_tensor *t = &list[i];
        *t = (sd_file_tensor){
            .name = tensors[i].name, .dtype = tensors[i].dtype, .rank = tensors[i].vectors ? 2 : 1};
        t->shape[0] = tensors[i].vectors ? tensors[i].vectors : tensors[i].width;
        t->shape[1] = tensors[i].width;
        t->data = zeros;
        assert_true(sd_file_tensor_size(t->dtype, t->rank, t->shape, &t->bytes));
        assert_true(t->bytes <= sizeof zeros);
    }
    assert_int_equal(sd_safetensors_write(FILE_NAME, list, count, NULL, 0, &err), SD_OK);
}

static void accept(const char *path, uint32_t encoders, uint32_t vectors, uint32_t first, uint32_t second) {
    sd_inversion x;
    sd_error err;
    if (sd_inversion_open(&x, path, &err))
        fail_msg("%s", err.message);
    assert_int_equal(x.encoders, encoders);
    assert_int_equal(x.vectors, vectors);
    assert_int_equal(x.width[0], first);
    assert_int_equal(x.width[1], second);
    for (uint32_t e = 0; e < encoders; e++)
        for (uint32_t i = 0; i < vectors * x.width[e]; i++)
            assert_true(isfinite(x.rows[e][i]));
    assert_true((x.rows[1] != NULL) == (encoders == 2));
    sd_inversion_clear(&x);
}

static void every_layout(void **state) {
    (void)state;
    accept(GOLDEN "embeddings/one.safetensors", 1, 1, 32, 0);
    accept(GOLDEN "embeddings/many.safetensors", 1, 5, 32, 0);
    accept(GOLDEN "embeddings/halves.safetensors", 1, 2, 32, 0);
    accept(GOLDEN "embeddings/two words.safetensors", 1, 2, 32, 0);
    accept(GOLDEN "embeddings/full.safetensors", 1, 75, 32, 0);
    accept(GOLDEN "embeddings/a1111.pt", 1, 3, 32, 0);
    accept(GOLDEN "embeddings/token.bin", 1, 1, 32, 0);
    accept(GOLDEN "embeddings/bare.pt", 1, 2, 32, 0);
    accept(GOLDEN "embeddings/pair.safetensors", 2, 2, 32, 48);
    accept(GOLDEN "embeddings/pickled.pt", 2, 3, 32, 48);
    /* of the oldest and the newest torch, and with the parameters of a module */
    accept(GOLDEN "pickles/inversion.pt", 1, 2, 8, 0);
    accept(GOLDEN "pickles/inversion_legacy.pt", 1, 2, 8, 0);
    accept(GOLDEN "pickles/inversion_module.pt", 1, 1, 8, 0);
    accept(GOLDEN "pickles/inversion_parameter.pt", 1, 2, 8, 0);
    /* "emb_params" wins over what trainers keep beside it, as the pair does. */
    write_file((const struct tensor[]){{"emb_params", SD_FILE_F32, 2, 5}, {"step", SD_FILE_I64, 0, 1}}, 2);
    accept(FILE_NAME, 1, 2, 5, 0);
    write_file((const struct tensor[]){{"clip_g", SD_FILE_F16, 0, 7},
                                       {"clip_l", SD_FILE_F16, 1, 5},
                                       {"clip_l_out", SD_FILE_F16, 1, 5}},
               3);
    accept(FILE_NAME, 2, 1, 5, 7);
    write_file((const struct tensor[]){{"clip_g", SD_FILE_F16, 4, 7}}, 1);
    accept(FILE_NAME, 1, 4, 7, 0);
    unlink(FILE_NAME);
}

/* The same numbers from every element type. */
static void values_of_every_type(void **state) {
    static const float values[] = {0.5f, -2, 0.25f, 96};
    double wide[4];
    uint16_t half[4], brain[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        wide[i] = (double)values[i];
        half[i] = sd_f16_from_f32(values[i]);
        brain[i] = sd_bf16_from_f32(values[i]);
    }
    const struct {
        sd_file_dtype dtype;
        const void *data;
        uint64_t bytes;
    } rows[] = {
        {SD_FILE_F32, values, 16}, {SD_FILE_F64, wide, 32}, {SD_FILE_F16, half, 8}, {SD_FILE_BF16, brain, 8}};
    for (size_t i = 0; i < 4; i++) {
        const sd_file_tensor t = {.name = "x",
                                  .dtype = rows[i].dtype,
                                  .rank = 2,
                                  .shape = {2, 2},
                                  .data = rows[i].data,
                                  .bytes = rows[i].bytes};
        sd_inversion x;
        sd_error err;
        assert_int_equal(sd_safetensors_write(FILE_NAME, &t, 1, NULL, 0, &err), SD_OK);
        assert_int_equal(sd_inversion_open(&x, FILE_NAME, &err), SD_OK);
        assert_memory_equal(x.rows[0], values, sizeof values);
        sd_inversion_clear(&x);
    }
    unlink(FILE_NAME);
}

static void refuse(const struct tensor *tensors, size_t count, sd_status want, const char *message) {
    sd_inversion x;
    sd_error err;
    write_file(tensors, count);
    assert_int_equal(sd_inversion_open(&x, FILE_NAME, &err), want);
    assert_string_equal(err.message, message);
    assert_true(!x.rows[0] && !x.rows[1]);
}

static void what_is_none(void **state) {
    sd_inversion x;
    sd_error err;
    (void)state;
    refuse((const struct tensor[]){{"x", SD_FILE_F32, 76, 4}}, 1, SD_E_FORMAT,
           FILE_NAME ": tensor x: expected 1 to 75 vectors, found [76,4]");
    refuse((const struct tensor[]){{"x", SD_FILE_I64, 2, 4}}, 1, SD_E_UNSUPPORTED,
           FILE_NAME ": tensor x: expected F32, F16, BF16 or F64 values, found I64");
    refuse((const struct tensor[]){{"x", SD_FILE_F8_E4M3, 2, 4}}, 1, SD_E_UNSUPPORTED,
           FILE_NAME ": tensor x: expected F32, F16, BF16 or F64 values, found F8_E4M3");
    refuse((const struct tensor[]){{"x", SD_FILE_F32, 0, 0}}, 1, SD_E_FORMAT,
           FILE_NAME ": tensor x: expected the shape [width] or [vectors,width], found [0]");
    refuse((const struct tensor[]){{"x", SD_FILE_F16, 1, 65537}}, 1, SD_E_FORMAT,
           FILE_NAME ": tensor x: expected the shape [width] or [vectors,width], found [1,65537]");
    refuse((const struct tensor[]){{"clip_g", SD_FILE_F32, 2, 4}, {"clip_l", SD_FILE_F32, 3, 4}}, 2,
           SD_E_FORMAT, FILE_NAME ": expected as many vectors in clip_g as in clip_l, found 2 and 3");
    refuse((const struct tensor[]){{"a", SD_FILE_F32, 2, 4}, {"b", SD_FILE_F32, 2, 4}}, 2, SD_E_UNSUPPORTED,
           FILE_NAME ": expected an embedding, which holds one tensor or clip_l and clip_g, found 2 (a, b)");
    refuse(
        (const struct tensor[]){
            {"a", SD_FILE_F32, 2, 4}, {"b", SD_FILE_F32, 2, 4}, {"clip_l", SD_FILE_F32, 2, 4}},
        3, SD_E_UNSUPPORTED,
        FILE_NAME ": expected an embedding, which holds one tensor or clip_l and clip_g, found 3 (a, b ...)");
    refuse((const struct tensor[]){{"string_to_param.*", SD_FILE_F32, 2, 4},
                                   {"string_to_param.a", SD_FILE_F32, 2, 4}},
           2, SD_E_UNSUPPORTED,
           FILE_NAME ": expected an embedding, which holds one tensor or clip_l and clip_g, found 2 "
                     "(string_to_param.*, string_to_param.a)");
    refuse(NULL, 0, SD_E_UNSUPPORTED, FILE_NAME ": expected an embedding, found no tensors");
    assert_int_equal(sd_inversion_open(&x, "none.pt", &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message, "none.pt: no such file");
    assert_int_equal(sd_inversion_parse(&x, "text", "hello, I am a text", 18, &err), SD_E_FORMAT);
    assert_int_equal(strncmp(err.message, "text: ", 6), 0);
    unlink(FILE_NAME);
}

static void numbers_that_are_none(void **state) {
    static const float nan_third[] = {0, 1, NAN, 3}, infinite[] = {0, -INFINITY};
    sd_file_tensor t = {.name = "x",
                        .dtype = SD_FILE_F32,
                        .rank = 1,
                        .shape = {4},
                        .data = (const uint8_t *)nan_third,
                        .bytes = 16};
    sd_inversion x;
    sd_error err;
    (void)state;
    assert_int_equal(sd_safetensors_write(FILE_NAME, &t, 1, NULL, 0, &err), SD_OK);
    assert_int_equal(sd_inversion_open(&x, FILE_NAME, &err), SD_E_FORMAT);
    assert_string_equal(err.message, FILE_NAME ": tensor x: expected finite numbers, found NaN at value 2");
    t.shape[0] = 2;
    t.data = (const uint8_t *)infinite;
    t.bytes = 8;
    assert_int_equal(sd_safetensors_write(FILE_NAME, &t, 1, NULL, 0, &err), SD_OK);
    assert_int_equal(sd_inversion_open(&x, FILE_NAME, &err), SD_E_FORMAT);
    assert_string_equal(err.message,
                        FILE_NAME ": tensor x: expected finite numbers, found infinity at value 1");
    unlink(FILE_NAME);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout),
        cmocka_unit_test(values_of_every_type),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(numbers_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
