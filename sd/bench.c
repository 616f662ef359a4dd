#include "sd/base/clock.h"
#include "sd/context.h"

#include "clip/text_model.h"
#include "sd/nn/op.h"
#include "sd/stage.h"
#include "unet/unet.h"
#include "vae/vae.h"

#include <stdlib.h>
#include <string.h>

/* One network with its weights. */
struct subject {
    sd_weights *weights;
    struct sd_unet_config config;
    struct sd_unet *unet;
    struct sd_unet_inputs in;
    struct sd_text_model text;
    struct sd_vae_decoder decoder;
    struct sd_vae_encoder encoder;
    struct sd_stage stage;
    struct sd_watch watch;
};

static const struct sd_text_config *text_config(const char *family) {
    return !strncmp(family, "sdxl", 4)  ? &sd_text_openclip_bigg
           : !strncmp(family, "sd2", 3) ? &sd_text_openclip_h
                                        : &sd_text_clip_l;
}

static sd_status bind(struct subject *s, const sd_bench_params *p, sd_error *err) {
    if (!strcmp(p->network, "unet")) {
        const struct sd_unet_config *config = sd_unet_config_find(p->family);
        if (!config)
            return sd_fail(err, SD_E_ARGUMENT,
                           "family: expected a UNet of the table (sd1, sd2, sdxl ...), found '%s'",
                           p->family);
        s->config = *config;
        return sd_unet_bind(&s->unet, &s->config,
                            sd_unet_needs_plain(&s->config, p->height / 8, p->width / 8), s->weights, err);
    }
    if (!strcmp(p->network, "text"))
        sd_text_bind(&s->text, s->weights, text_config(p->family));
    else if (!strcmp(p->network, "decode"))
        sd_vae_bind_decoder(&s->decoder, s->weights, &sd_vae_sd1);
    else if (!strcmp(p->network, "encode"))
        sd_vae_bind_encoder(&s->encoder, s->weights, &sd_vae_sd1);
    else
        return sd_fail(err, SD_E_ARGUMENT, "network: expected text, unet, decode or encode, found '%s'",
                       p->network);
    return SD_OK;
}

static void record(struct subject *s, const sd_bench_params *p) {
    sd_graph *g = s->stage.graph;
    uint32_t h = p->height / 8, w = p->width / 8;
    sd_tensor *out;
    if (s->unet) {
        uint32_t pooled = s->config.add_dim
                              ? s->config.add_dim - (s->config.add_dim >= 2816 ? 6 : 5) * s->config.add_each
                              : 0;
        sd_unet_declare(g, &s->config, p->batch, h, w, SD_TEXT_TOKENS, pooled, &s->in);
        out = sd_unet_forward(g, s->unet, &s->in, NULL);
    } else if (!strcmp(p->network, "text")) {
        sd_tensor *tokens = sd_graph_input(g, "tokens", SD_RATE_STEP, SD_I32, p->batch, 1, SD_TEXT_TOKENS, 1);
        out = sd_text_forward(g, text_config(p->family), &s->text,
                              &(struct sd_text_request){.final_norm = true}, tokens)
                  .hidden;
    } else if (!strcmp(p->network, "decode"))
        out = sd_vae_decode(g, &sd_vae_sd1, &s->decoder,
                            sd_graph_input(g, "z", SD_RATE_STEP, SD_F32, p->batch, h, w, 4));
    else
        out = sd_vae_encode(
            g, &sd_vae_sd1, &s->encoder,
            sd_graph_input(g, "picture", SD_RATE_STEP, SD_F32, p->batch, p->height, p->width, 3));
    sd_graph_output(g, out, "out");
}

/* Zeros are as much work as anything else, but uninitialised bits could be NaN or denormal. */
static sd_status clear_inputs(struct subject *s, sd_error *err) {
    sd_status status = SD_OK;
    for (uint32_t i = 0; i < s->stage.graph->tensor_count && !status; i++) {
        const sd_tensor *t = s->stage.graph->tensors[i];
        size_t bytes = (size_t)sd_tensor_rows(t) * t->c * 4;
        void *zeros = t->input ? calloc(1, bytes) : NULL;
        if (t->input)
            status = zeros ? sd_exec_write(s->stage.exec, t, zeros, bytes, err)
                           : sd_fail(err, SD_E_MEMORY, "out of memory");
        free(zeros);
    }
    return status;
}

static sd_bench_op *op_row(sd_bench_result *out, const char *name) {
    for (uint32_t i = 0; i < out->op_count; i++)
        if (!strcmp(out->ops[i].name, name))
            return &out->ops[i];
    if (out->op_count == sizeof out->ops / sizeof *out->ops)
        return NULL;
    sd_bench_op *row = &out->ops[out->op_count++];
    *row = (sd_bench_op){0};
    strncpy(row->name, name, sizeof row->name - 1);
    return row;
}

