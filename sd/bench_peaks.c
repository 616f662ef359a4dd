#include "sd/base/clock.h"
#include "sd/context.h"

#include "sd/vk/commands.h"
#include "shaders/peak.h"
#include "shaders/shaders.h"

enum { copy_bytes = 64 << 20, groups = 1024, lanes = 64, flop_a_round = 2 * 16 * 8 };

/* Seconds of the fastest of five submissions. */
static sd_status best_time(sd_vk *vk, const struct sd_shader *shader, const struct peak_push *push,
                           double *best, sd_error *err) {
    sd_vk_pipeline *pipeline;
    sd_vk_commands *commands = NULL;
    const uint32_t size[3] = {groups, 1, 1};
    sd_status status = sd_vk_pipeline_get(vk, shader, NULL, 0, 0, &pipeline, err);
    if (!status)
        status = sd_vk_commands_create(vk, &commands, 0, err);
    if (!status) {
        sd_vk_commands_dispatch(commands, pipeline, push, sizeof *push, size);
        status = sd_vk_commands_finish(commands, err);
    }
    *best = 1e30;
    for (int i = 0; i < 6 && !status; i++) {
        double began = sd_now();
        status = sd_vk_submit(vk, &commands, 1, err);
        double seconds = sd_now() - began;
        if (i && seconds < *best)
            *best = seconds;
    }
    sd_vk_commands_destroy(vk, &commands);
    return status;
}

sd_status sd_bench_peaks(sd_context *context, sd_bench_ceiling *out, sd_error *err) {
    sd_vk *vk = context->vk;
    sd_vk_buffer *from = NULL, *to = NULL;
    double seconds = 1;
    uint32_t rounds = sd_vk_info(vk)->kind == SD_VK_CPU ? 200 : 20000;
    sd_status status = sd_vk_buffer_create(vk, &from, copy_bytes, SD_VK_LOCAL, "copy source", err);
    if (!status)
        status = sd_vk_buffer_create(vk, &to, copy_bytes, SD_VK_LOCAL, "copy target", err);
    if (!status) {
        const struct peak_push push = {from->address, to->address, copy_bytes / 4, rounds};
        status = best_time(vk, &sd_shader_peak_copy, &push, &seconds, err);
        out->bandwidth = 2.0 * copy_bytes / seconds;
        if (!status)
            status = best_time(vk, &sd_shader_peak_arithmetic, &push, &seconds, err);
        out->flops = (double)flop_a_round * rounds * groups * lanes / seconds;
    }
    sd_vk_buffer_destroy(vk, &from);
    sd_vk_buffer_destroy(vk, &to);
    return status;
}
