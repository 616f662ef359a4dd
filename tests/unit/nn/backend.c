/* The executor on a backend that only takes notes: what is called when, and what is left after each call
 * failed in turn. */
#include "tests/unit/nn/fixture.h"

#include "sd/nn/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { chain = 70, most_bytes = 1 << 16 };

struct piece {
    uint32_t first, last;
    bool profile;
};

struct notes {
    unsigned long calls, fail; /* calls that may fail so far, and which one does; 0: none */
    uint32_t opened, closed, prepared, recorded, discarded, submitted;
    uint32_t batches[2 * chain], batch_count; /* pieces of each submission */
    uint32_t order[2 * chain], ran;           /* nodes in the order in which they ran */
    unsigned char memory[most_bytes];
};

/* Counts the call; the status that it has to return. */
static sd_status call(struct notes *n, sd_error *err) {
    assert_int_equal(n->opened, n->closed + 1);
    return ++n->calls == n->fail ? sd_fail(err, SD_E_DEVICE_LOST, "call %lu", n->calls) : SD_OK;
}

static sd_status open_notes(void **state, void *device, const sd_plan *plan, sd_error *err) {
    struct notes *n = device;
    assert_true(plan->stats.activation_bytes <= most_bytes);
    n->opened++;
    if (call(n, err)) {
        n->opened--;
        return SD_E_DEVICE_LOST;
    }
    *state = n;
    return SD_OK;
}

static void close_notes(void *state) {
    struct notes *n = state;
    assert_int_equal(n->recorded, n->discarded);
    n->closed++;
}

static sd_status prepare(void *state, const struct sd_exec_options *options, sd_error *err) {
    struct notes *n = state;
    n->prepared++;
    assert_int_equal(n->recorded, 0);
    if (options->compiled)
        options->compiled(options->user, 1, 2);
    if (options->cancelled && options->cancelled(options->user))
        return sd_fail(err, SD_E_CANCELLED, "cancelled");
    return call(n, err);
}

static sd_status record(void *state, uint32_t first, uint32_t last, bool profile, void **piece,
                        sd_error *err) {
    struct notes *n = state;
    struct piece *p = malloc(sizeof *p);
    assert_true(p && n->prepared == 1 && first < last);
    if (call(n, err)) {
        free(p);
        return SD_E_DEVICE_LOST;
    }
    *p = (struct piece){first, last, profile};
    *piece = p;
    n->recorded++;
    return SD_OK;
}

static void discard(void *state, void *piece) {
    struct notes *n = state;
    assert_non_null(piece);
    n->discarded++;
    free(piece);
}

static sd_status submit(void *state, void *const *pieces, uint32_t count, sd_error *err) {
    struct notes *n = state;
    sd_status status = call(n, err);
    assert_true(count > 0 && count <= SD_BACKEND_BATCH);
    if (status)
        return status;
    n->submitted++;
    assert_true(n->batch_count < 2 * chain);
    n->batches[n->batch_count++] = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct piece *p = pieces[i];
        for (uint32_t k = p->first; k < p->last; k++) {
            assert_true(n->ran < 2 * chain);
            n->order[n->ran++] = k;
        }
    }
    return SD_OK;
}

static sd_status write_bytes(void *state, uint64_t at, const void *data, uint64_t bytes, sd_error *err) {
    struct notes *n = state;
    assert_true(at + bytes <= most_bytes);
    memcpy(n->memory + at, data, bytes);
    return call(n, err);
}

static sd_status read_bytes(void *state, uint64_t at, void *data, uint64_t bytes, sd_error *err) {
    struct notes *n = state;
    assert_true(at + bytes <= most_bytes);
    memcpy(data, n->memory + at, bytes);
    return call(n, err);
}

static sd_status times(void *state, void *piece, double *seconds, uint32_t nodes, sd_error *err) {
    const struct piece *p = piece;
    assert_true(p->profile && nodes == p->last - p->first);
    for (uint32_t i = 0; i < nodes; i++)
        seconds[i] = p->first + i;
    return call(state, err);
}

static const struct sd_backend backend = {.open = open_notes,
                                          .close = close_notes,
                                          .prepare = prepare,
                                          .record = record,
                                          .discard = discard,
                                          .submit = submit,
                                          .write = write_bytes,
                                          .read = read_bytes,
                                          .times = times};

