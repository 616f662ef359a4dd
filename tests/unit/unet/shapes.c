/* The bound weights of every known configuration: counts, names in both spellings, and detection from them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unet/names.h"
#include "unet/weights.h"

static sd_weights *bind(const struct sd_unet_config *config) {
    struct sd_unet *unet;
    sd_weights *weights;
    sd_error err;
    if (sd_weights_create(&weights, &err) || sd_unet_bind(&unet, config, false, weights, &err))
        fail_msg("%s", err.message);
    sd_unet_destroy(&unet);
    return weights;
}

/* Parameters of diffusers' models with the published configurations. */
static void parameter_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t count;
    } known[] = {
        {"sd1", 859520964},       {"sd1-inpaint", 859535364}, {"sd1-lcm", 859602884},
        {"sd2", 865910724},       {"sdxl", 2567463684},       {"sdxl-refiner", 2259526660},
        {"ssd-1b", 1331334404},   {"vega", 745225604},        {"koala-700m", 782822724},
        {"koala-1b", 1161184324}, {"small-sd", 482346884},    {"tiny-sd", 323384964},
        {"sdxs-0.9", 328177284},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        sd_weights *weights = bind(sd_unet_config_find(known[i].name));
        uint64_t count = sd_weights_parameters(weights);
        if (count != known[i].count)
            fail_msg("%s: expected %llu parameters, found %llu", known[i].name,
                     (unsigned long long)known[i].count, (unsigned long long)count);
        sd_weights_destroy(NULL, &weights);
    }
}

/* Every weight's name in both spellings; no two the same. */
static void names_round_trip(void **state) {
    (void)state;
    const struct sd_unet_config *row;
    for (size_t r = 0; (row = sd_unet_config_at(r)); r++) {
        sd_weights *weights = bind(row);
        size_t count = sd_weights_count(weights), total = 0;
        char(*seen)[96] = calloc(count, SD_WEIGHT_PARTS * sizeof *seen);
        assert_non_null(seen);
        for (size_t i = 0; i < count; i++) {
            const sd_weight *w = sd_weights_at(weights, i);
            for (uint32_t part = 0; part < w->parts; part++) {
                char back[128];
                if (!sd_unet_ldm_name(row, w->names[part], seen[total], sizeof *seen))
                    fail_msg("%s: %s has no LDM name", row->name, w->names[part]);
                if (!sd_unet_canonical_name(row, seen[total], back, sizeof back))
                    fail_msg("%s: %s has no canonical name", row->name, seen[total]);
                assert_string_equal(back, w->names[part]);
                total++;
            }
        }
        qsort(seen, total, sizeof *seen, (int (*)(const void *, const void *))strcmp);
        for (size_t i = 1; i < total; i++)
            assert_string_not_equal(seen[i - 1], seen[i]);
        free(seen);
        sd_weights_destroy(NULL, &weights);
    }
}

/* A checkpoint that has all weights of a configuration, and no data. */
struct shell {
    const struct sd_unet_config *config;
    sd_weights *weights;
    bool convolutions; /* projections are 1x1 convolutions */
};

static bool find_canonical(void *user, const char *name, struct sd_raw *out) {
    const struct shell *s = user;
    for (size_t i = 0; i < sd_weights_count(s->weights); i++) {
        const sd_weight *w = sd_weights_at(s->weights, i);
        for (uint32_t part = 0; part < w->parts; part++) {
            if (strcmp(w->names[part], name))
                continue;
            bool vector = w->form == SD_WEIGHT_VECTOR || w->form == SD_WEIGHT_GEGLU_VECTOR;
            bool flat = w->kh == 1 && !(s->convolutions && strstr(name, "proj_"));
            *out = (struct sd_raw){.dtype = SD_F16,
                                   .rank = vector ? 1
                                           : flat ? 2
                                                  : 4,
                                   .shape = {w->n / w->parts, w->c, w->kh, w->kw}};
            return true;
        }
    }
    return false;
}

static bool find_in_file(void *user, const char *name, struct sd_raw *out) {
    const struct shell *s = user;
    size_t prefix = strlen(SD_UNET_LDM_PREFIX);
    char canonical[128];
    return !strncmp(name, SD_UNET_LDM_PREFIX, prefix) &&
           sd_unet_canonical_name(s->config, name + prefix, canonical, sizeof canonical) &&
           find_canonical(user, canonical, out);
}

static void expect_row(const struct sd_weight_source *source, struct sd_unet_config *found,
                       const struct sd_unet_config *row) {
    sd_error err;
    if (sd_unet_detect(found, source, &err))
        fail_msg("%s: %s", row->name, err.message);
    if (!found->name)
        fail_msg("%s was not recognised", row->name);
    assert_string_equal(found->name, row->name);
}

static void every_row_is_detected(void **state) {
    (void)state;
    const struct sd_unet_config *row;
    for (size_t r = 0; (row = sd_unet_config_at(r)); r++) {
        struct shell shell = {row, bind(row), row->context == 768};
        struct sd_unet_config found;
        const struct sd_weight_source folder = {.label = "folder", .user = &shell, .find = find_canonical},
                                      file = {.label = "file", .user = &shell, .find = find_in_file};
        expect_row(&folder, &found, row);
        struct sd_unet_ldm ldm = {.file = &file, .config = &found};
        struct sd_weight_source mapped = sd_unet_ldm_source(&ldm);
        expect_row(&mapped, &found, row);
        sd_weights_destroy(NULL, &shell.weights);
    }
}

/* A fine-tune of an unknown shape takes the family's habits. */
static void unknown_shapes_follow_the_family(void **state) {
    (void)state;
    struct sd_unet_config odd = *sd_unet_config_find("sd1"), found;
    sd_error err;
    odd.down_depth[1][1] = 3;
    for (int convolutions = 0; convolutions < 2; convolutions++) {
        struct shell shell = {&odd, bind(&odd), convolutions};
        const struct sd_weight_source source = {.label = "folder", .user = &shell, .find = find_canonical};
        assert_int_equal(sd_unet_detect(&found, &source, &err), SD_OK);
        assert_null(found.name);
        assert_int_equal(found.down_depth[1][1], 3);
        assert_int_equal(found.heads[0], convolutions ? 8 : 5);
        assert_int_equal(found.heads[3], convolutions ? 8 : 20);
        sd_weights_destroy(NULL, &shell.weights);
    }
}

static bool find_nothing(void *user, const char *name, struct sd_raw *out) {
    (void)user, (void)name, (void)out;
    return false;
}

static void says_what_is_missing(void **state) {
    (void)state;
    const struct sd_weight_source source = {.label = "model.safetensors", .user = NULL, .find = find_nothing};
    struct sd_unet_config found;
    sd_error err;
    assert_int_equal(sd_unet_detect(&found, &source, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message,
                        "model.safetensors: expected a Stable Diffusion UNet, found no conv_in.weight");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameter_counts),      cmocka_unit_test(names_round_trip),
        cmocka_unit_test(every_row_is_detected), cmocka_unit_test(unknown_shapes_follow_the_family),
        cmocka_unit_test(says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
