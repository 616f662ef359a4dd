/* The VAE where device memory is short: the same picture as with plenty, and the memory that the plan named.
 * Allocations of the driver go through this file (see tests/CMakeLists.txt), which refuses large ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#include <cmocka.h>

#include "sd/context.h"
#include "sd/vk/buffer.h"

VkResult __real_vkAllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                 const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory);
VkResult __wrap_vkAllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                 const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory);

static uint64_t limit, largest;
static unsigned refused;

VkResult __wrap_vkAllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                 const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory) {
    if (info->allocationSize > limit) {
        refused++;
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    largest = info->allocationSize > largest ? info->allocationSize : largest;
    return __real_vkAllocateMemory(device, info, callbacks, memory);
}

/* Enough for everything whole, but for no block of the usual size, in which later buffers would find room. */
static const uint64_t plenty = 40 << 20;

/* Sides that are no multiples of the strips' heights. */
enum { width = 200, height = 168, bytes = width * height * 3 };

struct state {
    sd_context *context;
    sd_model *model;
    uint8_t init[bytes];
    sd_outputs *plenty; /* the picture, made with all the memory that it wants */
    sd_vk_buffer *ballast[512];
    size_t ballast_count;
};

static sd_params request(struct state *s, sd_picture *init, uint32_t vae_memory) {
    *init = (sd_picture){width, height, 3, s->init};
    return (sd_params){.prompt = "a red mug",
                       .width = width,
                       .height = height,
                       .steps = 2,
                       .seed = 7,
                       .init_image = init,
                       .strength = 0.5f,
                       .vae_memory = vae_memory};
}

static sd_status generate(struct state *s, uint32_t vae_memory, uint64_t most, sd_outputs **out,
                          sd_error *err) {
    sd_picture init;
    const sd_params params = request(s, &init, vae_memory);
    limit = most;
    largest = refused = 0;
    sd_status status = sd_generate(s->model, &params, out, err);
    limit = plenty;
    return status;
}

static void same_as_with_plenty(struct state *s, uint32_t vae_memory, uint64_t most) {
    sd_outputs *out;
    sd_error err;
    if (generate(s, vae_memory, most, &out, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(out->items[0].picture.pixels, s->plenty->items[0].picture.pixels, bytes);
    assert_string_equal(out->items[0].json, s->plenty->items[0].json);
    sd_outputs_free(&out);
}

static uint64_t planned(struct state *s, uint32_t vae_memory, uint32_t *strips) {
    sd_plan_report report;
    sd_picture init;
    sd_error err;
    const sd_params params = request(s, &init, vae_memory);
    if (sd_plan_generate(s->model, &params, &report, &err))
        fail_msg("%s", err.message);
    const sd_network_plan *vae = &report.network[report.count - 1];
    assert_string_equal(vae->name, "vae");
    *strips = vae->strips;
    return vae->activation_bytes;
}

/* The blocks that hold the weights have room left, which would hide how much the VAE asks for. */
static void fill_blocks(struct state *s) {
    limit = 0;
    for (uint64_t size = 1 << 20; size >= 1 << 16; size /= 2)
        while (s->ballast_count < sizeof s->ballast / sizeof *s->ballast &&
               !sd_vk_buffer_create(s->context->vk, &s->ballast[s->ballast_count], size, SD_VK_LOCAL,
                                    "ballast", NULL))
            s->ballast_count++;
    limit = plenty;
}

static int open_model(void **state) {
    static struct state s;
    const sd_context_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    sd_error err;
    *state = &s;
    limit = UINT64_MAX;
    for (size_t i = 0; i < bytes; i++)
        s.init[i] = (uint8_t)(i / 3 % width + i / 3 / width * (i % 3));
    if (sd_context_create(&s.context, &options, &err) ||
        sd_model_open(&s.model, s.context, SDVK_SOURCE_DIR "/samples/mockup", NULL, &err) ||
        generate(&s, 0, UINT64_MAX, &s.plenty, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    fill_blocks(&s);
    return 0;
}

static int close_model(void **state) {
    struct state *s = *state;
    for (size_t i = 0; i < s->ballast_count; i++)
        sd_vk_buffer_destroy(s->context->vk, &s->ballast[i]);
    sd_outputs_free(&s->plenty);
    sd_model_close(&s->model);
    sd_context_destroy(&s->context);
    return 0;
}

static void asked_for(void **state) {
    struct state *s = *state;
    uint32_t strips;
    uint64_t whole = planned(s, 0, &strips);
    assert_int_equal(strips, 1);
    for (uint32_t mib = 4; mib >= 2; mib--) {
        uint64_t less = planned(s, mib, &strips);
        print_message("%u MiB: %llu of %llu KiB in up to %u strips\n", mib, (unsigned long long)less >> 10,
                      (unsigned long long)whole >> 10, strips);
        assert_true(strips > 1);
        assert_true(less < whole && less <= (uint64_t)mib << 20);
        same_as_with_plenty(s, mib, plenty);
    }
}

/* A device that lets us have no more than one piece of that size at a time: halves do not fit, strips do. */
static void found_out(void **state) {
    same_as_with_plenty(*state, 0, 3 << 20);
    assert_true(refused > 0);
}

/* Memory for exactly what the plan says is enough, and used up. */
static void as_planned(void **state) {
    struct state *s = *state;
    uint32_t strips;
    uint64_t less = (planned(s, 4, &strips) + 255) / 256 * 256; /* buffers' alignment */
    same_as_with_plenty(s, 4, less);
    assert_int_equal(largest, less);
}

static void not_even_strips_fit(void **state) {
    struct state *s = *state;
    sd_outputs *out;
    sd_error err;
    assert_int_equal(generate(s, 0, 1 << 20, &out, &err), SD_E_DEVICE_MEMORY);
    assert_null(out);
    assert_non_null(strstr(err.message, "out of device memory: activations needs"));
    same_as_with_plenty(s, 0, plenty);
}

static void out_of_range(void **state) {
    sd_outputs *out;
    sd_error err;
    assert_int_equal(generate(*state, 65537, plenty, &out, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "vae_memory: expected 1 to 65536, found 65537");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_for),           cmocka_unit_test(found_out),    cmocka_unit_test(as_planned),
        cmocka_unit_test(not_even_strips_fit), cmocka_unit_test(out_of_range),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
