/* Every host and device allocation of a small generation fails in turn: each time a clean error or a finished
 * picture, and a generation after it works. The linker hands malloc and its relatives of our libraries to the
 * functions here (see tests/CMakeLists.txt); cJSON gets them through its hooks. Run under ASan it finds
 * leaks. */
#include "sd/preview.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#include <cmocka.h>

#define GOLDEN SDVK_SOURCE_DIR "/tests/golden"
#define MODEL GOLDEN "/networks/sd1"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
VkResult __real_vkAllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                 const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
VkResult __wrap_vkAllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                 const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory);

/* Allocations so far, and which one fails; 0: none. Threads that compile allocate too. */
static struct {
    atomic_ulong count;
    unsigned long fail;
} host, device_memory;

static bool failed_in_json;

static bool fails(void) {
    return ++host.count == host.fail;
}

/* cJSON does not tell a lack of memory from a malformed text. */
static void *json_malloc(size_t size) {
    void *memory = __wrap_malloc(size);
    failed_in_json = failed_in_json || !memory;
    return memory;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return fails() ? NULL : __real_realloc(memory, size);
}

/* This one and all that follow: a full device stays full. */
VkResult __wrap_vkAllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                 const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory) {
    if (++device_memory.count >= device_memory.fail && device_memory.fail)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return __real_vkAllocateMemory(device, info, callbacks, memory);
}

enum part { OPEN_DEVICE, OPEN_MODEL, PLAN, PREVIEW, GENERATE };

struct state {
    sd_context *context;
    sd_model *model;
};

static const sd_context_options options = {.cache_dir = "", .models = GOLDEN};

/* With a LoRA and an embedding of the model folder. */
static const sd_params params = {.prompt = "a red mug, one <lora:kohya_sd1:0.5>",
                                 .width = 64,
                                 .height = 64,
                                 .steps = 1,
                                 .seed = 7,
                                 .sampler = "euler_a"};

static sd_status generate(struct state *s, sd_error *err) {
    uint8_t grey[64 * 64 * 3];
    memset(grey, 128, sizeof grey);
    const sd_picture init = {64, 64, 3, grey};
    sd_params from_picture = params;
    sd_outputs *outputs = NULL;
    from_picture.init_image = &init;
    from_picture.strength = 1;
    sd_status status = sd_generate(s->model, &from_picture, &outputs, err);
    assert_int_equal(!status, outputs != NULL);
    if (!status)
        status = sd_output_save(&outputs->items[0], "no_memory.png", err);
    sd_outputs_free(&outputs);
    remove("no_memory.png");
    return status;
}

/* The model's first one. */
static sd_status preview(struct state *s, sd_error *err) {
    const sd_params small = {.width = 64, .height = 64};
    const struct sd_watch nobody = {0};
    const float latent[8 * 8 * 4] = {0};
    sd_picture picture;
    sd_previews_close(&s->model->previews, s->context->vk);
    sd_status status = sd_preview(s->model, &small, &nobody, latent, &picture, err);
    assert_int_equal(!status, picture.pixels != NULL);
    sd_picture_free(&picture);
    return status;
}

static sd_status once(struct state *s, enum part part, sd_error *err) {
    sd_plan_report report;
    sd_status status;
    switch (part) {
    case OPEN_DEVICE:
        status = sd_context_create(&s->context, &options, err);
        assert_int_equal(!status, s->context != NULL);
        sd_context_destroy(&s->context);
        return status;
    case OPEN_MODEL:
        status = sd_model_open(&s->model, s->context, MODEL, NULL, err);
        assert_int_equal(!status, s->model != NULL);
        sd_model_close(&s->model);
        return status;
    case PLAN:
        return sd_plan_generate(s->model, &params, &report, err);
    case PREVIEW:
        return preview(s, err);
    default:
        return generate(s, err);
    }
}

static void prepare(struct state *s, enum part part) {
    sd_error err = {0};
    *s = (struct state){NULL, NULL};
    if (part > OPEN_DEVICE && sd_context_create(&s->context, &options, &err))
        fail_msg("%s", err.message);
    if (part > OPEN_MODEL && sd_model_open(&s->model, s->context, MODEL, NULL, &err))
        fail_msg("%s", err.message);
}

static void finish(struct state *s) {
    sd_model_close(&s->model);
    sd_context_destroy(&s->context);
}

static void works(struct state *s, enum part part) {
    sd_error err = {0};
    if (once(s, part, &err))
        fail_msg("afterwards: %s", err.message);
}

static void fail_host(enum part part) {
    struct state s;
    unsigned long all, failed = 0;
    prepare(&s, part);
    works(&s, part); /* what is made once and kept */
    host.count = 0;
    works(&s, part);
    all = host.count;
    for (unsigned long n = 1; n <= all; n++) {
        sd_error err = {0};
        host.count = 0;
        host.fail = n;
        failed_in_json = false;
        sd_status status = once(&s, part, &err);
        host.fail = 0;
        failed += status != SD_OK;
        if (status && ((status != SD_E_MEMORY && !failed_in_json) || !err.message[0]))
            fail_msg("allocation %lu of %lu: %s: %s", n, all, sd_status_name(status), err.message);
    }
    assert_true(failed > 0);
    works(&s, part);
    finish(&s);
}

static void opening_a_device(void **state) {
    (void)state;
    fail_host(OPEN_DEVICE);
}

static void opening_a_model(void **state) {
    (void)state;
    fail_host(OPEN_MODEL);
}

static void planning(void **state) {
    (void)state;
    fail_host(PLAN);
}

static void previewing(void **state) {
    (void)state;
    fail_host(PREVIEW);
}

static void generating(void **state) {
    (void)state;
    fail_host(GENERATE);
}

static void device_memory_runs_out(void **state) {
    (void)state;
    for (int part = OPEN_DEVICE; part <= GENERATE; part++) {
        struct state s;
        if (part == PLAN)
            continue;
        prepare(&s, (enum part)part);
        works(&s, (enum part)part);
        device_memory.count = 0;
        works(&s, (enum part)part);
        unsigned long all = device_memory.count;
        for (unsigned long n = 1; n <= all; n++) {
            sd_error err = {0};
            device_memory.count = 0;
            device_memory.fail = n;
            sd_status status = once(&s, (enum part)part, &err);
            device_memory.fail = 0;
            if (status != SD_E_DEVICE_MEMORY || !err.message[0])
                fail_msg("part %d: allocation %lu of %lu: %s: %s", part, n, all, sd_status_name(status),
                         err.message);
        }
        works(&s, (enum part)part);
        finish(&s);
    }
}

int main(void) {
    cJSON_Hooks hooks = {json_malloc, free};
    cJSON_InitHooks(&hooks);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_a_device), cmocka_unit_test(opening_a_model),
        cmocka_unit_test(planning),         cmocka_unit_test(previewing),
        cmocka_unit_test(generating),       cmocka_unit_test(device_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
