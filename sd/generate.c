#include "sd/base/clock.h"
#include "sd/cancel.h"
#include "sd/distilled.h"
#include "sd/latent.h"
#include "sd/picture_input.h"
#include "sd/preview.h"
#include "sd/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One call of sd_generate. */
struct run {
    sd_model *model;
    struct sd_request request;
    struct sd_prompt prompt;
    struct sd_embeddings embeddings;
    struct sd_conditioning conditioning;
    struct sd_picture_input input;
    struct sd_denoiser denoiser;
    size_t values; /* of one latent */
    uint32_t image;
    double began, steps, decoding; /* seconds: when, and over all images */
    double host;                   /* of the sampling loop outside of waits for the device */
    struct sd_watch watch;
    const sd_picture *preview; /* during a report */
};

static void tell(const struct run *run, sd_phase phase, uint32_t step, uint32_t steps) {
    const sd_params *p = &run->request.params;
    const sd_progress progress = {.phase = phase,
                                  .image = run->image,
                                  .images = p->count,
                                  .step = step,
                                  .steps = steps,
                                  .seconds = sd_now() - run->began,
                                  .preview = run->preview};
    if (p->progress)
        p->progress(p->progress_user, &progress);
}

static sd_status report(const struct run *run, sd_phase phase, uint32_t step, sd_error *err) {
    tell(run, phase, step, run->request.steps - run->request.first);
    return sd_cancel_requested(run->watch.cancel) ? sd_fail(err, SD_E_CANCELLED, "cancelled") : SD_OK;
}

static void on_compiled(void *user, uint32_t done, uint32_t all) {
    tell(user, SD_PHASE_COMPILE, done, all);
}

static sd_status encode_text(struct run *run, sd_error *err) {
    const struct sd_request *r = &run->request;
    const char *both[] = {r->params.negative_prompt, run->prompt.text};
    sd_status status = report(run, SD_PHASE_TEXT, 0, err);
    if (!status)
        status = sd_text_encode(run->model, r->guided ? both : both + 1, r->guided ? 2 : 1,
                                r->params.clip_skip, &run->embeddings, &run->watch, &run->conditioning, err);
    if (!status)
        sd_embeddings_report(&run->embeddings);
    return status;
}

/* Within a step, and for this picture alone. */
static sd_status report_step(const struct run *run, uint32_t step, sd_error *err) {
    sd_status status = report(run, SD_PHASE_STEP, step, err);
    bool skipped = !status && sd_cancel_requested(run->request.params.skip);
    return skipped ? sd_fail(err, SD_E_CANCELLED, "skipped") : status;
}

/* A UNet that does not know the mask is told at every step what lies outside it. */
static void keep(const struct run *run, float *denoised) {
    uint32_t channels = run->denoiser.channels;
    for (size_t i = 0; i < run->values; i++)
        if (run->input.mask[i / channels] == 0)
            denoised[i] = run->input.latent[i];
}

static sd_status denoise(void *user, const float *x, float sigma, float *denoised, sd_error *err) {
    struct run *run = user;
    sd_status status = sd_denoise(&run->denoiser, x, (double)sigma, denoised, err);
    if (!status && run->input.mask && !run->input.extra)
        keep(run, denoised);
    return status;
}

/* A preview that cannot be had is no reason to lose the picture. */
static sd_status preview(struct run *run, const float *denoised, sd_picture *out, sd_error *err) {
    sd_error cause;
    sd_status status = sd_preview(run->model, &run->request.params, &run->watch, denoised, out, &cause);
    if (status == SD_E_CANCELLED || status == SD_E_DEVICE_LOST)
        return sd_fail(err, status, "%s", cause.message);
    if (status)
        sd_log(&run->model->context->log, SD_LOG_INFO, "no preview: %s", cause.message);
    return SD_OK;
}

static sd_status on_step(void *user, uint32_t step, uint32_t steps, const float *x, const float *denoised,
                         sd_error *err) {
    struct run *run = user;
    uint32_t every = run->request.params.preview_every;
    sd_picture picture = {0};
    (void)x;
    /* The last step's preview is the picture. */
    bool wanted = every && step + 1 < steps && (step + 1) % every == 0;
    sd_status status = wanted ? preview(run, denoised, &picture, err) : SD_OK;
    run->preview = picture.pixels ? &picture : NULL;
    if (!status)
        status = report_step(run, step + 1, err);
    run->preview = NULL;
    sd_picture_free(&picture);
    return status;
}

/* With mask_fill "noise" the masked part starts from noise of unit variance, which the picture's own is, as
 * in A1111. */
static float start_of(const struct run *run, const float *latent, const float *drawn, size_t i) {
    const char *fill = run->request.params.mask_fill;
    bool noise = run->input.mask && fill && fill[0] == 'n' && !strcmp(fill, "noise");
    return noise && run->input.mask[i / run->denoiser.channels] > 0 ? drawn[i] : latent[i];
}

