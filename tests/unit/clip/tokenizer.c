#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "clip/tokenizer.h"

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static sd_tokenizer *builtin(void) {
    sd_tokenizer *t = NULL;
    assert_int_equal(sd_tokenizer_create_builtin(&t, NULL), SD_OK);
    return t;
}

static sd_tokenizer *from_folder(void) {
    const char *folder = getenv("SDVK_TOKENIZER");
    char path[4096];
    size_t vocab_size, merges_size;
    sd_tokenizer *t = NULL;
    sd_error err = {0};
    folder = folder ? folder : SDVK_SOURCE_DIR "/samples/mockup/tokenizer";
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    char *vocab = read_file(path, &vocab_size);
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    char *merges = read_file(path, &merges_size);
    if (sd_tokenizer_create(&t, vocab, vocab_size, merges, merges_size, &err))
        fail_msg("%s", err.message);
    free(vocab);
    free(merges);
    return t;
}

static size_t from_hex(const char *hex, char *bytes) {
    size_t size = strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (char)byte;
    }
    return size;
}

static bool same_ids(const sd_token_list *list, const cJSON *ids) {
    size_t i = 0;
    for (const cJSON *id = ids->child; id; id = id->next, i++)
        if (i >= list->count || (double)list->items[i].id != id->valuedouble)
            return false;
    return i == list->count;
}

/* Every text of the golden file, each encoded on its own into a list that already holds a token. */
static size_t count_wrong(const sd_tokenizer *t, size_t *texts) {
    size_t size, wrong = 0;
    char *json = read_file(SDVK_SOURCE_DIR "/tests/golden/tokenizer.json", &size);
    cJSON *root = cJSON_ParseWithLength(json, size);
    assert_non_null(root);
    *texts = 0;
    for (const cJSON *c = root->child; c; c = c->next, ++*texts) {
        const char *hex = cJSON_GetObjectItem(c, "utf8")->valuestring;
        sd_token_list list = {0};
        sd_error err = {0};
        char *text = malloc(strlen(hex) / 2 + 1);
        size_t bytes = from_hex(hex, text);
        if (sd_tokenizer_encode(t, text, bytes, &list, &err)) {
            print_error("%s: %s\n", hex, err.message);
            wrong++;
        } else if (!same_ids(&list, cJSON_GetObjectItem(c, "ids"))) {
            print_error("text %zu differs: %.*s\n", *texts, (int)(bytes < 200 ? bytes : 200), text);
            wrong++;
        }
        sd_token_list_clear(&list);
        free(text);
    }
    cJSON_Delete(root);
    free(json);
    return wrong;
}

static void builtin_gives_the_ids_of_transformers(void **state) {
    (void)state;
    size_t texts;
    sd_tokenizer *t = builtin();
    assert_int_equal(sd_tokenizer_entries(t), 49408);
    assert_int_equal(sd_tokenizer_start(t), 49406);
    assert_int_equal(sd_tokenizer_end(t), 49407);
    assert_int_equal(count_wrong(t, &texts), 0);
    assert_true(texts >= 400);
    sd_tokenizer_destroy(&t);
    assert_null(t);
    sd_tokenizer_destroy(&t);
    sd_tokenizer_destroy(NULL);
}

static void folder_gives_the_ids_of_transformers(void **state) {
    (void)state;
    size_t texts;
    sd_tokenizer *t = from_folder();
    assert_int_equal(sd_tokenizer_entries(t), 49408);
    assert_int_equal(count_wrong(t, &texts), 0);
    sd_tokenizer_destroy(&t);
}

/* Encodes `text` and compares with `count` ids. */
static void expect_ids(const sd_tokenizer *t, const char *text, size_t count, const uint32_t *ids) {
    sd_token_list list = {0};
    assert_int_equal(sd_tokenizer_encode(t, text, strlen(text), &list, NULL), SD_OK);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(list.items[i].id, ids[i]);
    sd_token_list_clear(&list);
}

