/* Compiling wanted pipelines: progress, cancelling, and everything that may fail on the way. The linker hands
 * the calls that fail to the functions here (see tests/CMakeLists.txt). The driver's cache on disk is off, so
 * that every compilation is a cold one. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include <cmocka.h>

#include "sd/vk/pipeline.h"
#include "shaders/shaders.h"

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*work)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*work)(void *), void *user);
VkResult __real_vkCreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                               const VkAllocationCallbacks *callbacks, VkDevice *out);
VkResult __wrap_vkCreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                               const VkAllocationCallbacks *callbacks, VkDevice *out);
VkResult __real_vkCreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                         const VkComputePipelineCreateInfo *infos,
                                         const VkAllocationCallbacks *callbacks, VkPipeline *out);
VkResult __wrap_vkCreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                         const VkComputePipelineCreateInfo *infos,
                                         const VkAllocationCallbacks *callbacks, VkPipeline *out);
VkResult __real_vkQueueSubmit(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence);
VkResult __wrap_vkQueueSubmit(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence);

/* Calls of one kind so far, and the first that fails; 0: none. */
struct calls {
    atomic_ulong count;
    unsigned long fail;
};
static struct calls allocations, threads, devices, pipelines, submissions;

static bool fails(struct calls *calls) {
    unsigned long n = atomic_fetch_add(&calls->count, 1) + 1;
    return calls->fail && n >= calls->fail;
}

static void reset(struct calls *calls, unsigned long fail) {
    atomic_store(&calls->count, 0);
    calls->fail = fail;
}

void *__wrap_calloc(size_t count, size_t size) {
    return fails(&allocations) ? NULL : __real_calloc(count, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*work)(void *), void *user) {
    return fails(&threads) ? EAGAIN : __real_pthread_create(thread, attr, work, user);
}

VkResult __wrap_vkCreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                               const VkAllocationCallbacks *callbacks, VkDevice *out) {
    return fails(&devices) ? VK_ERROR_TOO_MANY_OBJECTS
                           : __real_vkCreateDevice(physical, info, callbacks, out);
}

VkResult __wrap_vkCreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                         const VkComputePipelineCreateInfo *infos,
                                         const VkAllocationCallbacks *callbacks, VkPipeline *out) {
    return fails(&pipelines) ? VK_ERROR_OUT_OF_HOST_MEMORY
                             : __real_vkCreateComputePipelines(device, cache, count, infos, callbacks, out);
}

VkResult __wrap_vkQueueSubmit(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence) {
    return fails(&submissions) ? VK_ERROR_DEVICE_LOST : __real_vkQueueSubmit(queue, count, submits, fence);
}

/* What the progress callback saw. */
struct seen {
    pthread_t caller;
    uint32_t calls, done, all;
    uint32_t stop_at; /* asks to stop once this many are done; UINT32_MAX: never */
};

static bool watch(void *user, uint32_t done, uint32_t all) {
    struct seen *s = user;
    assert_true(pthread_equal(s->caller, pthread_self()));
    assert_true(done <= all && done >= s->done);
    assert_true(s->calls || !done);
    s->calls++;
    s->done = done;
    s->all = all;
    return done >= s->stop_at;
}

static sd_vk *open_device(void) {
    sd_vk *vk;
    sd_error err;
    const struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE")};
    if (sd_vk_open(&vk, &options, &err))
        fail_msg("%s", err.message);
    return vk;
}

enum { kernels = 6 };

static sd_status want_all(sd_vk *vk, sd_error *err) {
    sd_status status = SD_OK;
    for (int twice = 0; twice < 2; twice++)
        for (uint32_t lanes = 1; lanes <= kernels && !status; lanes++)
            status = sd_vk_pipeline_want(vk, &sd_shader_timestep_embedding, &lanes, 1, 0, err);
    return status;
}

static sd_status compile_all(sd_vk *vk, struct seen *s, uint32_t stop_at, sd_error *err) {
    *s = (struct seen){.caller = pthread_self(), .stop_at = stop_at};
    sd_status status = want_all(vk, err);
    return status ? status : sd_vk_pipelines_compile(vk, watch, s, err);
}

/* Everything is there: nothing is created any more, and the pipelines are distinct. */
static void check_complete(sd_vk *vk) {
    sd_vk_pipeline *all[kernels];
    sd_error err;
    reset(&pipelines, 1);
    for (uint32_t lanes = 1; lanes <= kernels; lanes++) {
        assert_int_equal(
            sd_vk_pipeline_get(vk, &sd_shader_timestep_embedding, &lanes, 1, 0, &all[lanes - 1], &err),
            SD_OK);
        for (uint32_t i = 0; i + 1 < lanes; i++)
            assert_ptr_not_equal(all[i], all[lanes - 1]);
    }
    reset(&pipelines, 0);
}

