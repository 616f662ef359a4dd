/* The words of a loaded weight, copied from the device by an op of the test's own. */
#ifndef UNIT_NN_DEVICE_WORDS_H
#define UNIT_NN_DEVICE_WORDS_H

#include "tests/op/optest.h"

#include "sd/nn/op.h"
#include "shaders/peak.h"
#include "shaders/shaders.h"

#include <stdlib.h>

static inline void device_words_record(const sd_node *node, sd_emit *e) {
    const struct peak_push push = {
        .from = node->weight[0]->address, .to = sd_emit_address(e, node->out), .words = node->out->c};
    sd_emit_dispatch(e, &(struct sd_dispatch){.shader = &sd_shader_peak_copy,
                                              .push = &push,
                                              .push_bytes = sizeof push,
                                              .groups = {64, 1, 1}});
}

/* The caller frees them. Copies whole vectors of four words, which may reach into the gap to the next weight.
 */
static inline uint32_t *device_words(sd_vk *vk, const sd_weight *w) {
    static const struct sd_op op = {"words", device_words_record, NULL};
    uint32_t count = (uint32_t)((w->bytes / 4 + 3) & ~UINT64_C(3)), *words = malloc((size_t)count * 4);
    sd_graph *g;
    sd_plan *plan;
    sd_exec *exec;
    sd_error err;
    assert_non_null(words);
    assert_int_equal(sd_graph_create(&g, sd_vk_info(vk), SD_F32, &err), SD_OK);
    sd_tensor *out = sd_graph_tensor(g, SD_I32, 1, 1, 1, count);
    sd_graph_output(g, sd_graph_add(g, &op, out, NULL, 0, w, NULL, NULL, 0), "words");
    if (sd_plan_create(&plan, g, NULL, &err) || sd_exec_create(&exec, vk, plan, NULL, &err) ||
        sd_exec_run(exec, SD_RATE_PROMPT, &err) || sd_exec_read(exec, out, words, (size_t)count * 4, &err))
        fail_msg("%s", err.message);
    sd_exec_destroy(&exec);
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
    return words;
}

#endif
