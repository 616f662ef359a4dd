/* Textual inversions in prompts against diffusers (tests/golden/embeddings.py), whose folder is the model
 * folder's "embeddings" here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sd/io/file.h"
#include "sd/io/safetensors.h"
#include "sd/text.h"

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden"
#define FOLDER GOLDEN "/embeddings/"

static char warning[512];

static void note(void *user, sd_log_level level, const char *text) {
    (void)user;
    if (level == SD_LOG_WARNING)
        snprintf(warning, sizeof warning, "%s", text);
}

static sd_context *open_in(const char *models) {
    sd_context *context;
    sd_error err;
    const sd_context_options options = {
        .cache_dir = "", .models = models, .log = {note, NULL, SD_LOG_WARNING}};
    if (sd_context_create(&context, &options, &err))
        fail_msg("%s", err.message);
    return context;
}

static int open_context(void **state) {
    *state = open_in(GOLDEN);
    return 0;
}

static int close_context(void **state) {
    sd_context_destroy((sd_context **)state);
    return 0;
}

static sd_model *open_model(sd_context *context, const char *family) {
    char path[512];
    sd_model *model;
    sd_error err;
    snprintf(path, sizeof path, GOLDEN "/networks/%s", family);
    if (sd_model_open(&model, context, path, &(sd_model_options){.precision = SD_PRECISION_F32}, &err))
        fail_msg("%s", err.message);
    return model;
}

static sd_status encode(sd_model *model, const sd_params *params, struct sd_conditioning *out,
                        struct sd_embeddings *embeddings, sd_error *err) {
    const char *prompts[] = {params->negative_prompt, params->prompt};
    const struct sd_watch nobody = {0};
    sd_status status = sd_embeddings_find(embeddings, model, params, err);
    return status ? status : sd_text_encode(model, prompts, 2, 0, embeddings, &nobody, out, err);
}

/* Sums of a few hundred terms in f32 on both sides, in different orders. */
static void expect_near(const char *name, const float *got, const sd_file_tensor *want, size_t count) {
    double difference = 0, norm = 0;
    assert_int_equal(want->bytes, count * sizeof *got);
    for (size_t i = 0; i < count; i++) {
        float w;
        memcpy(&w, want->data + i * sizeof w, sizeof w);
        difference += ((double)got[i] - (double)w) * ((double)got[i] - (double)w);
        norm += (double)w * (double)w;
    }
    if (!(sqrt(difference) <= 1e-4 * sqrt(norm)))
        fail_msg("%s: off by %g of its size", name, sqrt(difference / norm));
}

static void check_case(sd_context *context, const sd_safetensors *expected, const cJSON *item) {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(item, "name"));
    const sd_params params = {.prompt = cJSON_GetStringValue(cJSON_GetObjectItem(item, "prompt")),
                              .negative_prompt = cJSON_GetStringValue(cJSON_GetObjectItem(item, "negative"))};
    sd_model *model = open_model(context, cJSON_GetStringValue(cJSON_GetObjectItem(item, "model")));
    struct sd_conditioning c;
    struct sd_embeddings embeddings;
    char key[64];
    sd_error err;
    if (encode(model, &params, &c, &embeddings, &err))
        fail_msg("%s: %s", name, err.message);
    snprintf(key, sizeof key, "%s.context", name);
    const sd_file_tensor *context_of = sd_safetensors_find(expected, key);
    snprintf(key, sizeof key, "%s.pooled", name);
    const sd_file_tensor *pooled = sd_safetensors_find(expected, key);
    assert_non_null(context_of);
    expect_near(name, c.context, context_of, (size_t)c.prompts * c.tokens * c.width);
    assert_int_equal(!pooled, !c.pooled_width);
    if (pooled)
        expect_near(key, c.pooled, pooled, (size_t)c.prompts * c.pooled_width);
    sd_conditioning_clear(&c);
    sd_embeddings_clear(&embeddings);
    sd_model_close(&model);
}

static void encoded_as_by_diffusers(void **state) {
    sd_safetensors *expected;
    sd_bytes text;
    sd_error err;
    const cJSON *item;
    if (sd_file_read(FOLDER "index.json", 0, &text, &err) ||
        sd_safetensors_open(FOLDER "expected.safetensors", &expected, &err))
        fail_msg("%s", err.message);
    cJSON *index = cJSON_Parse((const char *)text.data);
    assert_int_equal(cJSON_GetArraySize(index), 7);
    cJSON_ArrayForEach(item, index) check_case(*state, expected, item);
    cJSON_Delete(index);
    sd_bytes_clear(&text);
    sd_safetensors_close(&expected);
}