static void commas_are_flagged_and_lists_grow(void **state) {
    (void)state;
    sd_tokenizer *t = builtin();
    sd_token_list list = {0};
    assert_int_equal(sd_tokenizer_encode(t, "a, b", 4, &list, NULL), SD_OK);
    assert_int_equal(sd_tokenizer_encode(t, ".,c,", 4, &list, NULL), SD_OK);
    static const struct sd_token expected[] = {{320, 0}, {267, SD_TOKEN_COMMA}, {321, 0}, {5276, 0},
                                               {322, 0}, {267, SD_TOKEN_COMMA}};
    assert_int_equal(list.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(list.items[i].id, expected[i].id);
        assert_int_equal(list.items[i].flags, expected[i].flags);
    }
    sd_token_list_clear(&list);
    assert_null(list.items);
    sd_tokenizer_destroy(&t);
}

static void expect_refusal(const sd_tokenizer *t, const char *text, size_t bytes, const char *part) {
    sd_token_list list = {0};
    sd_error err = {0};
    assert_int_equal(sd_tokenizer_encode(t, "kept", 4, &list, &err), SD_OK);
    assert_int_equal(sd_tokenizer_encode(t, text, bytes, &list, &err), SD_E_ARGUMENT);
    if (!strstr(err.message, part))
        fail_msg("expected \"%s\" in \"%s\"", part, err.message);
    assert_int_equal(list.count, 1);
    sd_token_list_clear(&list);
}

static void bad_texts_are_refused(void **state) {
    (void)state;
    sd_tokenizer *t = builtin();
    expect_refusal(t, "\xff", 1, "byte 0 (0xFF)");
    expect_refusal(t, "ab\xc3\xa9\xc3", 5, "byte 4 (0xC3)");
    expect_refusal(t, "a\xed\xa0\x80", 4, "byte 1 (0xED)");
    expect_refusal(t, "\xc0\x80", 2, "byte 0 (0xC0)");
    expect_refusal(t, "abc\xf4\x90\x80\x80", 7, "byte 3 (0xF4)");
    expect_refusal(t, "<|endoftext|>\x80", 14, "byte 13 (0x80)");
    char *big = malloc(SD_TOKENIZER_MAX_TEXT + 1);
    memset(big, 'a', SD_TOKENIZER_MAX_TEXT + 1);
    expect_refusal(t, big, SD_TOKENIZER_MAX_TEXT + 1, "at most 1048576 bytes, found 1048577");
    for (size_t i = 0; i < 1025; i++)
        memcpy(big + 2 * i, "\xcc\x81", 2);
    expect_refusal(t, big, 2050, "at most 1024 combining marks");
    free(big);
    sd_tokenizer_destroy(&t);
}

/* A megabyte in one word, and in as many marks as are allowed, ends soon (a quadratic method would take
 * hours). */
static void long_texts_take_linear_memory_and_little_time(void **state) {
    (void)state;
    sd_tokenizer *t = builtin();
    sd_token_list list = {0};
    char *big = malloc(SD_TOKENIZER_MAX_TEXT);
    memset(big, 'a', SD_TOKENIZER_MAX_TEXT);
    assert_int_equal(sd_tokenizer_encode(t, big, SD_TOKENIZER_MAX_TEXT, &list, NULL), SD_OK);
    assert_true(list.count > 0 && list.count < SD_TOKENIZER_MAX_TEXT / 4);
    for (size_t i = 0; i < SD_TOKENIZER_MAX_TEXT; i += 2)
        memcpy(big + i, i % 2048 == 0 ? "a " : i / 2 % 2 ? "\xcc\x81" : "\xcc\xa3", 2);
    assert_int_equal(sd_tokenizer_encode(t, big, SD_TOKENIZER_MAX_TEXT, &list, NULL), SD_OK);
    free(big);
    sd_token_list_clear(&list);
    sd_tokenizer_destroy(&t);
}

