#include "sd/distilled.h"
#include "sd/latent.h"
#include "sd/request.h"

static void add_network(sd_plan_report *out, const char *name, const sd_weights *w,
                        const struct sd_stage *stage, bool once) {
    const struct sd_plan_stats *s = &stage->plan->stats;
    sd_rate rate = once ? SD_RATE_PROMPT : SD_RATE_STEP;
    out->network[out->count++] = (sd_network_plan){.name = name,
                                                   .parameters = sd_weights_parameters(w),
                                                   .weight_bytes = sd_weights_bytes(w),
                                                   .activation_bytes = s->activation_bytes,
                                                   .strips = 1,
                                                   .flop = s->flop[rate],
                                                   .bytes = s->bytes[rate],
                                                   .once_flop = once ? 0 : s->flop[SD_RATE_PROMPT],
                                                   .nodes = s->nodes[0] + s->nodes[1],
                                                   .barriers = s->barriers[0] + s->barriers[1]};
}

static sd_status plan_text(sd_model *model, const struct sd_request *r, int which, sd_plan_report *out,
                           sd_error *err) {
    const struct sd_text_part *part = &model->text[which];
    const struct sd_text_request request = {.skip = r->params.clip_skip > 0 ? r->params.clip_skip - 1 : 0,
                                            .final_norm = model->family->final_norm,
                                            .pooled = model->family->pooled};
    struct sd_stage stage;
    sd_status status = sd_stage_begin(&stage, sd_vk_info(model->context->vk), model->act, err);
    if (status)
        return status;
    sd_tensor *tokens = sd_graph_input(stage.graph, "tokens", SD_RATE_PROMPT, SD_I32, r->guided ? 2 : 1, 1,
                                       SD_TEXT_TOKENS, 1);
    struct sd_text_result result =
        sd_text_forward(stage.graph, &part->config, &part->model, &request, tokens);
    sd_graph_output(stage.graph, result.hidden, "hidden");
    if (!(status = sd_stage_finish(&stage, NULL, NULL, err)))
        add_network(out, which ? "text_2" : "text", part->weights, &stage, true);
    sd_stage_end(&stage);
    return status;
}

static sd_status plan_unet(sd_model *model, const struct sd_request *r, sd_plan_report *out, sd_error *err) {
    struct sd_conditioning cond = {
        .prompts = r->guided ? 2 : 1, .tokens = SD_TEXT_TOKENS, .width = model->files->unet.context};
    struct sd_denoiser d = {0};
    cond.pooled_width = sd_model_pooled_width(model);
    sd_status status = sd_model_need_unet(model, r->height, r->width, err);
    if (!status)
        status = sd_denoiser_create(&d, model, &cond, &r->params, NULL, true, NULL, err);
    if (!status)
        add_network(out, "unet", model->unet_weights, &d.stage, false);
    sd_denoiser_destroy(&d);
    return status;
}

static sd_status plan_decoder(sd_model *model, const struct sd_request *r, sd_plan_report *out,
                              sd_error *err) {
    struct sd_strips_stats s;
    sd_status status = sd_decode_plan(model, &r->params, &s, err);
    if (!status)
        out->network[out->count++] =
            (sd_network_plan){.name = "vae",
                              .parameters = sd_weights_parameters(model->autoencoder.decoder_weights),
                              .weight_bytes = sd_weights_bytes(model->autoencoder.decoder_weights),
                              .activation_bytes = s.device_bytes,
                              .host_bytes = s.host_bytes,
                              .strips = s.strips,
                              .flop = s.flop,
                              .bytes = s.bytes,
                              .nodes = s.nodes,
                              .barriers = s.barriers};
    return status;
}

sd_status sd_plan_generate(sd_model *model, const sd_params *params, sd_plan_report *out, sd_error *err) {
    struct sd_request r;
    uint64_t weights = 0, work = 0;
    *out = (sd_plan_report){0};
    sd_params filled = params ? *params : (sd_params){0};
    sd_distilled_fill(&filled, model);
    sd_status status = sd_request_resolve(&r, model, &filled, err);
    for (int i = 0; i < 2 && !status; i++)
        if (model->text[i].present)
            status = plan_text(model, &r, i, out, err);
    if (!status)
        status = plan_unet(model, &r, out, err);
    if (!status)
        status = plan_decoder(model, &r, out, err);
    /* The networks run one after another, and each gives its activations back before the next. */
    for (uint32_t i = 0; i < out->count; i++) {
        weights += out->network[i].weight_bytes;
        work = out->network[i].activation_bytes > work ? out->network[i].activation_bytes : work;
    }
    out->peak_bytes = weights + work;
    return status;
}