/* Tokens of a text after its embeddings took their places, for the first encoder. */
static sd_token_list place(sd_model *model, struct sd_embeddings *embeddings, const char *text) {
    sd_token_list list = {0};
    sd_error err;
    const sd_params params = {.prompt = text};
    if (sd_embeddings_find(embeddings, model, &params, &err) ||
        sd_tokenizer_encode(model->text[0].tokenizer, text, strlen(text), &list, &err) ||
        sd_embeddings_place(embeddings, 0, "prompt", &list, &err))
        fail_msg("%s", err.message);
    return list;
}

/* 73 tokens, then an embedding of two vectors that does not fit any more, then a third chunk's worth. */
static void embeddings_are_not_split(void **state) {
    sd_model *model = open_model(*state, "sd1");
    struct sd_embeddings embeddings;
    char text[2000] = "";
    uint32_t *ids;
    size_t chunks;
    sd_error err;
    for (int i = 0; i < 74; i++)
        strcat(text, "! ");
    strcat(text, "halves one full !");
    sd_token_list list = place(model, &embeddings, text);
    assert_int_equal(list.count, 74 + 2 + 1 + 75 + 1);
    const sd_token *t = list.items;
    uint32_t first = model->text[0].config.vocabulary;
    assert_true(t[74].id == first && !t[74].flags && t[75].id == first + 1 && t[75].flags == SD_TOKEN_GLUED);
    assert_true(t[76].id == first + 2 && !t[76].flags && t[77].id == first + 3 && t[151].id == first + 77);
    assert_int_equal(embeddings.rows[0].count, 78);
    assert_int_equal(sd_chunk_all(model->text[0].tokenizer, t, list.count, 0, 20, &ids, &chunks, &err),
                     SD_OK);
    assert_int_equal(chunks, 4);
    assert_true(ids[74] == t[73].id && ids[75] == sd_tokenizer_end(model->text[0].tokenizer));
    assert_true(ids[77 + 1] == first && ids[77 + 2] == first + 1 && ids[77 + 3] == first + 2);
    assert_true(ids[2 * 77 + 1] == first + 3 && ids[2 * 77 + 75] == first + 77);
    assert_true(ids[3 * 77 + 1] == t[152].id);
    free(ids);
    sd_token_list_clear(&list);
    sd_embeddings_clear(&embeddings);
    sd_model_close(&model);
}

/* The same name again takes the same rows. */
static void a_name_used_twice(void **state) {
    sd_model *model = open_model(*state, "sd1");
    struct sd_embeddings embeddings;
    sd_token_list list = place(model, &embeddings, "halves, one, HALVES");
    uint32_t first = model->text[0].config.vocabulary;
    assert_int_equal(list.count, 2 + 1 + 1 + 1 + 2);
    assert_true(list.items[0].id == first && list.items[3].id == first + 2 && list.items[5].id == first);
    assert_int_equal(embeddings.rows[0].count, 3);
    assert_int_equal(embeddings.used_count, 2);
    assert_string_equal(embeddings.items[embeddings.used[0]].name, "halves");
    assert_string_equal(embeddings.items[embeddings.used[1]].name, "one");
    sd_token_list_clear(&list);
    sd_embeddings_clear(&embeddings);
    sd_model_close(&model);
}

static void refuse(sd_model *model, const sd_params *params, sd_status want, const char *message) {
    struct sd_conditioning c = {0};
    struct sd_embeddings embeddings;
    sd_error err;
    sd_params filled = *params;
    filled.prompt = filled.prompt ? filled.prompt : "";
    filled.negative_prompt = filled.negative_prompt ? filled.negative_prompt : "";
    assert_int_equal(encode(model, &filled, &c, &embeddings, &err), want);
    assert_string_equal(err.message, message);
    sd_embeddings_clear(&embeddings);
}

