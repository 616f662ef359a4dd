/* Checkpoints that do not have what a network needs: the exact sentences. */
#include "sd/base/str.h"
#include "tests/op/optest.h"
#include "tests/unit/nn/checkpoint.h"

static const float zeros[16 * 8 * 9];

#define TENSOR(type, rank_, ...)                                                                             \
    { .dtype = type, .rank = rank_, .shape = {__VA_ARGS__}, .data = zeros, .bytes = sizeof zeros }

/* Everything that `bind` names, in order. */
static const struct stored good[] = {
    {"linear.weight", TENSOR(SD_F32, 2, 16, 8)},     {"linear.bias", TENSOR(SD_F32, 1, 16)},
    {"conv.weight", TENSOR(SD_F16, 4, 16, 8, 3, 3)}, {"conv.bias", TENSOR(SD_F32, 1, 16)},
    {"at.to_q.weight", TENSOR(SD_F32, 2, 4, 8)},     {"at.to_k.weight", TENSOR(SD_F32, 2, 4, 8)},
    {"norm.weight", TENSOR(SD_F32, 1, 8)},           {"norm.bias", TENSOR(SD_F32, 1, 8)},
    {"geglu.weight", TENSOR(SD_F32, 2, 6, 8)},       {"geglu.bias", TENSOR(SD_F32, 1, 6)},
    {"up.weight", TENSOR(SD_BF16, 4, 4, 8, 3, 3)},   {"up.bias", TENSOR(SD_F32, 1, 4)},
    {"table", TENSOR(SD_F8_E4M3, 2, 10, 8)},         {NULL, {0}},
};

enum { good_count = sizeof good / sizeof *good - 1 };

static sd_weights *bind(void) {
    sd_weights *w;
    sd_error err;
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    sd_bind_linear(w, 16, 8, true, "linear");
    sd_bind_conv(w, 16, 8, 3, "conv");
    sd_bind_stack(w, 4, 8, false, (const char *const[]){"to_q", "to_k", NULL}, "at.");
    sd_bind_norm(w, 8, "norm");
    sd_bind_geglu(w, 6, 8, "geglu");
    sd_bind_upsample(w, 4, 8, "up");
    sd_bind_table(w, 10, 8, "table");
    return w;
}

/* Loads the list; on failure no weight may pass for loaded. */
static sd_status load(sd_vk *vk, const struct stored *list, sd_error *err) {
    sd_weights *w = bind();
    const struct sd_weight_source source = {
        .label = "model.safetensors", .user = (void *)list, .find = find_stored};
    sd_status status = sd_weights_load(w, vk, &source, SD_WEIGHTS_LOSSLESS, err);
    for (size_t i = 0; i < sd_weights_count(w); i++)
        assert_int_equal(sd_weights_at(w, i)->address != 0, status == SD_OK);
    sd_weights_destroy(vk, &w);
    return status;
}

static void copy_good(struct stored list[good_count + 1]) {
    memcpy(list, good, sizeof good);
}

static struct stored *named(struct stored *list, const char *name) {
    while (list->name && strcmp(list->name, name))
        list++;
    assert_non_null(list->name);
    return list;
}

static void everything_is_there(void **state) {
    sd_error err = {SD_OK, ""};
    if (load(*state, good, &err))
        fail_msg("%s", err.message);
}

/* ---- missing tensors ---- */

static void expect_missing(sd_vk *vk, const char *const *gone, const char *message) {
    struct stored list[good_count + 1];
    sd_error err;
    copy_good(list);
    for (; *gone; gone++)
        named(list, *gone)->name = "renamed";
    assert_int_equal(load(vk, list, &err), SD_E_FORMAT);
    assert_string_equal(err.message, message);
}

static void missing_tensors_are_listed(void **state) {
    expect_missing(*state, (const char *const[]){"conv.bias", NULL},
                   "model.safetensors: 1 tensor is missing: conv.bias");
    expect_missing(*state, (const char *const[]){"at.to_k.weight", "linear.weight", NULL},
                   "model.safetensors: 2 tensors are missing: linear.weight, at.to_k.weight");
    expect_missing(*state, (const char *const[]){"table", "conv.bias", "norm.weight", NULL},
                   "model.safetensors: 3 tensors are missing: conv.bias, norm.weight, table");
    expect_missing(*state, (const char *const[]){"table", "conv.bias", "norm.weight", "norm.bias", NULL},
                   "model.safetensors: 4 tensors are missing: conv.bias, norm.weight, norm.bias and 1 more");
    const struct stored nothing[] = {{NULL, {0}}};
    sd_error err;
    assert_int_equal(load(*state, nothing, &err), SD_E_FORMAT);
    assert_string_equal(err.message, "model.safetensors: 13 tensors are missing: linear.weight, linear.bias, "
                                     "conv.weight and 10 more");
}

/* ---- wrong tensors ---- */

