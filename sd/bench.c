#include "sd/bench.h"

#include "sd/base/clock.h"
#include "sd/model.h"
#include "sd/nn/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One network with its weights. */
struct subject {
    sd_weights *weights; /* the model's when there is one */
    struct sd_unet_config config;
    struct sd_unet *unet;
    struct sd_unet_inputs in;
    const struct sd_text_config *text_config;
    const struct sd_vae_config *vae_config;
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

static sd_status unknown_network(const char *name, sd_error *err) {
    return sd_fail(err, SD_E_ARGUMENT, "network: expected text, unet, decode or encode, found '%s'", name);
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
    s->text_config = text_config(p->family);
    s->vae_config = &sd_vae_sd1;
    if (!strcmp(p->network, "text"))
        sd_text_bind(&s->text, s->weights, s->text_config);
    else if (!strcmp(p->network, "decode"))
        sd_vae_bind_decoder(&s->decoder, s->weights, s->vae_config);
    else if (!strcmp(p->network, "encode"))
        sd_vae_bind_encoder(&s->encoder, s->weights, s->vae_config);
    else
        return unknown_network(p->network, err);
    return SD_OK;
}

static sd_status borrow(struct subject *s, const sd_bench_params *p, sd_error *err) {
    sd_model *m = p->model;
    sd_status status = SD_OK;
    s->vae_config = &m->files->vae;
    if (!strcmp(p->network, "unet")) {
        status = sd_model_need_unet(m, p->height / 8, p->width / 8, err);
        s->config = m->files->unet;
        s->unet = m->unet;
        s->weights = m->unet_weights;
    } else if (!strcmp(p->network, "text")) {
        const struct sd_text_part *part = &m->text[m->text[0].present ? 0 : 1];
        s->text_config = &part->config;
        s->text = part->model;
        s->weights = part->weights;
    } else if (!strcmp(p->network, "decode")) {
        s->decoder = m->autoencoder.decoder;
        s->weights = m->autoencoder.decoder_weights;
    } else if (!strcmp(p->network, "encode")) {
        status = sd_autoencoder_need_encoder(&m->autoencoder, m->context->vk, m->files, m->precision,
                                             p->cancel, err);
        s->encoder = m->autoencoder.encoder;
        s->weights = m->autoencoder.encoder_weights;
    } else
        return unknown_network(p->network, err);
    return status;
}

/* Random weights, or the model's. */
static sd_status prepare(sd_context *context, struct subject *s, const sd_bench_params *p, sd_error *err) {
    if (p->model)
        return borrow(s, p, err);
    sd_status status = sd_weights_create(&s->weights, err);
    if (!status)
        status = bind(s, p, err);
    return status ? status
                  : sd_weights_random(s->weights, context->vk, sd_bench_weights(p->precision), 1, err);
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
        out = sd_text_forward(g, s->text_config, &s->text, &(struct sd_text_request){.final_norm = true},
                              tokens)
                  .hidden;
    } else if (!strcmp(p->network, "decode"))
        out = sd_vae_decode(
            g, s->vae_config, &s->decoder,
            sd_graph_input(g, "z", SD_RATE_STEP, SD_F32, p->batch, h, w, s->vae_config->latent_channels));
    else
        out = sd_vae_encode(
            g, s->vae_config, &s->encoder,
            sd_graph_input(g, "picture", SD_RATE_STEP, SD_F32, p->batch, p->height, p->width, 3));
    sd_graph_output(g, out, "out");
}

sd_dtype sd_bench_act(const sd_context *context, sd_precision precision) {
    bool cpu = sd_vk_info(context->vk)->kind == SD_VK_CPU;
    return precision == SD_PRECISION_F16 || (precision == SD_PRECISION_AUTO && !cpu) ? SD_F16 : SD_F32;
}

sd_weight_precision sd_bench_weights(sd_precision precision) {
    return precision == SD_PRECISION_F32 ? SD_WEIGHTS_LOSSLESS : SD_WEIGHTS_F16;
}

