/* Networks run in strips against the same networks run whole: every bit of the result, and the memory. */
#include "tests/op/optest.h"

#include "sd/nn/piece.h"
#include "sd/nn/strips.h"

#include <stdlib.h>
#include <string.h>

/* A network like the halves of an autoencoder, with random weights: convolutions and group norms at two
 * resolutions, an attention at the lower one, and residuals. */
struct net {
    uint32_t height, width, channels, groups;
    bool decoder;   /* the picture grows; otherwise it shrinks */
    uint32_t least; /* the memory can be made that many times smaller */
    sd_layer first, wide, narrow, resample, qkv, last, norm[4];
};

static void bind(struct net *n, sd_weights *w) {
    uint32_t c = n->channels;
    n->first = sd_bind_conv(w, c, 3, 3, "first");
    n->wide = sd_bind_conv(w, 2 * c, c, 3, "wide");
    n->narrow = sd_bind_conv(w, c, 2 * c, 1, "narrow");
    n->resample = n->decoder ? sd_bind_upsample(w, c, c, "resample") : sd_bind_conv(w, c, c, 3, "resample");
    n->qkv = sd_bind_linear(w, 3 * c, c, true, "qkv");
    n->last = sd_bind_conv(w, 3, c, 3, "last");
    for (int i = 0; i < 4; i++)
        n->norm[i] = sd_bind_norm(w, c << (i == 1), "norm%d", i);
}

static sd_tensor *block(sd_graph *g, const struct net *n, sd_tensor *x) {
    sd_tensor *h = sd_group_norm(g, x, n->norm[0], n->groups, 1e-6f, SD_ACT_SILU);
    h = sd_conv2d(g, h, n->wide, NULL);
    h = sd_group_norm(g, h, n->norm[1], n->groups, 1e-6f, SD_ACT_SILU);
    return sd_linear(g, h, n->narrow, &(sd_fuse){.residual = x});
}

static sd_tensor *middle(sd_graph *g, const struct net *n, sd_tensor *x) {
    uint32_t c = n->channels;
    sd_tensor *h = sd_group_norm(g, x, n->norm[2], n->groups, 1e-6f, SD_ACT_NONE);
    sd_tensor *qkv = sd_linear(g, h, n->qkv, NULL);
    h = sd_attention(g, sd_slice(g, qkv, 0, c), sd_slice(g, qkv, c, c), sd_slice(g, qkv, 2 * c, c),
                     &(sd_attention_params){.heads = 1});
    return sd_linear(g, sd_concat(g, h, x), n->narrow, &(sd_fuse){.residual = x});
}

static void record(sd_graph *g, const struct net *n, sd_tensor **in, sd_tensor **out) {
    *in = sd_graph_input(g, "in", SD_RATE_STEP, SD_F32, 1, n->height, n->width, 3);
    sd_tensor *h = sd_conv2d(g, *in, n->first, NULL);
    if (n->decoder) {
        h = block(g, n, middle(g, n, h));
        h = block(g, n, sd_upsample_conv2d(g, h, n->resample, NULL));
        h = block(g, n, sd_upsample_conv2d(g, h, n->resample, NULL));
    } else {
        h = sd_conv2d_down(g, block(g, n, h), n->resample, 0, NULL);
        h = sd_conv2d_down(g, block(g, n, h), n->resample, 1, NULL);
        h = block(g, n, middle(g, n, h));
    }
    h = sd_group_norm(g, h, n->norm[3], n->groups, 1e-6f, SD_ACT_SILU);
    *out = sd_graph_output(g, sd_conv2d(g, h, n->last, &(sd_fuse){.f32 = true}), "out");
}

struct watch {
    sd_vk *vk;
    uint64_t before, most;
    uint32_t calls, stop_at;
};

/* Called before each submission, when everything is allocated. */
static bool watch_memory(void *user) {
    struct watch *w = user;
    uint64_t used = sd_vk_memory_used(w->vk) - w->before;
    w->most = used > w->most ? used : w->most;
    return ++w->calls == w->stop_at;
}