static void embeddings_of_another_family(void **state) {
    static const char pair[] =
        "prompt: 'pair' is an embedding: " FOLDER
        "pair.safetensors: expected vectors of width 32 for this model, found clip_l of width "
        "32 and clip_g of width 48";
    sd_model *model = open_model(*state, "sd1");
    refuse(model, &(sd_params){.prompt = "a pair of mugs"}, SD_E_UNSUPPORTED, pair);
    refuse(model,
           &(sd_params){.embeddings = (const char *const[]){FOLDER "pair.safetensors"}, .embedding_count = 1},
           SD_E_UNSUPPORTED, pair + sizeof "prompt: 'pair' is an embedding: " - 1);
    sd_model_close(&model);
    model = open_model(*state, "sdxl");
    refuse(model, &(sd_params){.negative_prompt = "one"}, SD_E_UNSUPPORTED,
           "negative_prompt: 'one' is an embedding: " FOLDER
           "one.safetensors: expected clip_l of width 32 and clip_g of width 48 for this model, found "
           "vectors of "
           "width 32");
    sd_model_close(&model);
    model = open_model(*state, "sd2");
    refuse(model, &(sd_params){.prompt = "one"}, SD_E_UNSUPPORTED,
           "prompt: 'one' is an embedding: " FOLDER
           "one.safetensors: expected vectors of width 48 for this model, found vectors of width 32");
    /* Leniently it is the word that it would be without the file. */
    struct sd_conditioning with, without;
    struct sd_embeddings embeddings;
    sd_params params = {.prompt = "a pair", .negative_prompt = "", .lenient = true};
    sd_context *none = open_in(NULL);
    sd_model *plain = open_model(none, "sd2");
    sd_error err;
    *warning = 0;
    assert_int_equal(encode(model, &params, &with, &embeddings, &err), SD_OK);
    sd_embeddings_clear(&embeddings);
    assert_string_equal(warning,
                        "prompt: 'pair' is read as text: " FOLDER
                        "pair.safetensors: expected vectors of width 48 for this model, found clip_l of "
                        "width 32 and clip_g of width 48");
    assert_int_equal(encode(plain, &params, &without, &embeddings, &err), SD_OK);
    assert_memory_equal(with.context, without.context, (size_t)with.prompts * with.tokens * with.width * 4);
    sd_embeddings_clear(&embeddings);
    sd_conditioning_clear(&with);
    sd_conditioning_clear(&without);
    sd_model_close(&plain);
    sd_context_destroy(&none);
    sd_model_close(&model);
}

/* Those of the request need no folder, and shadow those of the folder. */
static void embeddings_of_the_request(void **state) {
    sd_context *none = open_in(NULL);
    sd_model *model = open_model(none, "sd1"), *with_folder = open_model(*state, "sd1");
    struct sd_conditioning c, other;
    struct sd_embeddings embeddings;
    sd_error err;
    sd_params params = {.prompt = "one bare mug",
                        .negative_prompt = "",
                        .embeddings = (const char *const[]){FOLDER "one.safetensors", FOLDER "bare.pt"},
                        .embedding_count = 2};
    assert_int_equal(encode(model, &params, &c, &embeddings, &err), SD_OK);
    assert_int_equal(embeddings.used_count, 2);
    sd_embeddings_clear(&embeddings);
    assert_int_equal(encode(with_folder, &params, &other, &embeddings, &err), SD_OK);
    assert_memory_equal(c.context, other.context, (size_t)c.prompts * c.tokens * c.width * 4);
    sd_embeddings_clear(&embeddings);
    sd_conditioning_clear(&c);
    sd_conditioning_clear(&other);
    /* By name, too; and one that no prompt holds. */
    params.embeddings = (const char *const[]){"halves"};
    params.embedding_count = 1;
    assert_int_equal(encode(with_folder, &params, &c, &embeddings, &err), SD_OK);
    *warning = 0;
    sd_embeddings_report(&embeddings);
    assert_string_equal(warning,
                        FOLDER "halves.safetensors: the embedding is not used, as no prompt holds its name, "
                               "'halves'");
    sd_embeddings_clear(&embeddings);
    sd_conditioning_clear(&c);
    params.embeddings = (const char *const[]){"halve"};
    refuse(with_folder, &params, SD_E_NOT_FOUND,
           "'halve': no embedding of this name in " GOLDEN "/embeddings; did you mean 'halves'?");
    params.embeddings = (const char *const[]){"none.pt"};
    refuse(model, &params, SD_E_NOT_FOUND, "none.pt: no such file");
    params.embeddings = (const char *const[]){""};
    refuse(model, &params, SD_E_ARGUMENT, "embeddings: expected the path or the name of a file, found none");
    sd_model_close(&model);
    sd_model_close(&with_folder);
    sd_context_destroy(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoded_as_by_diffusers),   cmocka_unit_test(embeddings_are_not_split),
        cmocka_unit_test(a_name_used_twice),         cmocka_unit_test(embeddings_of_another_family),
        cmocka_unit_test(embeddings_of_the_request),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