static void one_chunk_is_padded_or_cut(void **state) {
    (void)state;
    sd_tokenizer *t = builtin();
    uint32_t ids[SD_CHUNK_IDS];
    size_t cut = 1;
    assert_int_equal(sd_tokenizer_chunk(t, "a photo", 7, 49407, ids, &cut, NULL), SD_OK);
    assert_int_equal(cut, 0);
    assert_true(ids[0] == 49406 && ids[1] == 320 && ids[2] == 1125);
    for (size_t i = 3; i < SD_CHUNK_IDS; i++)
        assert_int_equal(ids[i], 49407);
    assert_int_equal(sd_tokenizer_chunk(t, NULL, 0, 0, ids, &cut, NULL), SD_OK);
    assert_true(ids[0] == 49406 && ids[1] == 49407);
    for (size_t i = 2; i < SD_CHUNK_IDS; i++)
        assert_int_equal(ids[i], 0);
    char text[160] = "";
    for (size_t i = 0; i < 75; i++)
        strcat(text, "b ");
    assert_int_equal(sd_tokenizer_chunk(t, text, strlen(text), 0, ids, &cut, NULL), SD_OK);
    assert_true(cut == 0 && ids[75] == 321 && ids[76] == 49407);
    strcat(text, "a a");
    assert_int_equal(sd_tokenizer_chunk(t, text, strlen(text), 0, ids, &cut, NULL), SD_OK);
    assert_true(cut == 2 && ids[75] == 321 && ids[76] == 49407);
    assert_int_equal(sd_tokenizer_chunk(t, "\xff", 1, 0, ids, NULL, NULL), SD_E_ARGUMENT);
    sd_tokenizer_destroy(&t);
}

/* A run of tokens with the flags at the given places. */
static size_t length_with(size_t count, int comma, int other_comma, int glued_from, int glued_to,
                          size_t backtrack) {
    sd_token tokens[256] = {{0}};
    if (comma >= 0)
        tokens[comma].flags = SD_TOKEN_COMMA;
    if (other_comma >= 0)
        tokens[other_comma].flags = SD_TOKEN_COMMA;
    for (int i = glued_from; i < glued_to; i++)
        tokens[i].flags = SD_TOKEN_GLUED;
    return sd_chunk_length(tokens, count, backtrack);
}

static void breaks_follow_commas(void **state) {
    (void)state;
    assert_int_equal(length_with(0, -1, -1, 0, 0, 20), 0);
    assert_int_equal(length_with(75, 60, -1, 0, 0, 20), 75);
    assert_int_equal(length_with(76, -1, -1, 0, 0, 20), 75);
    assert_int_equal(length_with(76, 60, -1, 0, 0, 20), 61);
    assert_int_equal(length_with(76, 60, 70, 0, 0, 20), 71);
    assert_int_equal(length_with(76, 55, -1, 0, 0, 20), 56);
    assert_int_equal(length_with(76, 54, -1, 0, 0, 20), 75);
    assert_int_equal(length_with(76, 74, -1, 0, 0, 20), 75);
    assert_int_equal(length_with(76, 60, -1, 0, 0, 0), 75);
    assert_int_equal(length_with(76, 60, 75, 0, 0, 20), 75);
    assert_int_equal(length_with(200, 0, -1, 0, 0, 100), 1);
    assert_int_equal(length_with(80, 60, -1, 74, 80, 20), 73);
    assert_int_equal(length_with(80, 60, -1, 76, 80, 20), 61);
    assert_int_equal(length_with(80, -1, -1, 70, 75, 20), 75);
    assert_int_equal(length_with(80, -1, -1, 1, 80, 20), 75);
}