struct subject {
    sd_vk *vk;
    sd_weights *weights;
    struct net net;
    sd_dtype act;
    size_t in_bytes, out_bytes;
    float *in, *want, *got;
    uint64_t whole_bytes; /* activations of the plan */
    uint32_t submissions; /* of the last run */
};

static void run_whole(struct subject *s) {
    sd_graph *g;
    sd_plan *plan;
    sd_exec *exec;
    sd_tensor *in, *out;
    sd_error err;
    assert_int_equal(sd_graph_create(&g, sd_vk_info(s->vk), s->act, &err), SD_OK);
    record(g, &s->net, &in, &out);
    if (sd_plan_create(&plan, g, NULL, &err) || sd_exec_create(&exec, s->vk, plan, NULL, &err))
        fail_msg("%s", err.message);
    s->whole_bytes = plan->stats.activation_bytes;
    s->in_bytes = in->bytes;
    s->out_bytes = out->bytes;
    s->in = malloc(s->in_bytes);
    s->want = malloc(s->out_bytes);
    s->got = malloc(s->out_bytes);
    for (size_t i = 0; i < s->in_bytes / 4; i++)
        s->in[i] = (float)(i * 2654435761u % 4096) / 2048 - 1;
    if (sd_exec_write(exec, in, s->in, s->in_bytes, &err) || sd_exec_run(exec, SD_RATE_STEP, &err) ||
        sd_exec_read(exec, out, s->want, s->out_bytes, &err))
        fail_msg("%s", err.message);
    sd_exec_destroy(&exec);
    sd_plan_destroy(&plan);
    sd_graph_destroy(&g);
}

static struct subject begin(void **state, struct net net, sd_dtype act) {
    struct subject s = {.vk = *state, .net = net, .act = act};
    sd_error err;
    assert_int_equal(sd_weights_create(&s.weights, &err), SD_OK);
    bind(&s.net, s.weights);
    if (sd_weights_random(s.weights, s.vk, SD_WEIGHTS_F16, 7, &err))
        fail_msg("%s", err.message);
    run_whole(&s);
    return s;
}

static void end(struct subject *s) {
    sd_weights_destroy(s->vk, &s->weights);
    free(s->in);
    free(s->want);
    free(s->got);
}

