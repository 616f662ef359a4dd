/* Names in model folders as A1111 and ComfyUI lay them out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sd/base/folders.h"
#include "sd/io/safetensors.h"
#include "sd/library.h"

static char root[64];

static int begin(void **state) {
    (void)state;
    strcpy(root, "/tmp/sdvk-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* A file of as many bytes as its place in the list, from 1. */
static void make(const char *const *names) {
    for (int size = 1; *names; names++, size++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", root, *names);
        sd_make_folders(path);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        for (int i = 0; i < size; i++)
            fputc('x', file);
        fclose(file);
    }
}

static const char *below(const char *folder) {
    static char path[512];
    snprintf(path, sizeof path, "%s%s%s", root, *folder ? "/" : "", folder);
    return path;
}

/* The name resolves to this file, a path below the root. */
static void expect(const char *folder, sd_library_kind kind, const char *name, const char *want) {
    char *path;
    sd_error err;
    if (sd_library_find(below(folder), kind, name, &path, &err))
        fail_msg("%s", err.message);
    assert_string_equal(path, below(want));
    free(path);
}

/* %R in the message is the root. */
static void refuse(sd_library_kind kind, const char *name, sd_status want, const char *message) {
    char *path, text[1024] = "";
    sd_error err;
    for (const char *p = message; *p; p++)
        if (!strncmp(p, "%R", 2))
            strcat(text, root), p++;
        else
            strncat(text, p, 1);
    assert_int_equal(sd_library_find(below(""), kind, name, &path, &err), want);
    assert_string_equal(err.message, text);
    assert_null(path);
}

static const char *const a1111[] = {"models/Stable-diffusion/v1-5.ckpt",
                                    "models/Stable-diffusion/v1-5.vae.pt",
                                    "models/Stable-diffusion/v1-5.yaml",
                                    "models/Stable-diffusion/v1-5.preview.png",
                                    "models/Lora/acme.safetensors",
                                    "models/Lora/style/Ink.safetensors",
                                    "models/LyCORIS/loha.safetensors",
                                    "models/VAE/mse.safetensors",
                                    "models/VAE-approx/taesd.pt",
                                    "models/VAE-taesd/taesd_decoder.pth",
                                    "models/ControlNet/canny.pth",
                                    "models/ESRGAN/4x.pth",
                                    "models/RealESRGAN/x2.pth",
                                    "models/hypernetworks/h.pt",
                                    "embeddings/bad_hands.pt",
                                    "embeddings/sdxl/neg.safetensors",
                                    "embeddings/readme.txt",
                                    NULL};

static const char *const comfy[] = {"models/checkpoints/xl/base.safetensors",
                                    "models/diffusers/folder/model_index.json",
                                    "models/diffusers/folder/unet/diffusion_pytorch_model.safetensors",
                                    "models/loras/acme.safetensors",
                                    "models/loras/peft/adapter_config.json",
                                    "models/loras/peft/adapter_model.safetensors",
                                    "models/embeddings/neg.safetensors",
                                    "models/vae/mse.safetensors",
                                    "models/vae_approx/taesd_decoder.safetensors",
                                    "models/controlnet/canny.safetensors",
                                    "models/t2i_adapter/depth.safetensors",
                                    "models/upscale_models/4x.pth",
                                    "models/text_encoders/clip_l.safetensors",
                                    "models/clip/clip_g.safetensors",
                                    "models/unet/u.gguf",
                                    "models/diffusion_models/d.safetensors",
                                    "models/.hidden/x.safetensors",
                                    "models/loras/.git/x.safetensors",
                                    NULL};

