/* Folders and single files give the same tensors under canonical names; what is no model is refused by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "clip/text_model.h"
#include "sd/checkpoint.h"
#include "sd/io/safetensors.h"
#include "unet/weights.h"
#include "vae/vae.h"

#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"

static const char *const families[] = {"sd1", "sd2", "sdxl", "refiner"};

static sd_checkpoint *open_model(const char *format, const char *family) {
    char path[512];
    sd_checkpoint *c;
    sd_error err;
    snprintf(path, sizeof path, format, family);
    if (sd_checkpoint_open(&c, path, NULL, &err))
        fail_msg("%s", err.message);
    return c;
}

/* Declares the tensors of one part as the folder's configuration describes them. */
static sd_weights *bind(const sd_checkpoint *c, sd_part part, struct sd_unet **unet) {
    const char *json = c->part[part].config;
    struct sd_text_config text;
    struct sd_text_model text_model;
    struct sd_vae_decoder decoder;
    struct sd_vae_encoder encoder;
    sd_weights *w;
    sd_error err;
    assert_non_null(json);
    assert_int_equal(sd_weights_create(&w, &err), SD_OK);
    if (part == SD_PART_UNET)
        assert_int_equal(sd_unet_bind(unet, &c->unet, true, w, &err), SD_OK);
    else if (part == SD_PART_VAE) {
        sd_vae_bind_decoder(&decoder, w, &c->vae);
        sd_vae_bind_encoder(&encoder, w, &c->vae);
    } else {
        if (sd_text_config_parse(&text, json, strlen(json), "text", &err))
            fail_msg("%s", err.message);
        sd_text_bind(&text_model, w, &text);
    }
    return w;
}

static void read_configs(sd_checkpoint *folder, sd_checkpoint *single) {
    const char *unet = folder->part[SD_PART_UNET].config, *vae = folder->part[SD_PART_VAE].config;
    sd_error err;
    if (sd_unet_config_parse(&folder->unet, unet, strlen(unet), "unet", &err) ||
        sd_vae_config_parse(&folder->vae, vae, strlen(vae), "vae", &err))
        fail_msg("%s", err.message);
    single->unet = folder->unet;
    single->vae = folder->vae;
}

/* Axes of one do not count: linear layers come as 1x1 convolutions too. */
static uint64_t rows_and_rank(const struct sd_raw *raw, uint32_t *rank) {
    for (*rank = raw->rank; *rank > 1 && raw->shape[*rank - 1] == 1;)
        --*rank;
    return raw->shape[0];
}

static void same_tensor(const char *family, const char *name, struct sd_checkpoint_part *a,
                        struct sd_checkpoint_part *b) {
    struct sd_raw x, y;
    uint32_t x_rank, y_rank;
    if (!a->source.find(a->source.user, name, &x))
        fail_msg("%s: the folder has no %s", family, name);
    if (!b->source.find(b->source.user, name, &y))
        fail_msg("%s: the single file has no %s", family, name);
    assert_int_equal(x.dtype, y.dtype);
    assert_int_equal(x.bytes, y.bytes);
    assert_int_equal(rows_and_rank(&x, &x_rank), rows_and_rank(&y, &y_rank));
    assert_int_equal(x_rank, y_rank);
    assert_memory_equal(x.shape, y.shape, x_rank * sizeof *x.shape);
    if (memcmp(x.data, y.data, x.bytes))
        fail_msg("%s: %s differs between the folder and the single file", family, name);
}

/* Every tensor of the folder is bound, and each is the same in the single file. */
static void compare_part(const char *family, sd_checkpoint *folder, sd_checkpoint *single, sd_part part) {
    struct sd_unet *unet = NULL;
    size_t names = 0;
    assert_int_equal(!folder->part[part].file, !single->part[part].file);
    if (!folder->part[part].file)
        return;
    sd_weights *w = bind(folder, part, &unet);
    for (size_t i = 0; i < sd_weights_count(w); i++)
        for (uint32_t j = 0; j < sd_weights_at(w, i)->parts; j++, names++)
            same_tensor(family, sd_weights_at(w, i)->names[j], &folder->part[part], &single->part[part]);
    assert_int_equal(names, sd_tensor_file_count(folder->part[part].file));
    sd_unet_destroy(&unet);
    sd_weights_destroy(NULL, &w);
}