static struct sd_strips_stats run_strips(struct subject *s, uint64_t device, uint64_t all, uint32_t stop_at) {
    const struct sd_strips_limits limits = {device, all};
    struct watch watch = {.vk = s->vk, .before = sd_vk_memory_used(s->vk), .stop_at = stop_at};
    sd_graph *g;
    sd_strips *strips;
    sd_tensor *in, *out;
    sd_error err;
    assert_int_equal(sd_graph_create(&g, sd_vk_info(s->vk), s->act, &err), SD_OK);
    record(g, &s->net, &in, &out);
    if (sd_strips_create(&strips, g, &limits, &err))
        fail_msg("%s", err.message);
    const struct sd_strips_io io[] = {{in, s->in}, {out, s->got}};
    const struct sd_exec_options options = {.cancelled = watch_memory, .user = &watch};
    struct sd_strips_stats stats = *sd_strips_stats(strips);
    memset(s->got, 0xff, s->out_bytes);
    if (stop_at)
        assert_int_equal(sd_strips_run(strips, s->vk, io, 2, &options, &err), SD_E_CANCELLED);
    watch.calls = watch.stop_at = 0;
    if (sd_strips_run(strips, s->vk, io, 2, &options, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(s->got, s->want, s->out_bytes);
    /* Buffers begin at multiples of 256 bytes. */
    assert_in_range(watch.most, stats.device_bytes, stats.device_bytes + 256);
    assert_int_equal(sd_vk_memory_used(s->vk), watch.before);
    s->submissions = watch.calls;
    sd_strips_destroy(&strips);
    sd_graph_destroy(&g);
    return stats;
}

/* The last one is so narrow that its sums run over several rows, at which strips must be cut. */
static const struct net nets[] = {
    {.height = 21, .width = 30, .channels = 16, .groups = 2, .decoder = true, .least = 8},
    {.height = 84, .width = 92, .channels = 16, .groups = 2, .least = 8},
    {.height = 26, .width = 17, .channels = 24, .groups = 2, .decoder = true, .least = 8},
    {.height = 116, .width = 60, .channels = 24, .groups = 8, .least = 2},
};

/* Further devices take long: they get a quarter of the cases. */
static bool is_further(void) {
    return getenv("SDVK_TEST_SHARE") != NULL;
}

static size_t cases(size_t all) {
    return is_further() ? all / 4 : all;
}

static void same_bits_in_less_memory(void **state) {
    for (size_t i = 0; i < cases(2 * sizeof nets / sizeof *nets); i++) {
        struct subject s = begin(state, nets[i / 2], i % 2 ? SD_F16 : SD_F32);
        uint64_t whole = s.whole_bytes, last = whole;
        struct sd_strips_stats stats = run_strips(&s, whole, UINT64_MAX, 0);
        assert_int_equal(stats.steps, 1);
        assert_int_equal(stats.strips, 1);
        assert_int_equal(stats.device_bytes, whole);
        for (uint64_t part = is_further() ? 8 : 2; part <= 32; part *= 4) {
            stats = run_strips(&s, whole / part, UINT64_MAX, 0);
            print_message("%u x %u %s: %llu KiB of %llu KiB in up to %u strips, on the host %llu KiB\n",
                          s.net.width, s.net.height, sd_dtype_name(s.act),
                          (unsigned long long)stats.device_bytes >> 10, (unsigned long long)whole >> 10,
                          stats.strips, (unsigned long long)stats.host_bytes >> 10);
            assert_true(stats.device_bytes <= last);
            assert_true(part > s.net.least || (stats.device_bytes <= whole / part && stats.strips > 1));
            last = stats.device_bytes;
        }
        end(&s);
    }
}

/* The host's memory counts: large results are computed again instead of kept. */
static void same_bits_in_shared_memory(void **state) {
    for (size_t i = 0; i < cases(sizeof nets / sizeof *nets); i++) {
        struct subject s = begin(state, nets[i], i % 2 ? SD_F16 : SD_F32);
        uint64_t whole = s.whole_bytes;
        struct sd_strips_stats half = run_strips(&s, whole, whole / 2, 0),
                               third = run_strips(&s, whole, whole / 3, 0),
                               free_host = run_strips(&s, whole / 3, UINT64_MAX, 0);
        print_message("%u x %u: %llu and %llu KiB in all, %.2f and %.2f times the work\n", s.net.width,
                      s.net.height, (unsigned long long)half.all_bytes >> 10,
                      (unsigned long long)third.all_bytes >> 10, (double)half.flop / (double)free_host.flop,
                      (double)third.flop / (double)free_host.flop);
        assert_true(half.all_bytes <= whole / 2);
        assert_true(third.all_bytes <= half.all_bytes);
        assert_true(third.all_bytes < free_host.all_bytes && third.flop > free_host.flop);
        end(&s);
    }
}

static void a_cancelled_run_can_be_repeated(void **state) {
    struct subject s = begin(state, nets[0], SD_F32);
    run_strips(&s, s.whole_bytes / 4, UINT64_MAX, 0);
    uint32_t submissions = s.submissions;
    assert_true(submissions > 10);
    for (uint32_t at = 1; at <= submissions; at += submissions / (is_further() ? 2 : 4))
        run_strips(&s, s.whole_bytes / 4, UINT64_MAX, at);
    end(&s);
}

/* As with a card whose memory the host cannot reach. */
static void through_the_upload_ring(void **state) {
    const struct sd_vk_options options = {.device = getenv("SDVK_TEST_DEVICE"), .staging = true};
    sd_error err;
    sd_vk *vk;
    (void)state;
    if (sd_vk_open(&vk, &options, &err))
        fail_msg("%s", err.message);
    void *opened = vk;
    for (size_t i = 0; i < cases(2); i++) {
        struct subject s = begin(&opened, nets[i], SD_F16);
        run_strips(&s, s.whole_bytes / 8, UINT64_MAX, 0);
        end(&s);
    }
    sd_vk_close(&vk);
}

/* Strips of any shape follow each other without a gap, and are as many as was said. */
static void strips_cover_the_unit(void **state) {
    optest *t = optest_begin(state, SD_F32);
    for (int i = 0; i < 20000; i++) {
        struct sd_piece p = {.align = optest_int(t, 1, 9)};
        p.unit = p.align * optest_int(t, 1, 60) + optest_int(t, 0, p.align - 1);
        p.margin = p.align * optest_int(t, 0, 3);
        p.steps = optest_int(t, sd_piece_least(&p), sd_piece_most(&p));
        uint32_t count = sd_piece_strips(&p, p.steps), seen = 0, covered = 0;
        p.steps = sd_piece_balance(&p, p.steps);
        assert_int_equal(sd_piece_strips(&p, p.steps), count);
        for (struct sd_cut cut = {0}; sd_piece_next(&p, &cut); seen++) {
            assert_true(cut.from <= covered && cut.to > covered);
            assert_true(cut.at % p.align == 0 && cut.at + sd_piece_rows(&p) <= p.unit);
            assert_true(cut.from == 0 || cut.from >= cut.at + p.margin);
            assert_true(cut.to == p.unit || cut.to + p.margin <= cut.at + sd_piece_rows(&p));
            covered = cut.to;
        }
        assert_int_equal(covered, p.unit);
        assert_int_equal(seen, count);
    }
    optest_end(&t);
}

/* What strips are moved with. */
static void parts_stay_within_their_tensor(void **state) {
    optest *t = optest_begin(state, SD_F32);
    float data[24] = {0}, back[24];
    sd_graph *g = optest_graph(t);
    sd_plan *plan;
    sd_exec *exec;
    sd_error err;
    sd_tensor *in = sd_graph_input(g, "in", SD_RATE_STEP, SD_F32, 1, 4, 3, 2);
    sd_tensor *slice = sd_slice(g, in, 1, 1);
    assert_int_equal(sd_plan_create(&plan, g, NULL, &err), SD_OK);
    assert_int_equal(sd_exec_create(&exec, *state, plan, NULL, &err), SD_OK);
    for (int i = 0; i < 24; i++)
        data[i] = (float)i;
    assert_int_equal(sd_exec_write_part(exec, in, 0, data, 40, &err), SD_OK);
    assert_int_equal(sd_exec_write_part(exec, in, 40, data + 10, 56, &err), SD_OK);
    assert_int_equal(sd_exec_read_part(exec, in, 32, back + 8, 64, &err), SD_OK);
    assert_memory_equal(back + 8, data + 8, 64);
    assert_int_equal(sd_exec_read_part(exec, in, 96, back, 0, &err), SD_OK);
    assert_int_equal(sd_exec_read_part(exec, in, 40, back, 60, &err), SD_E_INTERNAL);
    assert_string_equal(err.message, "in: 60 bytes at 40 are not within its own 96");
    assert_int_equal(sd_exec_write_part(exec, in, 100, data, UINT64_MAX - 50, &err), SD_E_INTERNAL);
    assert_int_equal(sd_exec_write_part(exec, slice, 0, data, 4, &err), SD_E_INTERNAL);
    sd_exec_destroy(&exec);
    sd_plan_destroy(&plan);
    optest_end(&t);
}

static void a_failed_graph_is_reported(void **state) {
    const struct sd_strips_limits limits = {1 << 20, UINT64_MAX};
    optest *t = optest_begin(state, SD_F32);
    sd_strips *strips;
    sd_error err;
    sd_graph_fail(optest_graph(t), SD_E_INTERNAL, "no such thing");
    assert_int_equal(sd_strips_create(&strips, optest_graph(t), &limits, &err), SD_E_INTERNAL);
    assert_null(strips);
    assert_string_equal(err.message, "no such thing");
    optest_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_in_less_memory),        cmocka_unit_test(same_bits_in_shared_memory),
        cmocka_unit_test(a_cancelled_run_can_be_repeated), cmocka_unit_test(through_the_upload_ring),
        cmocka_unit_test(strips_cover_the_unit),           cmocka_unit_test(parts_stay_within_their_tensor),
        cmocka_unit_test(a_failed_graph_is_reported),
    };
    return cmocka_run_group_tests(tests, optest_open, optest_close);
}