/* One more run with timestamps, which add a barrier between all nodes. */
static sd_status profile(struct subject *s, sd_vk *vk, sd_bench_result *out, sd_error *err) {
    const sd_plan *plan = s->stage.plan;
    const struct sd_exec_options options = {.profile = true};
    sd_exec *exec = NULL;
    double *seconds = calloc((size_t)plan->count + 1, sizeof *seconds);
    sd_exec_destroy(&s->stage.exec);
    sd_status status =
        seconds ? sd_exec_create(&exec, vk, plan, &options, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
    s->stage.exec = exec;
    if (!status && !(status = clear_inputs(s, err)) && !(status = sd_exec_run(exec, SD_RATE_PROMPT, err)) &&
        !(status = sd_exec_run(exec, SD_RATE_STEP, err)))
        status = sd_exec_times(exec, seconds, plan->count, err);
    for (uint32_t i = 0; i < plan->count && !status; i++) {
        struct sd_cost cost = {0};
        const sd_node *node = plan->order[i];
        sd_bench_op *row = op_row(out, node->op->name);
        if (node->op->cost)
            node->op->cost(node, &cost);
        if (!row || node->rate != SD_RATE_STEP)
            continue;
        row->nodes++;
        row->seconds += seconds[i];
        row->flop += (double)cost.flop;
        row->bytes += (double)cost.bytes;
    }
    free(seconds);
    return status;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *sorted, uint32_t count) {
    qsort(sorted, count, sizeof *sorted, by_size);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static sd_status measure(struct subject *s, sd_vk *vk, const sd_bench_params *p, sd_bench_result *out,
                         sd_error *err) {
    double times[100], host[100];
    double began = sd_now();
    sd_status status = sd_exec_run(s->stage.exec, SD_RATE_PROMPT, err);
    if (!status)
        status = sd_exec_run(s->stage.exec, SD_RATE_STEP, err);
    out->first_seconds = sd_now() - began;
    for (uint32_t i = 0; i < p->runs && !status; i++) {
        double waited = sd_vk_waited(vk);
        began = sd_now();
        status = sd_exec_run(s->stage.exec, SD_RATE_STEP, err);
        times[i] = sd_now() - began;
        host[i] = times[i] - (sd_vk_waited(vk) - waited);
    }
    if (status)
        return status;
    out->median_seconds = median(times, p->runs);
    out->best_seconds = times[0];
    out->host_seconds = median(host, p->runs);
    return SD_OK;
}

static void count_work(const struct subject *s, sd_bench_result *out) {
    const struct sd_plan_stats *stats = &s->stage.plan->stats;
    out->parameters = sd_weights_parameters(s->weights);
    out->weight_bytes = sd_weights_bytes(s->weights);
    out->activation_bytes = stats->activation_bytes;
    out->flop = stats->flop[SD_RATE_STEP];
    out->bytes = stats->bytes[SD_RATE_STEP];
    out->nodes = stats->nodes[SD_RATE_STEP];
    out->barriers = stats->barriers[SD_RATE_STEP];
}

static sd_status resolve(sd_bench_params *p, sd_error *err) {
    p->family = p->family ? p->family : "sd1";
    p->network = p->network ? p->network : "unet";
    p->width = p->width ? p->width : 512;
    p->height = p->height ? p->height : 512;
    p->batch = p->batch ? p->batch : 1;
    p->runs = p->runs ? p->runs : 3;
    if (p->width % 8 || p->height % 8 || p->width < 64 || p->height < 64 || p->width > 8192 ||
        p->height > 8192)
        return sd_fail(err, SD_E_ARGUMENT, "size: expected multiples of 8 from 64 to 8192, found %u x %u",
                       p->width, p->height);
    if (p->runs > 100 || p->batch > 64)
        return sd_fail(err, SD_E_ARGUMENT, "runs and batch: expected at most 100 and 64, found %u and %u",
                       p->runs, p->batch);
    return SD_OK;
}

sd_status sd_bench_network(sd_context *context, const sd_bench_params *params, sd_bench_result *out,
                           sd_error *err) {
    sd_bench_params p = params ? *params : (sd_bench_params){0};
    struct subject *s = calloc(1, sizeof *s);
    sd_vk *vk = context->vk;
    *out = (sd_bench_result){0};
    sd_status status = s ? resolve(&p, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
    bool half = p.precision == SD_PRECISION_F16 ||
                (p.precision == SD_PRECISION_AUTO && sd_vk_info(vk)->kind != SD_VK_CPU);
    if (!status && !(status = sd_weights_create(&s->weights, err)) && !(status = bind(s, &p, err)))
        status = sd_weights_random(
            s->weights, vk, p.precision == SD_PRECISION_F32 ? SD_WEIGHTS_LOSSLESS : SD_WEIGHTS_F16, 1, err);
    double began = sd_now();
    if (!status && !(status = sd_stage_begin(&s->stage, sd_vk_info(vk), half ? SD_F16 : SD_F32, err))) {
        record(s, &p);
        s->watch.cancel = p.cancel;
        status = sd_stage_finish(&s->stage, vk, &s->watch, err);
    }
    out->record_seconds = sd_now() - began;
    if (!status && !(status = clear_inputs(s, err)) && !(status = measure(s, vk, &p, out, err))) {
        count_work(s, out);
        status = profile(s, vk, out, err);
    }
    if (s) {
        sd_stage_end(&s->stage);
        sd_unet_destroy(&s->unet);
        sd_weights_destroy(vk, &s->weights);
    }
    free(s);
    return status;
}