static void check_finishes(sd_vk *vk) {
    struct seen s;
    sd_error err;
    if (compile_all(vk, &s, UINT32_MAX, &err))
        fail_msg("afterwards: %s", err.message);
    check_complete(vk);
}

static void progress_goes_from_none_to_all(void **state) {
    (void)state;
    sd_vk *vk = open_device();
    struct seen s;
    sd_error err;
    reset(&devices, 0);
    reset(&threads, 0);
    assert_int_equal(compile_all(vk, &s, UINT32_MAX, &err), SD_OK);
    assert_int_equal(s.done, kernels);
    assert_int_equal(s.all, kernels);
    /* One core compiles alone; llvmpipe's helpers have devices of their own. */
    bool alone = sysconf(_SC_NPROCESSORS_ONLN) < 2, lazy = sd_vk_info(vk)->vendor == VK_VENDOR_ID_MESA;
    assert_true(alone ? threads.count == 0 : threads.count > 0);
    assert_true(alone || !lazy ? devices.count == 0 : devices.count > 0);
    check_complete(vk);
    assert_int_equal(compile_all(vk, &s, UINT32_MAX, &err), SD_OK);
    assert_int_equal(s.calls, 0);
    sd_vk_close(&vk);
}

static void cancelling_stops_at_any_moment(void **state) {
    (void)state;
    for (uint32_t at = 0; at <= kernels; at++) {
        sd_vk *vk = open_device();
        struct seen s;
        sd_error err;
        assert_int_equal(compile_all(vk, &s, at, &err), SD_E_CANCELLED);
        assert_string_equal(err.message, "cancelled");
        if (!at)
            assert_int_equal(s.done, 0);
        check_finishes(vk);
        sd_vk_close(&vk);
    }
}

static void without_threads_the_caller_compiles(void **state) {
    (void)state;
    sd_vk *vk = open_device();
    reset(&threads, 1);
    check_finishes(vk);
    reset(&threads, 0);
    sd_vk_close(&vk);
}

/* The nth call and all after it fail, for all n: a clean error and no pipeline half made, or success where
 * only a helper noticed. */
static void fail_each(struct calls *calls, sd_status expected) {
    for (unsigned long n = 1;; n++) {
        sd_vk *vk = open_device();
        struct seen s;
        sd_error err = {0};
        reset(calls, n);
        sd_status status = compile_all(vk, &s, UINT32_MAX, &err);
        bool reached = calls->count >= n;
        reset(calls, 0);
        assert_true(!status || (status == expected && err.message[0]));
        assert_true(status || s.done == kernels);
        if (n == 1)
            assert_true(reached && (status || calls == &devices));
        if (status != SD_E_DEVICE_LOST)
            check_finishes(vk);
        sd_vk_close(&vk);
        if (!reached)
            return;
    }
}

static void every_allocation_fails(void **state) {
    (void)state;
    fail_each(&allocations, SD_E_MEMORY);
}

static void every_creation_fails(void **state) {
    (void)state;
    fail_each(&pipelines, SD_E_MEMORY);
}

static bool submits(void) {
    sd_vk *vk = open_device();
    bool lazy = sd_vk_info(vk)->vendor == VK_VENDOR_ID_MESA;
    sd_vk_close(&vk);
    return lazy;
}

static void every_submission_fails(void **state) {
    (void)state;
    if (submits())
        fail_each(&submissions, SD_E_DEVICE_LOST);
    else { /* then none may be made */
        sd_vk *vk = open_device();
        reset(&submissions, 1);
        check_finishes(vk);
        reset(&submissions, 0);
        sd_vk_close(&vk);
    }
}

static void helpers_without_devices_are_done_without(void **state) {
    (void)state;
    sd_vk *vk = open_device();
    reset(&devices, 1);
    check_finishes(vk);
    reset(&devices, 0);
    sd_vk_close(&vk);
}

int main(void) {
    setenv("MESA_SHADER_CACHE_DISABLE", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_goes_from_none_to_all),
        cmocka_unit_test(cancelling_stops_at_any_moment),
        cmocka_unit_test(without_threads_the_caller_compiles),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(every_creation_fails),
        cmocka_unit_test(every_submission_fails),
        cmocka_unit_test(helpers_without_devices_are_done_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