/* Three nodes once a prompt and a chain every step. */
struct network {
    sd_graph *g;
    sd_tensor *x, *out;
    sd_plan *plan;
    struct notes notes;
};

static struct network *open_network(sd_vk_kind kind) {
    struct network *n = calloc(1, sizeof *n);
    struct sd_vk_info info = gpu;
    sd_error err;
    info.kind = kind;
    assert_non_null(n);
    assert_int_equal(sd_graph_create(&n->g, &info, SD_F16, &err), SD_OK);
    sd_tensor *text = sd_graph_input(n->g, "text", SD_RATE_PROMPT, SD_F16, 1, 2, 3, 4), *h;
    n->x = h = sd_graph_input(n->g, "x", SD_RATE_STEP, SD_F16, 1, 2, 3, 4);
    for (int i = 0; i < 3; i++)
        text = sd_scale(n->g, text, 2, 1);
    for (int i = 0; i < chain; i++)
        h = i == 1 ? sd_add(n->g, h, text) : sd_scale(n->g, h, 2, 1);
    n->out = sd_graph_output(n->g, h, "out");
    if (sd_plan_create(&n->plan, n->g, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(n->plan->count, chain + 3);
    assert_int_equal(n->plan->first_step, 3);
    return n;
}

static void close_network(struct network *n) {
    assert_int_equal(n->notes.opened, n->notes.closed);
    assert_int_equal(n->notes.recorded, n->notes.discarded);
    sd_plan_destroy(&n->plan);
    sd_graph_destroy(&n->g);
    free(n);
}

static sd_exec *start(struct network *n, const struct sd_exec_options *options) {
    sd_exec *exec;
    sd_error err;
    if (sd_exec_create_on(&exec, &backend, &n->notes, n->plan, options, &err))
        fail_msg("%s", err.message);
    assert_ptr_equal(sd_exec_state(exec), &n->notes);
    return exec;
}

static bool count_asks(void *user) {
    ++*(uint32_t *)user;
    return false;
}

/* GPUs get up to SD_BACKEND_BATCH pieces at once, CPUs one; a cancel is asked for before each submission. */
static void pieces_of_a_rate_are_submitted_in_order(void **state) {
    (void)state;
    for (int cpu = 0; cpu < 2; cpu++) {
        struct network *n = open_network(cpu ? SD_VK_CPU : SD_VK_DISCRETE);
        uint32_t asked = 0;
        const struct sd_exec_options options = {.submit_flop = 1, .cancelled = count_asks, .user = &asked};
        sd_exec *exec = start(n, &options);
        sd_error err;
        assert_int_equal(n->notes.recorded, chain + 3);
        asked = 0;
        assert_int_equal(sd_exec_run(exec, SD_RATE_PROMPT, &err), SD_OK);
        assert_int_equal(n->notes.ran, 3);
        assert_int_equal(sd_exec_run(exec, SD_RATE_STEP, &err), SD_OK);
        assert_int_equal(n->notes.ran, chain + 3);
        for (uint32_t i = 0; i < n->notes.ran; i++)
            assert_int_equal(n->notes.order[i], i);
        assert_int_equal(asked, n->notes.submitted);
        assert_int_equal(n->notes.submitted, cpu ? chain + 3 : 3);
        assert_int_equal(n->notes.batches[0], cpu ? 1 : 3);
        assert_int_equal(n->notes.batches[1], cpu ? 1 : SD_BACKEND_BATCH);
        assert_int_equal(n->notes.batches[2], cpu ? 1 : chain - SD_BACKEND_BATCH);
        sd_exec_destroy(&exec);
        close_network(n);
    }
}

static void small_work_is_one_piece_a_rate(void **state) {
    (void)state;
    struct network *n = open_network(SD_VK_CPU);
    sd_exec *exec = start(n, NULL);
    assert_int_equal(n->notes.recorded, 2);
    sd_exec_destroy(&exec);
    close_network(n);
}

/* The host's f32 is the backend's f16, at the tensor's place. */
static void the_host_is_converted(void **state) {
    (void)state;
    struct network *n = open_network(SD_VK_CPU);
    sd_exec *exec = start(n, NULL);
    float values[24], back[24];
    sd_error err;
    for (int i = 0; i < 24; i++)
        values[i] = 1.5f;
    assert_int_equal(sd_exec_write(exec, n->x, values, sizeof values, &err), SD_OK);
    for (int i = 0; i < 24; i++) {
        uint16_t half;
        memcpy(&half, n->notes.memory + n->x->place + i * 2, 2);
        assert_int_equal(half, 0x3E00);
    }
    assert_int_equal(sd_exec_read(exec, n->x, back, sizeof back, &err), SD_OK);
    assert_memory_equal(back, values, sizeof back);
    sd_exec_destroy(&exec);
    close_network(n);
}

struct listener {
    uint32_t done, all;
    bool stop;
};

static void hear(void *user, uint32_t done, uint32_t all) {
    struct listener *l = user;
    l->done = done;
    l->all = all;
}

static bool stop(void *user) {
    return ((struct listener *)user)->stop;
}

static void preparing_can_be_followed_and_cancelled(void **state) {
    (void)state;
    for (int cancel = 0; cancel < 2; cancel++) {
        struct network *n = open_network(SD_VK_DISCRETE);
        struct listener listener = {.stop = cancel};
        const struct sd_exec_options options = {.cancelled = stop, .compiled = hear, .user = &listener};
        sd_exec *exec;
        sd_error err;
        assert_int_equal(sd_exec_create_on(&exec, &backend, &n->notes, n->plan, &options, &err),
                         cancel ? SD_E_CANCELLED : SD_OK);
        assert_int_equal(listener.done, 1);
        assert_int_equal(listener.all, 2);
        assert_true(cancel ? !exec && !n->notes.recorded : exec && n->notes.recorded);
        sd_exec_destroy(&exec);
        close_network(n);
    }
}

static sd_status count_nodes(void *user, sd_exec *exec, const sd_node *node, sd_error *err) {
    (void)exec;
    (void)node;
    (void)err;
    ++*(uint32_t *)user;
    return SD_OK;
}

static sd_status use_everything(struct network *n, sd_exec **exec, sd_error *err) {
    const struct sd_exec_options options = {.profile = true, .submit_flop = 1};
    float values[24] = {0};
    double seconds[chain + 3];
    uint32_t hooked = 0;
    sd_status status = sd_exec_create_on(exec, &backend, &n->notes, n->plan, &options, err);
    if (status || (status = sd_exec_write(*exec, n->x, values, sizeof values, err)) ||
        (status = sd_exec_run(*exec, SD_RATE_PROMPT, err)) ||
        (status = sd_exec_run(*exec, SD_RATE_STEP, err)) ||
        (status = sd_exec_read(*exec, n->out, values, sizeof values, err)) ||
        (status = sd_exec_times(*exec, seconds, chain + 3, err)))
        return status;
    for (uint32_t i = 0; i < chain + 3; i++)
        assert_true(seconds[i] == i);
    n->notes.ran = n->notes.batch_count = 0;
    if ((status = sd_exec_run_hooked(*exec, count_nodes, &hooked, err)))
        return status;
    assert_int_equal(hooked, chain + 3);
    assert_int_equal(n->notes.ran, chain + 3);
    return SD_OK;
}

/* The first failure is the last call, its status and message come through, and everything is given back. */
static void every_call_fails_in_turn(void **state) {
    (void)state;
    bool failed = true;
    for (unsigned long fail = 1; failed; fail++) {
        struct network *n = open_network(SD_VK_DISCRETE);
        sd_exec *exec = NULL;
        sd_error err;
        n->notes.fail = fail;
        sd_status status = use_everything(n, &exec, &err);
        failed = n->notes.calls == fail;
        assert_int_equal(status, failed ? SD_E_DEVICE_LOST : SD_OK);
        if (failed) {
            char message[32];
            snprintf(message, sizeof message, "call %lu", fail);
            assert_string_equal(err.message, message);
        } else
            assert_true(fail > 4 * chain); /* recorded, hooked: recorded and run */
        sd_exec_destroy(&exec);
        close_network(n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_a_rate_are_submitted_in_order),
        cmocka_unit_test(small_work_is_one_piece_a_rate),
        cmocka_unit_test(the_host_is_converted),
        cmocka_unit_test(preparing_can_be_followed_and_cancelled),
        cmocka_unit_test(every_call_fails_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
