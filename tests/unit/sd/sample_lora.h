/* Small pictures of the sample model with its LoRA, for tests that exchange LoRAs. */
#ifndef SD_TESTS_SAMPLE_LORA_H
#define SD_TESTS_SAMPLE_LORA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sd/sd.h"

#define MOCKUP SDVK_SOURCE_DIR "/samples/mockup"
#define ACME SDVK_SOURCE_DIR "/samples/loras/acme.safetensors"

enum { side = 64 };

struct picture {
    uint8_t pixels[side * side * 3];
};

static inline struct picture render(sd_model *model) {
    struct picture out;
    sd_outputs *outputs;
    sd_error err;
    const sd_params params = {
        .prompt = "an acme red mug", .width = side, .height = side, .steps = 3, .seed = 5, .cfg_scale = 4};
    if (sd_generate(model, &params, &outputs, &err))
        fail_msg("%s", err.message);
    memcpy(out.pixels, outputs->items[0].picture.pixels, sizeof out.pixels);
    sd_outputs_free(&outputs);
    return out;
}

static inline struct picture render_with(sd_model *model, const sd_lora_use *uses, size_t count) {
    sd_error err;
    if (sd_model_set_loras(model, uses, count, false, &err))
        fail_msg("%s", err.message);
    return render(model);
}

static inline bool equal(const struct picture *a, const struct picture *b) {
    return !memcmp(a->pixels, b->pixels, sizeof a->pixels);
}

#endif