/* Pure noise, or the init picture's latent with noise of the first level. */
static sd_status start(struct run *run, sd_noise *noise, float *x, sd_error *err) {
    const struct sd_request *r = &run->request;
    float sigma = r->sigmas[r->first], *drawn = malloc(run->values * sizeof *drawn);
    sd_status status = drawn ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    /* An edited picture is read by the UNet itself. */
    bool alone = sd_model_input(run->model) == SD_UNET_INPUT_EDIT && !r->first;
    const float *latent = alone ? NULL : run->input.latent;
    if (!status) {
        sd_noise_randn(noise, drawn);
        float scale = latent ? sigma : sd_schedule_noise_scale(r->schedule, sigma);
        for (size_t i = 0; i < run->values; i++)
            x[i] = (latent ? start_of(run, latent, drawn, i) : 0) + drawn[i] * scale;
    }
    free(drawn);
    return status;
}

static sd_status sample_image(struct run *run, float *x, sd_error *err) {
    const struct sd_request *r = &run->request;
    uint64_t seed = (uint64_t)r->params.seed + run->image;
    const sd_noise_params params = {.kind = r->rng,
                                    .seeds = &seed,
                                    .images = 1,
                                    .values = run->values,
                                    .channels = run->denoiser.channels};
    sd_noise *noise = NULL;
    const sd_sampler_job job = {.denoise = denoise,
                                .denoise_user = run,
                                .step = on_step,
                                .step_user = run,
                                .sigmas = r->sigmas + r->first,
                                .steps = r->steps - r->first,
                                .options = {.eta_set = r->params.eta > 0, .eta = r->params.eta}};
    sd_status status = sd_noise_create(&noise, &params, err);
    if (!status)
        status = start(run, noise, x, err);
    if (!status && !(status = report_step(run, 0, err)) && job.steps) {
        sd_sampler_job with_noise = job;
        with_noise.noise = noise;
        double before = sd_now() - sd_vk_waited(run->model->context->vk);
        status = sd_sampler_run(r->sampler, &with_noise, x, run->values, err);
        run->host += sd_now() - sd_vk_waited(run->model->context->vk) - before;
    }
    sd_noise_destroy(&noise);
    return status;
}

/* What all pictures share, before the first. */
static sd_status prepare(struct run *run, sd_error *err) {
    const struct sd_request *r = &run->request;
    bool encodes = r->params.init_image || sd_model_input(run->model) == SD_UNET_INPUT_MASK;
    sd_status status = encodes ? report(run, SD_PHASE_ENCODE, 0, err) : SD_OK;
    run->values = (size_t)r->height * r->width * run->model->files->unet.out_channels;
    if (!status)
        status = sd_picture_input_prepare(&run->input, run->model, &r->params, &run->watch, err);
    return status ? status : sd_model_need_unet(run->model, r->height, r->width, err);
}

/* The latent of the picture under way, [h][w][channels]. The UNet's activations end with its steps and make
 * room for the decoder's. */
static sd_status make_latent(struct run *run, float *x, sd_error *err) {
    double began = sd_now();
    sd_status status = sd_denoiser_create(&run->denoiser, run->model, &run->conditioning,
                                          &run->request.params, run->input.extra, false, &run->watch, err);
    if (!status)
        status = sample_image(run, x, err);
    sd_denoiser_destroy(&run->denoiser);
    run->steps += sd_now() - began;
    return status;
}

static sd_status finish_picture(struct run *run, sd_output *o, sd_error *err) {
    sd_status status = run->input.overlay
                           ? sd_picture_input_restore(&run->input, &run->request.params, &o->picture, err)
                           : SD_OK;
    if (status)
        return status;
    return sd_output_describe(o, run->model, &run->request, &run->embeddings, err);
}