static void folders_and_single_files_hold_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        sd_checkpoint *folder = open_model(NETWORKS "%s", families[i]);
        sd_checkpoint *single = open_model(NETWORKS "%s.safetensors", families[i]);
        assert_true(folder->folder);
        assert_false(single->folder);
        assert_string_equal(folder->name, families[i]);
        assert_string_equal(single->name, families[i]);
        assert_int_equal(folder->part[SD_PART_TEXT].file != NULL, strcmp(families[i], "refiner") != 0);
        assert_int_equal(folder->part[SD_PART_TEXT_2].file != NULL, i >= 2);
        read_configs(folder, single);
        for (int part = 0; part < SD_PARTS; part++)
            compare_part(families[i], folder, single, (sd_part)part);
        sd_checkpoint_close(&folder);
        sd_checkpoint_close(&single);
        assert_null(single);
    }
}

/* Shapes seen in a single file; heads, groups and activations cannot be seen in networks this small. */
static void detection_sees_the_shapes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        sd_checkpoint *folder = open_model(NETWORKS "%s", families[i]);
        sd_checkpoint *single = open_model(NETWORKS "%s.safetensors", families[i]);
        const char *vae = folder->part[SD_PART_VAE].config;
        sd_error err;
        assert_int_equal(sd_vae_config_parse(&folder->vae, vae, strlen(vae), "vae", &err), SD_OK);
        if (sd_vae_detect(&single->vae, &single->part[SD_PART_VAE].source, &err))
            fail_msg("%s", err.message);
        assert_int_equal(single->vae.groups, 8);
        single->vae.groups = folder->vae.groups;
        single->vae.scaling_factor = folder->vae.scaling_factor;
        assert_memory_equal(&single->vae, &folder->vae, sizeof folder->vae);
        for (int part = SD_PART_TEXT; part <= SD_PART_TEXT_2; part++) {
            const char *json = folder->part[part].config;
            struct sd_text_config told, seen;
            if (!json)
                continue;
            assert_int_equal(sd_text_config_parse(&told, json, strlen(json), "text", &err), SD_OK);
            assert_int_equal(sd_text_detect(&seen, &single->part[part].source, &err), SD_OK);
            assert_int_equal(seen.hidden, told.hidden);
            assert_int_equal(seen.intermediate, told.intermediate);
            assert_int_equal(seen.vocabulary, told.vocabulary);
            /* SD 2's folder leaves out the last layer and the projection. */
            assert_int_equal(seen.layers, told.layers + (i == 1));
            assert_int_equal(seen.projection, i == 1 ? 48 : told.projection);
        }
        sd_checkpoint_close(&folder);
        sd_checkpoint_close(&single);
    }
}

/* One copy of a turned tensor serves until its data were read. */
static void transposed_copies_do_not_pile_up(void **state) {
    (void)state;
    sd_checkpoint *c = open_model(NETWORKS "%s.safetensors", "sdxl");
    struct sd_raw first, again;
    const struct sd_weight_source *source = &c->part[SD_PART_TEXT_2].source;
    assert_true(source->find(source->user, "text_projection.weight", &first));
    assert_true(source->find(source->user, "text_projection.weight", &again));
    assert_ptr_equal(first.data, again.data);
    source->advise(source->user, &first, true);
    assert_null(c->turned[SD_PART_TEXT_2].copy);
    assert_true(source->find(source->user, "text_projection.weight", &again));
    sd_checkpoint_close(&c);
}

/* ---- what is refused ---- */

static char root[] = "/tmp/sdvk-checkpoint-XXXXXX";

