/* What the device reaches in multiply-adds and in copies alone. Each ceiling is the best of several variants
 * and of many submissions, so that other programs on the device disturb it little. */
#include "sd/base/clock.h"
#include "sd/context.h"
#include "sd/tools.h"

#include "sd/vk/commands.h"
#include "shaders/peak.h"
#include "shaders/shaders.h"

/* A loop of llvmpipe ends after 65,535 rounds of a workgroup: `rounds` and the stretch of a copying workgroup
 * are far below. The copies' buffers are larger than caches. */
enum {
    gpu_rounds = 128,
    cpu_rounds = 512,
    copy_groups = 4096,
    gpu_bytes = 256 << 20,
    small_bytes = 64 << 20
};

struct trial {
    const struct sd_shader *shader;
    uint32_t spec[2];
    struct peak_push push;
    uint32_t groups, repeats; /* workgroups of a dispatch, dispatches of a submission */
    uint32_t *size, most;     /* which of them grows until a submission lasts long enough, and its limit */
    double work;              /* of one workgroup */
};

static uint32_t lanes_of(const struct sd_vk_info *info) {
    return info->kind == SD_VK_CPU ? info->subgroup : info->max_invocations < 256 ? 128 : 256;
}

/* Seconds of the fastest of the submissions within `budget` seconds, of two at least. */
static sd_status best_time(sd_vk *vk, const struct trial *t, double budget, double *best, sd_error *err) {
    sd_vk_pipeline *pipeline;
    sd_vk_commands *commands = NULL;
    const uint32_t groups[3] = {t->groups, 1, 1};
    sd_status status = sd_vk_pipeline_get(vk, t->shader, t->spec, 2, 0, &pipeline, err);
    if (!status)
        status = sd_vk_commands_create(vk, &commands, 0, err);
    for (uint32_t i = 0; i < t->repeats && !status; i++) {
        if (i)
            sd_vk_commands_barrier(commands);
        sd_vk_commands_dispatch(commands, pipeline, &t->push, sizeof t->push, groups);
    }
    if (!status)
        status = sd_vk_commands_finish(commands, err);
    *best = 1e30;
    double began = sd_now(), now = began;
    for (uint32_t i = 0; (i < 2 || now - began < budget) && !status; i++) {
        status = sd_vk_submit(vk, &commands, 1, err);
        double seconds = sd_now() - now;
        now += seconds;
        if (seconds < *best)
            *best = seconds;
    }
    sd_vk_commands_destroy(vk, &commands);
    return status;
}

/* Raises *rate to what the trial reaches in submissions of a good length: a GPU must have raised its clock,
 * on a CPU no other program should have come between. */
static sd_status raise_rate(sd_vk *vk, struct trial *t, double *rate, sd_error *err) {
    bool cpu = sd_vk_info(vk)->kind == SD_VK_CPU;
    double wanted = cpu ? 0.005 : 0.04, seconds;
    sd_status status = best_time(vk, t, 0, &seconds, err);
    while (!status && seconds < wanted / 2 && *t->size < t->most) {
        double size = *t->size * (wanted / seconds);
        *t->size = size < t->most ? (uint32_t)size : t->most;
        status = best_time(vk, t, 0, &seconds, err);
    }
    if (!status)
        status = best_time(vk, t, cpu ? 0.15 : 0.2, &seconds, err);
    double reached = t->work * t->groups * t->repeats / seconds;
    if (!status && reached > *rate)
        *rate = reached;
    return status;
}

static sd_status measure_arithmetic(sd_vk *vk, const struct sd_shader *shader, uint32_t width, uint64_t to,
                                    double *flops, sd_error *err) {
    /* Few enough for 16 vector registers, enough to hide the latency of two operations. */
    static const uint32_t chains[] = {12, 8};
    uint32_t rounds = sd_vk_info(vk)->kind == SD_VK_CPU ? cpu_rounds : gpu_rounds;
    sd_status status = SD_OK;
    for (size_t i = 0; i < sizeof chains / sizeof *chains && !status; i++) {
        struct trial t = {.shader = shader,
                          .spec = {lanes_of(sd_vk_info(vk)), chains[i]},
                          .push = {.to = to, .rounds = rounds},
                          .groups = 64,
                          .repeats = 1,
                          .most = small_bytes / 4 / 256};
        t.most = t.most < 65535 ? t.most : 65535;
        t.size = &t.groups;
        t.work = 2.0 * width * chains[i] * PEAK_LINKS * t.push.rounds * t.spec[0];
        status = raise_rate(vk, &t, flops, err);
    }
    return status;
}

static sd_status measure_copy(sd_vk *vk, const struct sd_shader *shader, const sd_vk_buffer *from,
                              const sd_vk_buffer *to, double *bandwidth, sd_error *err) {
    struct trial t = {.shader = shader,
                      .spec = {lanes_of(sd_vk_info(vk)), 0},
                      .push = {.from = from->address, .to = to->address, .words = (uint32_t)(from->size / 4)},
                      .groups = copy_groups,
                      .repeats = 1,
                      .most = 256,
                      .work = 2.0 * (double)from->size / copy_groups};
    t.size = &t.repeats;
    return raise_rate(vk, &t, bandwidth, err);
}

sd_status sd_bench_peaks(sd_context *context, sd_bench_ceiling *out, sd_error *err) {
    sd_vk *vk = context->vk;
    const struct sd_vk_info *info = sd_vk_info(vk);
    sd_vk_buffer *from = NULL, *to = NULL;
    uint64_t bytes = info->kind != SD_VK_CPU && info->memory >= UINT64_C(4) << 30 ? gpu_bytes : small_bytes;
    *out = (sd_bench_ceiling){0};
    sd_status status = sd_vk_buffer_create(vk, &from, bytes, SD_VK_LOCAL, "copy source", err);
    if (!status && !(status = sd_vk_buffer_create(vk, &to, bytes, SD_VK_LOCAL, "copy target", err)))
        status = measure_copy(vk, &sd_shader_peak_copy, from, to, &out->bandwidth, err);
    if (!status && info->int64)
        status = measure_copy(vk, &sd_shader_peak_copy_int64, from, to, &out->bandwidth, err);
    if (!status)
        status = measure_arithmetic(vk, &sd_shader_peak_arithmetic, 1, to->address, &out->flops, err);
    /* CPUs calculate with halves by converting them to and fro. */
    if (!status && info->f16_arithmetic && info->kind != SD_VK_CPU)
        status = measure_arithmetic(vk, &sd_shader_peak_arithmetic_f16, 2, to->address, &out->f16_flops, err);
    sd_vk_buffer_destroy(vk, &from);
    sd_vk_buffer_destroy(vk, &to);
    return status;
}