static sd_status decode(struct run *run, const float *latent, sd_output *o, sd_error *err) {
    const struct sd_request *r = &run->request;
    double began = sd_now();
    o->seed = r->params.seed + run->image;
    o->picture = (sd_picture){.width = r->params.width, .height = r->params.height, .channels = 3};
    sd_status status = report(run, SD_PHASE_DECODE, r->steps - r->first, err);
    if (!status && !(o->picture.pixels = malloc((size_t)r->params.width * r->params.height * 3)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status)
        status = sd_decode(run->model, &r->params, &run->watch, latent, o->picture.pixels, err);
    if (!status)
        status = finish_picture(run, o, err);
    run->decoding += sd_now() - began;
    return status;
}

static void clear_output(sd_output *o) {
    free(o->picture.pixels);
    free(o->infotext);
    free(o->json);
    *o = (sd_output){0};
}

/* A picture, to the caller or behind those that are made; `latent` is room for its own. */
static sd_status make_picture(struct run *run, float *latent, sd_outputs *outputs, sd_error *err) {
    const sd_params *p = &run->request.params;
    sd_output o = {0};
    sd_cancel_withdraw(p->skip);
    sd_status status = make_latent(run, latent, err);
    if (status == SD_E_CANCELLED && sd_cancel_requested(p->skip) && !sd_cancel_requested(p->cancel))
        return SD_OK;
    if (!status)
        status = decode(run, latent, &o, err);
    if (!status && p->made)
        status = p->made(p->made_user, run->image, &o, err);
    if (status || p->made)
        clear_output(&o);
    else
        outputs->items[outputs->count] = o;
    outputs->count += !status;
    return status;
}

static sd_status make_pictures(struct run *run, sd_outputs *outputs, sd_error *err) {
    const sd_params *p = &run->request.params;
    sd_status status = prepare(run, err);
    float *latent = status ? NULL : malloc(run->values * sizeof *latent);
    if (!status && !p->made)
        outputs->items = calloc(p->count, sizeof *outputs->items);
    if (!status && (!latent || (!p->made && !outputs->items)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (run->image = 0; run->image < p->count && !status; run->image++)
        status = make_picture(run, latent, outputs, err);
    free(latent);
    return status;
}

/* A1111 takes LoRAs from the prompt alone, and reads their tags in the negative prompt as words. */
static sd_status read_prompts(struct run *run, sd_error *err) {
    const sd_params *p = &run->request.params;
    uint32_t column = sd_prompt_lora_column(p->negative_prompt);
    if (column)
        sd_log(
            &run->model->context->log, SD_LOG_WARNING,
            "negative_prompt: column %u: a LoRA works on the whole picture, so that its tag belongs into the "
            "prompt; here it is read as text",
            column);
    sd_status status = sd_prompt_read(&run->prompt, p->prompt, err);
    return status ? status : sd_embeddings_find(&run->embeddings, run->model, p, err);
}

/* A distilled LoRA changes the defaults, once it is known. */
static sd_status ask_loras(struct run *run, const sd_params *given, sd_error *err) {
    sd_params params = given ? *given : (sd_params){0};
    return sd_distilled_fill(&params, run->model)
               ? sd_request_resolve(&run->request, run->model, &params, err)
               : SD_OK;
}

/* Everything before the first picture. */
static sd_status begin(struct run *run, sd_model *model, const sd_params *params, sd_error *err) {
    run->model = model;
    run->began = sd_now();
    sd_status status = sd_request_resolve(&run->request, model, params, err);
    run->watch = (struct sd_watch){run->request.params.cancel, on_compiled, run};
    model->cancel = run->watch.cancel;
    sd_cancel_hashes(model->context->hashes, run->watch.cancel);
    if (!status)
        status = read_prompts(run, err);
    if (!status)
        status = sd_model_use_loras(model, &run->request.params, &run->prompt, err);
    if (!status)
        status = ask_loras(run, params, err);
    return status ? status : encode_text(run, err);
}

static void clear_run(struct run *run) {
    if (run->model) {
        run->model->cancel = NULL;
        sd_cancel_hashes(run->model->context->hashes, NULL);
    }
    sd_conditioning_clear(&run->conditioning);
    sd_prompt_clear(&run->prompt);
    sd_embeddings_clear(&run->embeddings);
    sd_picture_input_clear(&run->input);
    free(run);
}

sd_status sd_generate_latents(sd_model *model, const sd_params *params, float **latents, size_t *values,
                              sd_error *err) {
    struct run *run = calloc(1, sizeof *run);
    *latents = NULL;
    if (!run)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = begin(run, model, params, err);
    if (!status)
        status = prepare(run, err);
    uint32_t count = run->request.params.count;
    *values = run->values;
    if (!status && !(*latents = malloc(count * run->values * sizeof **latents)))
        status = sd_fail(err, SD_E_MEMORY, "out of memory");
    for (run->image = 0; run->image < count && !status; run->image++)
        status = make_latent(run, *latents + run->image * run->values, err);
    clear_run(run);
    if (status) {
        free(*latents);
        *latents = NULL;
    }
    return status;
}

static void add_times(const struct run *run, sd_outputs *outputs) {
    const struct sd_request *r = &run->request;
    double steps = r->steps > r->first ? (double)(r->steps - r->first) * r->params.count : 1;
    outputs->seconds = sd_now() - run->began;
    outputs->step_seconds = run->steps;
    outputs->decode_seconds = run->decoding;
    outputs->host_step_seconds = run->host / steps;
}

sd_status sd_generate(sd_model *model, const sd_params *params, sd_outputs **out, sd_error *err) {
    struct run *run = calloc(1, sizeof *run);
    sd_outputs *outputs = calloc(1, sizeof *outputs);
    *out = NULL;
    sd_status status = run && outputs ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    if (!status && !(status = begin(run, model, params, err))) {
        outputs->text_seconds = sd_now() - run->began;
        status = make_pictures(run, outputs, err);
        add_times(run, outputs);
    }
    if (run)
        clear_run(run);
    if (status)
        sd_outputs_free(&outputs);
    *out = outputs;
    return status;
}

void sd_outputs_free(sd_outputs **outputs) {
    if (!*outputs)
        return;
    for (size_t i = 0; (*outputs)->items && i < (*outputs)->count; i++)
        clear_output(&(*outputs)->items[i]);
    free((*outputs)->items);
    free(*outputs);
    *outputs = NULL;
}