static void long_prompts_become_chunks(void **state) {
    (void)state;
    sd_tokenizer *t = builtin();
    uint32_t *ids = NULL;
    size_t chunks = 0;
    char text[1000] = "";
    assert_int_equal(sd_tokenizer_chunks(t, "", 0, 7, 20, &ids, &chunks, NULL), SD_OK);
    assert_true(chunks == 1 && ids[0] == 49406 && ids[1] == 49407 && ids[2] == 7 && ids[76] == 7);
    free(ids);
    for (size_t i = 0; i < 70; i++)
        strcat(text, i == 59 ? "b, " : "b ");
    for (size_t i = 0; i < 30; i++)
        strcat(text, "a ");
    assert_int_equal(sd_tokenizer_chunks(t, text, strlen(text), 0, 20, &ids, &chunks, NULL), SD_OK);
    assert_int_equal(chunks, 2);
    assert_true(ids[61] == 267 && ids[62] == 49407 && ids[63] == 0);
    assert_true(ids[77] == 49406 && ids[78] == 321 && ids[87] == 321 && ids[88] == 320 && ids[117] == 320);
    assert_true(ids[118] == 49407 && ids[119] == 0 && ids[153] == 0);
    free(ids);
    assert_int_equal(sd_tokenizer_chunks(t, "\xff", 1, 0, 20, &ids, &chunks, NULL), SD_E_ARGUMENT);
    assert_true(!ids && !chunks);
    sd_tokenizer_destroy(&t);
}

#define SPECIALS "\"<|startoftext|>\":0,\"<|endoftext|>\":1"

/* A vocabulary of a few entries: bytes without an entry are the end token, and of equal results the lower
 * rank wins. */
static void small_vocabularies_work(void **state) {
    (void)state;
    static const char vocab[] = "{" SPECIALS ",\"a\":2,\"b\":3,\"c</w>\":4,\"ab\":5,\"bc</w>\":6} \n";
    sd_tokenizer *t = NULL;
    assert_int_equal(sd_tokenizer_create(&t, vocab, strlen(vocab), "b c</w>\r\na b", 12, NULL), SD_OK);
    assert_int_equal(sd_tokenizer_entries(t), 7);
    expect_ids(t, "abc", 2, (uint32_t[]){2, 6});
    expect_ids(t, "Ab", 2, (uint32_t[]){2, 1});
    expect_ids(t, "abac", 3, (uint32_t[]){5, 2, 4});
    expect_ids(t, "c,<|startoftext|>", 3, (uint32_t[]){4, 1, 0});
    sd_tokenizer_destroy(&t);
    assert_int_equal(sd_tokenizer_create(&t, vocab, strlen(vocab), NULL, 0, NULL), SD_OK);
    expect_ids(t, "abc", 3, (uint32_t[]){2, 3, 4});
    sd_tokenizer_destroy(&t);
}

static void sameness_is_told(void **state) {
    (void)state;
    static const char vocab[] = "{" SPECIALS ",\"a\":2,\"b\":3,\"c</w>\":4,\"ab\":5,\"bc</w>\":6}";
    static const char other_vocab[] = "{" SPECIALS ",\"a\":3,\"b\":2,\"c</w>\":4,\"ab\":5,\"bc</w>\":6}";
    static const struct {
        const char *vocab, *merges;
    } cases[] = {
        {vocab, "b c</w>\na b"}, {vocab, "a b\nb c</w>"}, {vocab, "b c</w>"}, {other_vocab, "b c</w>\na b"}};
    sd_tokenizer *usual = builtin(), *mockup = from_folder(), *small[4];
    assert_true(sd_tokenizer_same(usual, mockup));
    for (int i = 0; i < 4; i++)
        assert_int_equal(sd_tokenizer_create(&small[i], cases[i].vocab, strlen(cases[i].vocab),
                                             cases[i].merges, strlen(cases[i].merges), NULL),
                         SD_OK);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++)
            assert_int_equal(sd_tokenizer_same(small[i], small[k]), i == k);
        assert_false(sd_tokenizer_same(small[i], usual));
    }
    for (int i = 0; i < 4; i++)
        sd_tokenizer_destroy(&small[i]);
    sd_tokenizer_destroy(&usual);
    sd_tokenizer_destroy(&mockup);
}