sd_status sd_bench_fill(struct sd_stage *stage, sd_error *err) {
    sd_status status = SD_OK;
    uint32_t random = 1;
    for (uint32_t i = 0; i < stage->graph->tensor_count && !status; i++) {
        const sd_tensor *t = stage->graph->tensors[i];
        size_t count = (size_t)sd_tensor_rows(t) * t->c;
        float *values = t->input ? calloc(count, sizeof *values) : NULL;
        for (size_t k = 0; values && t->dtype != SD_I32 && k < count; k++) {
            random = random * 1664525u + 1013904223u;
            values[k] = (float)(random >> 8) / 8388608.0f - 1;
        }
        if (t->input)
            status = values ? sd_exec_write(stage->exec, t, values, count * sizeof *values, err)
                            : sd_fail(err, SD_E_MEMORY, "out of memory");
        free(values);
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
    snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

/* "conv2d", or with shapes "conv2d 32x32 320+640:320 k3 b2": size and channels of the input, and what else
 * tells it from its like. */
static void name_row(const sd_node *node, bool shapes, char *name, size_t size) {
    const sd_tensor *x = node->in[0], *out = node->out;
    const sd_weight *w = node->weight[0];
    char second[16] = "", outputs[16] = "", kernel[16] = "", keys[24] = "", batch[16] = "";
    if (!shapes || !x) {
        snprintf(name, size, "%s", node->op->name);
        return;
    }
    if (x->parts[1])
        snprintf(second, sizeof second, "+%u", x->parts[1]->c);
    if (out->c != x->c)
        snprintf(outputs, sizeof outputs, ":%u", out->c);
    if (w && w->kh > 1)
        snprintf(kernel, sizeof kernel, " k%u", w->kh);
    if (!strcmp(node->op->name, "attention"))
        snprintf(keys, sizeof keys, " keys %u", node->in[1]->h * node->in[1]->w);
    if (x->n > 1)
        snprintf(batch, sizeof batch, " b%u", x->n);
    snprintf(name, size, "%s %ux%u %u%s%s%s%s%s", node->op->name, x->w, x->h,
             x->parts[1] ? x->parts[0]->c : x->c, second, outputs, kernel, keys, batch);
}

static int by_seconds(const void *a, const void *b) {
    const sd_bench_op *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

/* Two more runs, the first to touch the new memory, with timestamps, which add a barrier between all nodes.
 */
sd_status sd_bench_profile(struct sd_stage *stage, sd_vk *vk, bool shapes, sd_bench_result *out,
                           sd_error *err) {
    const sd_plan *plan = stage->plan;
    const struct sd_exec_options options = {.profile = true};
    sd_exec *exec = NULL;
    double *seconds = calloc((size_t)plan->count + 1, sizeof *seconds);
    sd_exec_destroy(&stage->exec);
    sd_status status =
        seconds ? sd_exec_create(&exec, vk, plan, &options, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
    stage->exec = exec;
    if (!status && !(status = sd_bench_fill(stage, err)) &&
        !(status = sd_exec_run(exec, SD_RATE_PROMPT, err)) &&
        !(status = sd_exec_run(exec, SD_RATE_STEP, err)) && !(status = sd_exec_run(exec, SD_RATE_STEP, err)))
        status = sd_exec_times(exec, seconds, plan->count, err);
    for (uint32_t i = 0; i < plan->count && !status; i++) {
        struct sd_cost cost = {0};
        char name[sizeof out->ops->name];
        const sd_node *node = plan->order[i];
        if (node->rate != SD_RATE_STEP)
            continue;
        name_row(node, shapes, name, sizeof name);
        sd_bench_op *row = op_row(out, name);
        if (!row)
            continue;
        if (node->op->cost)
            node->op->cost(node, &cost);
        row->nodes++;
        row->seconds += seconds[i];
        row->flop += (double)cost.flop;
        row->bytes += (double)cost.bytes;
    }
    qsort(out->ops, out->op_count, sizeof *out->ops, by_seconds);
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

sd_status sd_bench_measure(struct sd_stage *stage, sd_vk *vk, uint32_t runs, sd_bench_result *out,
                           sd_error *err) {
    double times[100], host[100];
    double began = sd_now();
    sd_status status = sd_exec_run(stage->exec, SD_RATE_PROMPT, err);
    if (!status)
        status = sd_exec_run(stage->exec, SD_RATE_STEP, err);
    out->first_seconds = sd_now() - began;
    for (uint32_t i = 0; i < runs && !status; i++) {
        double waited = sd_vk_waited(vk);
        began = sd_now();
        status = sd_exec_run(stage->exec, SD_RATE_STEP, err);
        times[i] = sd_now() - began;
        host[i] = times[i] - (sd_vk_waited(vk) - waited);
    }
    if (status)
        return status;
    out->runs = runs;
    out->median_seconds = median(times, runs);
    out->best_seconds = times[0];
    out->host_seconds = median(host, runs);
    return SD_OK;
}

void sd_bench_count(const struct sd_stage *stage, const sd_weights *weights, sd_bench_result *out) {
    const struct sd_plan_stats *stats = &stage->plan->stats;
    out->f16 = stage->graph->act == SD_F16;
    out->parameters = sd_weights_parameters(weights);
    out->weight_bytes = sd_weights_bytes(weights);
    out->activation_bytes = stats->activation_bytes;
    out->flop = stats->flop[SD_RATE_STEP];
    out->bytes = stats->bytes[SD_RATE_STEP];
    out->nodes = stats->nodes[SD_RATE_STEP];
    out->barriers = stats->barriers[SD_RATE_STEP];
}

static sd_status resolve(sd_bench_params *p, sd_error *err) {
    if (p->model && p->family)
        return sd_fail(err, SD_E_ARGUMENT, "family: the model has its own, found '%s'", p->family);
    p->family = p->family ? p->family : "sd1";
    p->network = p->network ? p->network : "unet";
    p->width = p->width ? p->width : p->model ? p->model->width : 512;
    p->height = p->height ? p->height : p->model ? p->model->height : 512;
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
    *out = (sd_bench_result){.repeats = 1};
    sd_status status = s ? resolve(&p, err) : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        status = prepare(context, s, &p, err);
    sd_dtype act = p.model ? p.model->act : sd_bench_act(context, p.precision);
    double began = sd_now();
    if (!status && !(status = sd_stage_begin(&s->stage, sd_vk_info(vk), act, err))) {
        record(s, &p);
        s->watch.cancel = p.cancel;
        status = sd_stage_finish(&s->stage, vk, &s->watch, err);
    }
    out->record_seconds = sd_now() - began;
    if (!status && !(status = sd_bench_fill(&s->stage, err)) &&
        !(status = sd_bench_measure(&s->stage, vk, p.runs, out, err))) {
        sd_bench_count(&s->stage, s->weights, out);
        status = sd_bench_profile(&s->stage, vk, p.shapes, out, err);
    }
    if (s)
        sd_stage_end(&s->stage);
    if (s && !p.model) {
        sd_unet_destroy(&s->unet);
        sd_weights_destroy(vk, &s->weights);
    }
    free(s);
    return status;
}
