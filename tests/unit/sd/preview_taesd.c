/* A TAESD of the model folder is for previews alone, and never costs a picture. */
#define _XOPEN_SOURCE 700 /* mkdtemp, symlink */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sd/base/folders.h"
#include "sd/io/file.h"
#include "sd/preview.h"

#define NETWORKS SDVK_SOURCE_DIR "/tests/golden/networks/"
#define DIFFUSERS SDVK_SOURCE_DIR "/tests/golden/parts/taesd/diffusion_pytorch_model.safetensors"
#define AUTHORS SDVK_SOURCE_DIR "/tests/golden/parts/taesd_decoder.safetensors"
#define UNET NETWORKS "sd1/unet/diffusion_pytorch_model.safetensors"

static char root[64];

struct heard {
    uint32_t count;
    char text[1024];
};

static void hear(void *user, sd_log_level level, const char *text) {
    struct heard *h = user;
    assert_int_equal(level, SD_LOG_WARNING);
    h->count++;
    snprintf(h->text, sizeof h->text, "%s", text);
}

static void make_root(void) {
    strcpy(root, "/tmp/sdvk-test-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void remove_root(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static void place(const char *name, const char *file) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    sd_make_folders(path);
    assert_int_equal(symlink(file, path), 0);
}

static sd_context *open_in_root(struct heard *heard) {
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE"),
                                        .models = root,
                                        .log = {.write = hear, .user = heard, .level = SD_LOG_WARNING}};
    sd_context *context;
    sd_error err;
    *heard = (struct heard){0};
    if (sd_context_create(&context, &options, &err))
        fail_msg("%s", err.message);
    return context;
}

static sd_model *open_model(sd_context *context, const char *network) {
    char path[512];
    sd_model *model;
    sd_error err;
    snprintf(path, sizeof path, NETWORKS "%s", network);
    if (sd_model_open(&model, context, path, NULL, &err))
        fail_msg("%s", err.message);
    return model;
}

/* Width of a preview of 64 pixels: 64 by a TAESD, 8 by the map. */
static uint32_t preview_width(sd_model *model) {
    const sd_params params = {.width = 64, .height = 64};
    const struct sd_watch nobody = {0};
    const float latent[8 * 8 * 4] = {0};
    sd_picture picture;
    sd_error err;
    if (sd_preview(model, &params, &nobody, latent, &picture, &err))
        fail_msg("%s", err.message);
    uint32_t width = picture.width;
    sd_picture_free(&picture);
    return width;
}

/* As the programs and the authors call the files, for the family that they are for. */
static void the_familys_own_is_found(void **state) {
    static const struct {
        const char *network, *name, *file;
        uint32_t width;
    } rows[] = {
        {"sd1", "vae_approx/taesd_decoder.safetensors", AUTHORS, 64},
        {"sd2", "models/VAE-taesd/taesd_decoder.safetensors", AUTHORS, 64},
        {"sd1", "models/VAE-approx/sub/TAESD.safetensors", DIFFUSERS, 64},
        {"sd1", "vae_approx/taesd/diffusion_pytorch_model.safetensors", DIFFUSERS, 64},
        {"sdxl", "vae_approx/taesdxl_decoder.safetensors", AUTHORS, 64},
        {"sdxl", "vae_approx/x/taesdxl/diffusion_pytorch_model.safetensors", DIFFUSERS, 64},
        {"sdxl", "vae_approx/taesd_decoder.safetensors", AUTHORS, 8},
        {"sd1", "vae_approx/taesdxl_decoder.safetensors", AUTHORS, 8},
        {"sd1", "vae_approx/taesd_encoder.safetensors", AUTHORS, 8},
        {"sd1", "vae_approx/mytaesd/diffusion_pytorch_model.safetensors", DIFFUSERS, 8},
        {"sd1", "vae_approx/diffusion_pytorch_model.safetensors", DIFFUSERS, 8},
        {"sd1", "vae/taesd_decoder.safetensors", AUTHORS, 8},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct heard heard;
        make_root();
        place(rows[i].name, rows[i].file);
        sd_context *context = open_in_root(&heard);
        sd_model *model = open_model(context, rows[i].network);
        uint32_t width = preview_width(model);
        if (width != rows[i].width)
            fail_msg("%s, %s: %u pixels", rows[i].network, rows[i].name, width);
        if (heard.count)
            fail_msg("%s: %s", rows[i].name, heard.text);
        sd_model_close(&model);
        sd_context_destroy(&context);
        remove_root();
    }
}