static const struct {
    struct stored changed;
    sd_status status;
    const char *message; /* "" where the tensor is good */
} changes[] = {
    {{"linear.weight", TENSOR(SD_F32, 2, 8, 16)}, SD_E_FORMAT, "expected the shape [16,8], found [8,16]"},
    {{"linear.weight", TENSOR(SD_F32, 1, 128)}, SD_E_FORMAT, "expected the shape [16,8], found [128]"},
    {{"linear.weight", TENSOR(SD_F32, 4, 16, 8, 1, 1)}, SD_OK, ""},
    {{"linear.weight", TENSOR(SD_F32, 3, 16, 8, 1)}, SD_OK, ""},
    {{"linear.weight", TENSOR(SD_F32, 4, 16, 8, 3, 3)},
     SD_E_FORMAT,
     "expected the shape [16,8], found [16,8,3,3]"},
    {{"linear.weight", TENSOR(SD_F32, 4, 16, 8, 1, 2)},
     SD_E_FORMAT,
     "expected the shape [16,8], found [16,8,1,2]"},
    {{"linear.weight", TENSOR(SD_F32, 4, 1, 1, 16, 8)},
     SD_E_FORMAT,
     "expected the shape [16,8], found [1,1,16,8]"},
    {{"linear.bias", TENSOR(SD_F32, 1, 15)}, SD_E_FORMAT, "expected the shape [16], found [15]"},
    {{"linear.bias", TENSOR(SD_F32, 2, 1, 16)}, SD_E_FORMAT, "expected the shape [16], found [1,16]"},
    {{"linear.bias", TENSOR(SD_F32, 2, 16, 1)}, SD_OK, ""},
    {{"linear.bias", {.dtype = SD_F32, .data = zeros, .bytes = 4}},
     SD_E_FORMAT,
     "expected the shape [16], found []"},
    {{"conv.weight", TENSOR(SD_F16, 2, 16, 8)}, SD_E_FORMAT, "expected the shape [16,8,3,3], found [16,8]"},
    {{"conv.weight", TENSOR(SD_F16, 4, 16, 8, 1, 9)},
     SD_E_FORMAT,
     "expected the shape [16,8,3,3], found [16,8,1,9]"},
    {{"at.to_k.weight", TENSOR(SD_F32, 2, 8, 8)}, SD_E_FORMAT, "expected the shape [4,8], found [8,8]"},
    {{"norm.weight", TENSOR(SD_F32, 1, UINT64_C(1) << 32 | 8)},
     SD_E_FORMAT,
     "expected the shape [8], found [4294967304]"},
    {{"geglu.weight", TENSOR(SD_F32, 2, 3, 8)}, SD_E_FORMAT, "expected the shape [6,8], found [3,8]"},
    {{"up.weight", TENSOR(SD_F32, 4, 4, 8, 2, 2)},
     SD_E_FORMAT,
     "expected the shape [4,8,3,3], found [4,8,2,2]"},
    {{"table", TENSOR(SD_F32, 2, 9, 8)}, SD_E_FORMAT, "expected the shape [10,8], found [9,8]"},
    {{"linear.weight", TENSOR(SD_I32, 2, 16, 8)},
     SD_E_UNSUPPORTED,
     "expected F32, F16, BF16, F8 or quantised values, found I32"},
    {{"linear.bias", TENSOR(SD_F64, 1, 16)},
     SD_E_UNSUPPORTED,
     "expected F32, F16, BF16, F8 or quantised values, found F64"},
    {{"table", TENSOR(SD_U8, 2, 10, 8)},
     SD_E_UNSUPPORTED,
     "expected F32, F16, BF16, F8 or quantised values, found U8"},
    {{"norm.bias", TENSOR(SD_F8_E5M2, 1, 8)}, SD_OK, ""},
    {{"norm.bias", TENSOR(SD_BF16, 1, 8)}, SD_OK, ""},
};

static void wrong_tensors_are_described(void **state) {
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct stored list[good_count + 1];
        sd_error err = {SD_OK, ""};
        sd_str expected = {0};
        copy_good(list);
        named(list, changes[i].changed.name)->raw = changes[i].changed.raw;
        sd_status status = load(*state, list, &err);
        if (status)
            sd_str_printf(&expected, "model.safetensors: tensor %s: ", changes[i].changed.name);
        sd_str_append(&expected, changes[i].message);
        assert_string_equal(err.message, expected.text);
        assert_int_equal(status, changes[i].status);
        sd_str_clear(&expected);
    }
}

/* A wrong shape says more than a missing tensor: the file is of another model. */
static void wrong_shapes_come_first(void **state) {
    struct stored list[good_count + 1];
    sd_error err;
    copy_good(list);
    named(list, "linear.weight")->name = "renamed";
    named(list, "table")->raw.shape[0] = 11;
    assert_int_equal(load(*state, list, &err), SD_E_FORMAT);
    assert_string_equal(err.message,
                        "model.safetensors: tensor table: expected the shape [10,8], found [11,8]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_there),
        cmocka_unit_test(missing_tensors_are_listed),
        cmocka_unit_test(wrong_tensors_are_described),
        cmocka_unit_test(wrong_shapes_come_first),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