static void bad_files_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *vocab, *merges, *part;
    } cases[] = {
        {"", "", "vocab.json: expected a JSON object, found an error at byte 0"},
        {"{\"a\":0,", "", "found an error at byte"},
        {"[1,2]", "", "another type"},
        {"{" SPECIALS "} x", "", "file to end at byte"},
        {"{}", "", "<|startoftext|>"},
        {"{\"<|startoftext|>\":0}", "", "<|endoftext|>"},
        {"{" SPECIALS ",\"a\":3}", "", "from 0 to 2 in entry 2, found 3"},
        {"{" SPECIALS ",\"a\":-1}", "", "found -1"},
        {"{" SPECIALS ",\"a\":1.5}", "", "found 1.5"},
        {"{" SPECIALS ",\"a\":1e99}", "", "found 1e+99"},
        {"{" SPECIALS ",\"a\":\"2\"}", "", "a number in entry 2"},
        {"{" SPECIALS ",\"a\":1}", "", "found 1 again in entry 2"},
        {"{" SPECIALS ",\"a\":2,\"a\":3}", "", "every name once"},
        {"{" SPECIALS ",\"a\":2}", "a", "line 1"},
        {"{" SPECIALS ",\"a\":2}", "#version: 0.2\n a", "line 2"},
        {"{" SPECIALS ",\"a\":2}", "a ", "line 1"},
        {"{" SPECIALS ",\"a\":2,\"b\":3,\"ab\":4}", "a b\na b b", "line 2"},
        {"{" SPECIALS ",\"a\":2,\"b\":3}", "a b", "the result"},
        {"{" SPECIALS ",\"a\":2,\"b\":3}", "x b", "the left one"},
        {"{" SPECIALS ",\"a\":2,\"b\":3}", "a x", "the right one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_tokenizer *t = NULL;
        sd_error err = {0};
        sd_status status = sd_tokenizer_create(&t, cases[i].vocab, strlen(cases[i].vocab), cases[i].merges,
                                               strlen(cases[i].merges), &err);
        if (status != SD_E_FORMAT || t || !strstr(err.message, cases[i].part))
            fail_msg("case %zu: status %d, \"%s\"", i, status, err.message);
    }
    char *big = calloc(SD_TOKENIZER_MAX_FILE + 1, 1);
    sd_tokenizer *t = NULL;
    sd_error err = {0};
    assert_int_equal(sd_tokenizer_create(&t, big, SD_TOKENIZER_MAX_FILE + 1, "", 0, &err), SD_E_FORMAT);
    assert_non_null(strstr(err.message, "vocab.json: expected at most 4194304 bytes"));
    assert_int_equal(sd_tokenizer_create(&t, "{}", 2, big, SD_TOKENIZER_MAX_FILE + 1, &err), SD_E_FORMAT);
    assert_non_null(strstr(err.message, "merges.txt: expected at most"));
    free(big);
}

static int encode_often(void *user) {
    static const char text[] = "masterpiece, a Photo of an astronaut riding a horse, \xc3\x89t\xc3\xa9";
    int wrong = 0;
    for (int i = 0; i < 200; i++) {
        sd_token_list list = {0};
        sd_status status = sd_tokenizer_encode(user, text, sizeof text - 1, &list, NULL);
        wrong += status || list.count != 13 || list.items[0].id != 12066;
        sd_token_list_clear(&list);
    }
    return wrong;
}

static void threads_share_a_tokenizer(void **state) {
    (void)state;
    sd_tokenizer *t = builtin();
    thrd_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thrd_create(&threads[i], encode_often, t), thrd_success);
    for (size_t i = 0; i < 4; i++) {
        int wrong = -1;
        thrd_join(threads[i], &wrong);
        assert_int_equal(wrong, 0);
    }
    sd_tokenizer_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builtin_gives_the_ids_of_transformers),
        cmocka_unit_test(folder_gives_the_ids_of_transformers),
        cmocka_unit_test(sameness_is_told),
        cmocka_unit_test(commas_are_flagged_and_lists_grow),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(long_texts_take_linear_memory_and_little_time),
        cmocka_unit_test(one_chunk_is_padded_or_cut),
        cmocka_unit_test(breaks_follow_commas),
        cmocka_unit_test(long_prompts_become_chunks),
        cmocka_unit_test(small_vocabularies_work),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