static void expect_list(const char *folder, const char *want) {
    char got[2048] = "";
    sd_library *l;
    sd_error err;
    if (sd_library_open(&l, below(folder), &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < sd_library_count(l); i++) {
        const sd_library_file *f = sd_library_at(l, i);
        struct stat st;
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s %s\n", sd_library_kind_name(f->kind), f->name);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(f->bytes, S_ISREG(st.st_mode) ? st.st_size : 0);
    }
    assert_null(sd_library_at(l, sd_library_count(l)));
    assert_string_equal(got, want);
    sd_library_close(&l);
}

static void a1111_folders(void **state) {
    static const char want[] =
        "checkpoint v1-5\nlora acme\nlora loha\nlora style/Ink\nembedding bad_hands\n"
        "embedding sdxl/neg\nvae mse\ntaesd taesd\ntaesd taesd_decoder\ncontrolnet canny\nupscaler 4x\n"
        "upscaler x2\n";
    (void)state;
    make(a1111);
    expect_list("", want);
    expect_list("models", want);
    expect("", SD_LIBRARY_LORA, "acme", "models/Lora/acme.safetensors");
    expect("", SD_LIBRARY_LORA, "acme.safetensors", "models/Lora/acme.safetensors");
    expect("", SD_LIBRARY_LORA, "style/Ink", "models/Lora/style/Ink.safetensors");
    expect("", SD_LIBRARY_LORA, "Ink", "models/Lora/style/Ink.safetensors");
    expect("", SD_LIBRARY_LORA, "ink", "models/Lora/style/Ink.safetensors");
    expect("", SD_LIBRARY_LORA, "STYLE/INK.SAFETENSORS", "models/Lora/style/Ink.safetensors");
    expect("", SD_LIBRARY_CHECKPOINT, "v1-5", "models/Stable-diffusion/v1-5.ckpt");
    expect("models", SD_LIBRARY_EMBEDDING, "neg", "models/../embeddings/sdxl/neg.safetensors");
}

static void comfyui_folders(void **state) {
    static const char want[] =
        "checkpoint folder\ncheckpoint xl/base\nlora acme\nlora peft\nembedding neg\nvae mse\n"
        "taesd taesd_decoder\ncontrolnet canny\ncontrolnet depth\nupscaler 4x\ntext_encoder clip_g\n"
        "text_encoder clip_l\nunet d\nunet u\n";
    (void)state;
    make(comfy);
    expect_list("", want);
    expect_list("models", want);
    expect("", SD_LIBRARY_CHECKPOINT, "base", "models/checkpoints/xl/base.safetensors");
    expect("", SD_LIBRARY_CHECKPOINT, "folder", "models/diffusers/folder");
    expect("", SD_LIBRARY_LORA, "peft", "models/loras/peft");
    expect("", SD_LIBRARY_UNET, "u", "models/unet/u.gguf");
}

static void the_best_fit_wins(void **state) {
    static const char *const files[] = {"loras/acme.safetensors",       "loras/style/acme.safetensors",
                                        "loras/Acme.safetensors",       "loras/two/x.pt",
                                        "loras/two/x.safetensors",      "loras/v1.5/x.safetensors",
                                        "loras/acme.v2.safetensors",    "lora/twin.safetensors",
                                        "LyCORIS/twin.safetensors",     "loras/Deep/Er/name.safetensors",
                                        "loras/other/name.safetensors", NULL};
    (void)state;
    make(files);
    expect("", SD_LIBRARY_LORA, "acme", "loras/acme.safetensors");
    expect("", SD_LIBRARY_LORA, "Acme", "loras/Acme.safetensors");
    expect("", SD_LIBRARY_LORA, "style/acme", "loras/style/acme.safetensors");
    expect("", SD_LIBRARY_LORA, "acme.v2", "loras/acme.v2.safetensors");
    expect("", SD_LIBRARY_LORA, "Er/name", "loras/Deep/Er/name.safetensors");
    expect("", SD_LIBRARY_LORA, "er/name", "loras/Deep/Er/name.safetensors");
    expect("", SD_LIBRARY_LORA, "two/x.pt", "loras/two/x.pt");
    expect("", SD_LIBRARY_LORA, "v1.5/x", "loras/v1.5/x.safetensors");
    expect("", SD_LIBRARY_LORA, "LyCORIS/twin", "LyCORIS/twin.safetensors");
    expect("", SD_LIBRARY_LORA, "lycoris/twin", "LyCORIS/twin.safetensors");
    refuse(SD_LIBRARY_LORA, "two/x", SD_E_ARGUMENT,
           "'two/x' may be %R/loras/two/x.pt or %R/loras/two/x.safetensors; write more of the name");
    refuse(SD_LIBRARY_LORA, "twin", SD_E_ARGUMENT,
           "'twin' may be %R/LyCORIS/twin.safetensors or %R/lora/twin.safetensors; write more of the name");
    refuse(SD_LIBRARY_LORA, "ACME", SD_E_ARGUMENT,
           "'ACME' may be %R/loras/Acme.safetensors or %R/loras/acme.safetensors; write more of the name");
    refuse(
        SD_LIBRARY_LORA, "name", SD_E_ARGUMENT,
        "'name' may be %R/loras/Deep/Er/name.safetensors or %R/loras/other/name.safetensors; write more of "
        "the name");
}

static void unknown_names(void **state) {
    static const char *const files[] = {"loras/acme.safetensors", "loras/style/inkwash.safetensors", NULL};
    char *path;
    sd_error err;
    (void)state;
    make(files);
    refuse(SD_LIBRARY_LORA, "acne", SD_E_NOT_FOUND,
           "'acne': no LoRA of this name in %R/loras; did you mean 'acme'?");
    refuse(SD_LIBRARY_LORA, "inkwashh", SD_E_NOT_FOUND,
           "'inkwashh': no LoRA of this name in %R/loras; did you mean 'inkwash'?");
    refuse(SD_LIBRARY_LORA, "quite another", SD_E_NOT_FOUND,
           "'quite another': no LoRA of this name among the 2 in %R/loras");
    refuse(SD_LIBRARY_LORA, "cme", SD_E_NOT_FOUND,
           "'cme': no LoRA of this name in %R/loras; did you mean 'acme'?");
    refuse(SD_LIBRARY_LORA, "../loras/acme", SD_E_NOT_FOUND,
           "'../loras/acme': no LoRA of this name among the 2 in %R/loras");
    refuse(SD_LIBRARY_LORA, "", SD_E_ARGUMENT, "expected the name of a LoRA, found ''");
    refuse(SD_LIBRARY_VAE, "mse", SD_E_NOT_FOUND, "'mse': there is no folder for VAEs in %R");
    assert_int_equal(sd_library_find(NULL, SD_LIBRARY_LORA, "acme", &path, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message,
                        "'acme': LoRAs have no names, as no model folder is given (--models DIR)");
}

static void write_lora(const char *name, const char *title) {
    const sd_file_tensor tensor = {
        .name = "t", .dtype = SD_FILE_U8, .rank = 1, .shape = {1}, .data = (const uint8_t *)"x", .bytes = 1};
    const sd_file_metadata metadata = {"ss_output_name", title};
    sd_error err;
    assert_int_equal(sd_safetensors_write(below(name), &tensor, 1, &metadata, 1, &err), SD_OK);
}

/* As A1111 writes LoRAs into prompts unless it is told otherwise. */
static void titles_inside_of_loras(void **state) {
    static const char *const files[] = {"loras/acme.safetensors", "loras/old.pt", "vae/x.safetensors", NULL};
    (void)state;
    make(files);
    write_lora("loras/renamed.safetensors", "Ink");
    write_lora("loras/acme2.safetensors", "acme");
    write_lora("vae/x.safetensors", "Title");
    expect("", SD_LIBRARY_LORA, "Ink", "loras/renamed.safetensors");
    expect("", SD_LIBRARY_LORA, "acme", "loras/acme.safetensors"); /* a file's own name comes first */
    refuse(SD_LIBRARY_LORA, "ink", SD_E_NOT_FOUND, "'ink': no LoRA of this name among the 4 in %R/loras");
    refuse(SD_LIBRARY_VAE, "Title", SD_E_NOT_FOUND, "'Title': no VAE of this name among the 1 in %R/vae");
    write_lora("loras/copy.safetensors", "Ink");
    refuse(SD_LIBRARY_LORA, "Ink", SD_E_ARGUMENT,
           "'Ink' may be %R/loras/copy.safetensors or %R/loras/renamed.safetensors; write more of the name");
}

static void paths_and_names(void **state) {
    static const char *const files[] = {"loras/acme.safetensors", "acme", NULL};
    char *path, *cwd = getcwd(NULL, 0);
    sd_error err;
    (void)state;
    make(files);
    assert_int_equal(chdir(root), 0);
    static const struct {
        const char *word, *want;
    } rows[] = {{"acme", "acme"},
                {"./acme.safetensors", "./acme.safetensors"},
                {"../none", "../none"},
                {"/none", "/none"},
                {"loras/acme.safetensors", "loras/acme.safetensors"},
                {"acme.safetensors", "./loras/acme.safetensors"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(sd_library_resolve(".", SD_LIBRARY_LORA, rows[i].word, &path, &err), SD_OK);
        assert_string_equal(path, rows[i].want);
        free(path);
    }
    assert_int_equal(sd_library_resolve(NULL, SD_LIBRARY_LORA, "acme.safetensors", &path, &err), SD_OK);
    assert_string_equal(path, "acme.safetensors");
    free(path);
    assert_int_equal(chdir(cwd), 0);
    free(cwd);
}

/* Links that lead back, to the same file, and nowhere. */
static void links(void **state) {
    static const char *const files[] = {"models/loras/acme.safetensors", "models/loras/b/acme2.safetensors",
                                        NULL};
    char target[512], link[512];
    (void)state;
    make(files);
    snprintf(target, sizeof target, "%s/models", root);
    snprintf(link, sizeof link, "%s/models/loras/b/round", root);
    assert_int_equal(symlink(target, link), 0);
    snprintf(target, sizeof target, "%s/models/loras", root);
    snprintf(link, sizeof link, "%s/models/loras/again", root);
    assert_int_equal(symlink(target, link), 0);
    snprintf(link, sizeof link, "%s/models/Lora", root);
    assert_int_equal(symlink(target, link), 0);
    snprintf(link, sizeof link, "%s/models/loras/gone.safetensors", root);
    assert_int_equal(symlink("/nowhere/at/all", link), 0);
    expect("", SD_LIBRARY_LORA, "acme", "models/Lora/acme.safetensors");
    expect("", SD_LIBRARY_LORA, "acme2", "models/Lora/b/acme2.safetensors");
    refuse(SD_LIBRARY_LORA, "gone", SD_E_NOT_FOUND,
           "'gone': no LoRA of this name among the 4 in %R/models/Lora, %R/models/loras");
}

static void folders_that_are_none(void **state) {
    static const char *const files[] = {"file", "other/x.safetensors", NULL};
    sd_library *l;
    char want[512];
    sd_error err;
    (void)state;
    make(files);
    assert_int_equal(sd_library_open(&l, below("none"), &err), SD_E_NOT_FOUND);
    snprintf(want, sizeof want, "%s/none: cannot open the model folder: No such file or directory", root);
    assert_string_equal(err.message, want);
    assert_int_equal(sd_library_open(&l, below("file"), &err), SD_E_NOT_FOUND);
    snprintf(want, sizeof want, "%s/file: expected a folder of models, found a file", root);
    assert_string_equal(err.message, want);
    assert_int_equal(sd_library_open(&l, below("other"), &err), SD_E_NOT_FOUND);
    snprintf(
        want, sizeof want,
        "%s/other: expected folders as A1111 or ComfyUI have them (models/Stable-diffusion, models/Lora, "
        "checkpoints, loras, embeddings ...), found none",
        root);
    assert_string_equal(err.message, want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a1111_folders, begin, end),
        cmocka_unit_test_setup_teardown(comfyui_folders, begin, end),
        cmocka_unit_test_setup_teardown(the_best_fit_wins, begin, end),
        cmocka_unit_test_setup_teardown(unknown_names, begin, end),
        cmocka_unit_test_setup_teardown(titles_inside_of_loras, begin, end),
        cmocka_unit_test_setup_teardown(paths_and_names, begin, end),
        cmocka_unit_test_setup_teardown(links, begin, end),
        cmocka_unit_test_setup_teardown(folders_that_are_none, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