/* The authors' file with NaN for every value. */
static void place_nan(const char *name) {
    char path[512];
    sd_bytes bytes;
    sd_error err;
    uint64_t header;
    assert_int_equal(sd_file_read(AUTHORS, 0, &bytes, &err), SD_OK);
    memcpy(&header, bytes.data, sizeof header);
    memset((char *)bytes.data + 8 + header, 0xFF, bytes.size - 8 - header);
    snprintf(path, sizeof path, "%s/%s", root, name);
    sd_make_folders(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    fclose(file);
    sd_bytes_clear(&bytes);
}

/* One warning for a model that is loaded, and previews by the map. */
static void broken_ones_are_one_warning(void **state) {
    static const char name[] = "vae_approx/taesd_decoder.safetensors";
    static const struct {
        const char *file; /* NULL: NaN */
        bool named;       /* the message begins with the file's path */
        const char *message;
    } rows[] = {{SDVK_SOURCE_DIR "/tests/golden/pictures/mug.png", true,
                 ": expected a safetensors file, found a PNG picture"},
                {UNET, true, ": expected a TAESD decoder, found a UNet"},
                {NULL, false, "the TAESD decoder gave NaN at value 0 of 12288"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[512], want[1024];
        struct heard heard;
        make_root();
        if (rows[i].file)
            place(name, rows[i].file);
        else
            place_nan(name);
        snprintf(path, sizeof path, "%s/%s", root, name);
        snprintf(want, sizeof want, "previews go without a TAESD: %s%s", rows[i].named ? path : "",
                 rows[i].message);
        sd_context *context = open_in_root(&heard);
        sd_model *model = open_model(context, "sd1");
        for (int again = 0; again < 2; again++) {
            assert_int_equal(preview_width(model), 8);
            assert_int_equal(heard.count, 1);
        }
        assert_string_equal(heard.text, want);
        sd_model_close(&model);
        sd_context_destroy(&context);
        remove_root();
    }
}

/* A cancel while it is loaded, or while it decodes, is no failure of the TAESD. */
static void cancel_leaves_it_for_the_next_preview(void **state) {
    static const float latent[8 * 8 * 4];
    const sd_params params = {.width = 64, .height = 64};
    struct heard heard;
    (void)state;
    make_root();
    place("vae_approx/taesd_decoder.safetensors", AUTHORS);
    sd_context *context = open_in_root(&heard);
    for (int loading = 0; loading < 2; loading++) {
        sd_cancel cancel = {0};
        const struct sd_watch watch = {.cancel = &cancel};
        sd_model *model = open_model(context, "sd1");
        sd_picture picture;
        sd_error err;
        sd_cancel_request(&cancel);
        model->cancel = loading ? &cancel : NULL;
        assert_int_equal(sd_preview(model, &params, &watch, latent, &picture, &err), SD_E_CANCELLED);
        assert_null(picture.pixels);
        model->cancel = NULL;
        assert_int_equal(preview_width(model), 64);
        sd_model_close(&model);
    }
    assert_int_equal(heard.count, 0);
    sd_context_destroy(&context);
    remove_root();
}

static void count_preview(void *user, const sd_progress *progress) {
    *(uint32_t *)user += progress->preview && progress->preview->width == 64;
}

/* The picture is the VAE's, and says so; the device holds the TAESD as well. */
static void pictures_do_not_come_from_it(void **state) {
    sd_outputs *outputs[2];
    sd_model_info info[2];
    uint32_t previews = 0;
    (void)state;
    for (int with = 0; with < 2; with++) {
        struct heard heard;
        sd_error err;
        make_root();
        place(with ? "vae_approx/taesd_decoder.safetensors" : "vae_approx/other.safetensors", AUTHORS);
        sd_context *context = open_in_root(&heard);
        sd_model *model = open_model(context, "sd1");
        const sd_params params = {.prompt = "a mug",
                                  .width = 64,
                                  .height = 64,
                                  .steps = 3,
                                  .seed = 1,
                                  .preview_every = 1,
                                  .progress = count_preview,
                                  .progress_user = &previews};
        if (sd_generate(model, &params, &outputs[with], &err))
            fail_msg("%s", err.message);
        sd_model_get_info(model, &info[with]);
        sd_model_close(&model);
        sd_context_destroy(&context);
        remove_root();
    }
    assert_int_equal(previews, 2);
    assert_true(info[1].weight_bytes > info[0].weight_bytes);
    assert_int_equal(info[0].parameters, info[1].parameters);
    assert_memory_equal(outputs[0]->items[0].picture.pixels, outputs[1]->items[0].picture.pixels,
                        64 * 64 * 3);
    assert_string_equal(outputs[0]->items[0].infotext, outputs[1]->items[0].infotext);
    sd_outputs_free(&outputs[0]);
    sd_outputs_free(&outputs[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_familys_own_is_found),
        cmocka_unit_test(broken_ones_are_one_warning),
        cmocka_unit_test(cancel_leaves_it_for_the_next_preview),
        cmocka_unit_test(pictures_do_not_come_from_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
