#include "sd/request.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

/* The table's ranges hold for structs that the caller filled as well. */
static sd_status check_range(const char *name, double value, sd_error *err) {
    const sd_option *o = sd_option_find(name);
    /* The parameters are floats, and so is the bound that they may just reach: 0.01f lies below 0.01. */
    if (!(value >= (double)(float)o->low && value <= (double)(float)o->high))
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected %.16g to %.16g, found %g", name, o->low, o->high,
                       value);
    return SD_OK;
}

static void fill_defaults(sd_params *p, const sd_model *model) {
    p->prompt = p->prompt ? p->prompt : "";
    p->negative_prompt = p->negative_prompt ? p->negative_prompt : "";
    /* A masked part is rendered in the model's own size. */
    bool part = p->mask_area && !strcmp(p->mask_area, "masked");
    const sd_picture *init = part ? NULL : p->init_image;
    bool sized = p->width || p->height;
    p->width = p->width ? p->width : init && !sized ? init->width : model->width;
    p->height = p->height ? p->height : init && !sized ? init->height : model->height;
    p->cfg_scale = p->cfg_scale != 0 ? p->cfg_scale : 7;
    bool lcm = model->files->unet.time_cond;
    p->sampler = p->sampler ? p->sampler : lcm ? "lcm" : "euler";
    p->steps = p->steps ? p->steps : lcm ? 4 : 20;
    p->count = p->count ? p->count : 1;
    p->rng = p->rng ? p->rng : "cpu";
    p->clip_skip = p->clip_skip ? p->clip_skip : model->clip_skip;
    p->strength = p->strength != 0 ? p->strength : sd_model_input(model) == SD_UNET_INPUT_EDIT ? 1 : 0.75f;
    p->image_cfg_scale = p->image_cfg_scale != 0 ? p->image_cfg_scale : 1.5f;
    p->eta = p->eta > 0 ? p->eta : 0;
}

static sd_status check_name(const char *name, const char *value, sd_error *err) {
    sd_params unused = {0};
    return value ? sd_params_set(&unused, name, value, err) : SD_OK;
}

static sd_status check_picture(const char *name, const sd_picture *picture, sd_error *err) {
    if (picture && (!picture->width || !picture->height))
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a picture, found one without pixels", name);
    if (picture && (picture->channels < 3 || picture->channels > 4 || !picture->pixels))
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected 3 or 4 channels, found %u", name, picture->channels);
    return SD_OK;
}

static sd_status check_pictures(const sd_params *p, sd_error *err) {
    const sd_picture *init = p->init_image, *mask = p->mask;
    sd_status status;
    if ((status = check_name("resize", p->resize, err)) ||
        (status = check_name("mask_paint", p->mask_paint, err)) ||
        (status = check_name("mask_fill", p->mask_fill, err)) ||
        (status = check_name("mask_area", p->mask_area, err)) ||
        (status = check_range("mask_padding", p->mask_padding, err)) ||
        (status = check_picture("init_image", init, err)) || (status = check_picture("mask", mask, err)))
        return status;
    bool part = mask && p->mask_area && !strcmp(p->mask_area, "masked");
    if (init && !part && !p->resize && (init->width != p->width || init->height != p->height))
        return sd_fail(err, SD_E_ARGUMENT,
                       "init_image: expected %u x %u pixels, found %u x %u (resize scales it)", p->width,
                       p->height, init->width, init->height);
    if (mask && !init)
        return sd_fail(err, SD_E_ARGUMENT, "mask: expected an init_image beside it, found none");
    if (mask && (mask->width != init->width || mask->height != init->height))
        return sd_fail(err, SD_E_ARGUMENT, "mask: expected %u x %u pixels as init_image, found %u x %u",
                       init->width, init->height, mask->width, mask->height);
    return SD_OK;
}

static sd_status check_all(const sd_params *p, sd_error *err) {
    sd_status status;
    if ((status = check_range("width", p->width, err)) || (status = check_range("height", p->height, err)) ||
        (status = check_range("steps", p->steps, err)) ||
        (status = check_range("cfg_scale", (double)p->cfg_scale, err)) ||
        (status = check_range("count", p->count, err)) ||
        (status = check_range("clip_skip", p->clip_skip, err)) ||
        (status = check_range("eta", (double)p->eta, err)) ||
        (status = check_range("strength", (double)p->strength, err)) ||
        (status = check_range("mask_blur", (double)p->mask_blur, err)) ||
        (status = check_range("image_cfg_scale", (double)p->image_cfg_scale, err)) ||
        (p->vae_memory && (status = check_range("vae_memory", p->vae_memory, err))))
        return status;
    if (p->width % 8 || p->height % 8)
        return sd_fail(err, SD_E_ARGUMENT, "size: expected multiples of 8, found %u x %u", p->width,
                       p->height);
    if (strcmp(p->rng, "cpu") && strcmp(p->rng, "gpu"))
        return sd_fail(err, SD_E_ARGUMENT, "unknown rng '%s'; there are cpu, gpu", p->rng);
    return check_pictures(p, err);
}

/* The caller's schedule, else what the sampler's label implies, else the model's own, else the sampler's. */
static sd_status choose_sampling(struct sd_request *r, const sd_model *model, sd_error *err) {
    sd_status status = sd_sampler_find(r->params.sampler, &r->sampler, &r->schedule, err);
    if (status)
        return status;
    if (r->params.schedule) {
        if (!(r->schedule = sd_schedule_find(r->params.schedule)))
            return sd_fail(err, SD_E_ARGUMENT, "unknown schedule '%s'", r->params.schedule);
    } else if (!strcmp(r->schedule->name, "uniform") && model->default_schedule)
        r->schedule = sd_schedule_find(model->default_schedule);
    r->params.sampler = r->sampler->name;
    r->params.schedule = r->schedule->name;
    status = sd_schedule_sigmas(r->schedule, &model->noise, r->params.steps, NULL, r->sigmas, &r->steps, err);
    r->first =
        !status && r->params.init_image ? sd_strength_first_step(r->steps, (double)r->params.strength) : 0;
    return status;
}

/* Below 2^32, so that A1111 and its relatives can repeat it. */
static sd_status draw_seed(int64_t *seed, sd_error *err) {
    uint32_t drawn;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        return sd_fail(err, SD_E_IO, "cannot draw a random seed: %s", strerror(errno));
    *seed = drawn;
    return SD_OK;
}

sd_status sd_request_resolve(struct sd_request *r, const sd_model *model, const sd_params *params,
                             sd_error *err) {
    static const sd_params defaults;
    *r = (struct sd_request){.params = params ? *params : defaults};
    fill_defaults(&r->params, model);
    sd_status status = check_all(&r->params, err);
    if (!status && sd_model_input(model) == SD_UNET_INPUT_EDIT && !r->params.init_image)
        status = sd_fail(err, SD_E_ARGUMENT,
                         "init_image: expected the picture to edit, as %s is a pix2pix model, "
                         "found none",
                         model->files->name);
    if (!status)
        status = choose_sampling(r, model, err);
    if (!status && r->params.seed < 0)
        status = draw_seed(&r->params.seed, err);
    r->rng = strcmp(r->params.rng, "gpu") ? SD_RNG_CPU : SD_RNG_GPU;
    /* A UNet that reads the scale itself needs no second evaluation. */
    r->guided = fabsf(r->params.cfg_scale - 1) > 1e-6f && !model->files->unet.time_cond;
    r->height = r->params.height / 8;
    r->width = r->params.width / 8;
    return status;
}