static int make_root(void **state) {
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static void refused(const char *path, sd_status status, const char *expected) {
    char message[1024];
    sd_checkpoint *c;
    sd_error err;
    assert_int_equal(sd_checkpoint_open(&c, path, NULL, &err), status);
    assert_null(c);
    snprintf(message, sizeof message, "%s%s", path, expected);
    assert_string_equal(err.message, message);
}

static void refused_tensor(const char *name, const char *expected) {
    static const uint8_t zeros[4];
    const sd_file_tensor t = {
        .name = name, .dtype = SD_FILE_F32, .rank = 1, .shape = {1}, .data = zeros, .bytes = sizeof zeros};
    char path[128];
    sd_error err;
    snprintf(path, sizeof path, "%s/one.safetensors", root);
    assert_int_equal(sd_safetensors_write(path, &t, 1, NULL, 0, &err), SD_OK);
    refused(path, SD_E_UNSUPPORTED, expected);
}

static void other_families_are_named(void **state) {
    (void)state;
    refused_tensor("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
                   ": this is a Stable Diffusion 3 model; supported are SD 1, SD 2 and SDXL");
    refused_tensor("model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
                   ": this is a Flux model; supported are SD 1, SD 2 and SDXL");
    refused_tensor("double_blocks.0.img_attn.qkv.weight",
                   ": this is a Flux model; supported are SD 1, SD 2 and SDXL");
    refused_tensor("clip_txt_mapper.weight",
                   ": this is a Stable Cascade model; supported are SD 1, SD 2 and SDXL");
    refused_tensor("something.weight", ": not a Stable Diffusion model: expected tensors named "
                                       "model.diffusion_model..., found something.weight");
}

static void loras_are_named(void **state) {
    static const char expected[] = ": this is a LoRA, not a model; it needs a base model beside it";
    (void)state;
    refused_tensor("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", expected);
    refused_tensor("unet.down_blocks.0.attentions.0.proj_in.lora_A.weight", expected);
    refused_tensor("unet.down_blocks.0.attentions.0.proj_in.lora.down.weight", expected);
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void incomplete_folders_say_what_is_missing(void **state) {
    char folder[64], path[128];
    (void)state;
    snprintf(folder, sizeof folder, "%s/model", root);
    refused(folder, SD_E_NOT_FOUND, ": cannot open the model: No such file or directory");
    assert_int_equal(mkdir(folder, 0700), 0);
    refused(folder, SD_E_NOT_FOUND, ": not a model folder: expected model_index.json in it");
    snprintf(path, sizeof path, "%s/model_index.json", folder);
    put(path, "{}");
    refused(folder, SD_E_NOT_FOUND, ": expected the folder unet, which is not there");
    snprintf(path, sizeof path, "%s/unet", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    refused(folder, SD_E_NOT_FOUND, "/unet: expected the file config.json, which is not there");
    snprintf(path, sizeof path, "%s/unet/config.json", folder);
    put(path, "{}");
    refused(folder, SD_E_NOT_FOUND,
            "/unet: no weights: expected diffusion_pytorch_model.safetensors (or its .fp16, sharded or .bin "
            "form)");
}

/* Everything is there but a text encoder; links stand for the other parts. */
static void a_folder_needs_a_text_encoder(void **state) {
    static const char *const parts[] = {"model_index.json", "unet", "vae"};
    char folder[64], link[128];
    (void)state;
    snprintf(folder, sizeof folder, "%s/mute", root);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char target[512];
        snprintf(target, sizeof target, NETWORKS "sd1/%s", parts[i]);
        snprintf(link, sizeof link, "%s/%s", folder, parts[i]);
        assert_int_equal(symlink(target, link), 0);
    }
    refused(folder, SD_E_NOT_FOUND, ": expected the folder text_encoder, which is not there");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_and_single_files_hold_the_same),
        cmocka_unit_test(detection_sees_the_shapes),
        cmocka_unit_test(transposed_copies_do_not_pile_up),
        cmocka_unit_test(other_families_are_named),
        cmocka_unit_test(loras_are_named),
        cmocka_unit_test(incomplete_folders_say_what_is_missing),
        cmocka_unit_test(a_folder_needs_a_text_encoder),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
