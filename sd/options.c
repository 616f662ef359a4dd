#include "sd/sd.h"

#include "sd/base/str.h"
#include "sd/sample/name.h"
#include "sd/sample/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(sd_params, name)

static const char *sampler_name(size_t index) {
    uint32_t count;
    const sd_sampler *rows = sd_samplers(&count);
    return index < count ? rows[index].name : NULL;
}

static const char *schedule_name(size_t index) {
    uint32_t count;
    const sd_schedule *rows = sd_schedules(&count);
    return index < count ? rows[index].name : NULL;
}

static sd_names names_of_sampler(const sd_sampler *s) {
    return (sd_names){s->name, s->label, s->aliases, (float)s->eta};
}

static sd_names names_of_schedule(const sd_schedule *s) {
    return (sd_names){s->name, s->label, s->aliases, 0};
}

bool sd_sampler_at(size_t index, sd_names *out) {
    uint32_t count;
    const sd_sampler *rows = sd_samplers(&count);
    if (index < count)
        *out = names_of_sampler(&rows[index]);
    return index < count;
}

bool sd_schedule_at(size_t index, sd_names *out) {
    uint32_t count;
    const sd_schedule *rows = sd_schedules(&count);
    if (index < count)
        *out = names_of_schedule(&rows[index]);
    return index < count;
}

static const char *resize_name(size_t index) {
    static const char *const names[] = {"stretch", "crop", "fill"};
    return index < 3 ? names[index] : NULL;
}

static const char *paint_name(size_t index) {
    static const char *const names[] = {"white", "black"};
    return index < 2 ? names[index] : NULL;
}

static const char *fill_name(size_t index) {
    static const char *const names[] = {"original", "fill", "noise", "nothing"};
    return index < 4 ? names[index] : NULL;
}

static const char *area_name(size_t index) {
    static const char *const names[] = {"whole", "masked"};
    return index < 2 ? names[index] : NULL;
}

bool sd_sampler_named(const char *word, sd_names *sampler, sd_names *schedule) {
    char folded[SD_NAME_MAX];
    const sd_sampler *found;
    const sd_schedule *implied;
    if (sd_sampler_find(word, &found, &implied, NULL))
        return false;
    *sampler = names_of_sampler(found);
    bool alone = sd_name_fold(word, folded) &&
                 (sd_name_is(folded, found->name, found->aliases) || sd_name_is(folded, found->label, NULL));
    *schedule = alone ? (sd_names){0} : names_of_schedule(implied);
    return true;
}

static const char *rng_name(size_t index) {
    static const char *const names[] = {"cpu", "gpu"};
    return index < 2 ? names[index] : NULL;
}

static const sd_option table[] = {
    {"prompt", SD_OPTION_TEXT, 0, 0, "", "what the picture shows", NULL, FIELD(prompt)},
    {"negative_prompt", SD_OPTION_TEXT, 0, 0, "", "what it should not show", NULL, FIELD(negative_prompt)},
    {"width", SD_OPTION_COUNT, 64, 8192, "the model's or init picture's", "pixels, a multiple of 8", NULL,
     FIELD(width)},
    {"height", SD_OPTION_COUNT, 64, 8192, "the model's or init picture's", "pixels, a multiple of 8", NULL,
     FIELD(height)},
    {"steps", SD_OPTION_COUNT, 1, 1000, "20, 4 for LCM models", "denoising steps", NULL, FIELD(steps)},
    {"cfg_scale", SD_OPTION_NUMBER, 1, 100, "7",
     "how strictly the prompt is followed; 1 switches guidance off", NULL, FIELD(cfg_scale)},
    {"sampler", SD_OPTION_CHOICE, 0, 0, "euler, lcm for LCM models", "the way from noise to picture",
     sampler_name, FIELD(sampler)},
    {"schedule", SD_OPTION_CHOICE, 0, 0, "the sampler's or model's own", "spacing of the noise levels",
     schedule_name, FIELD(schedule)},
    {"seed", SD_OPTION_SEED, -1, 9007199254740991.0, "-1", "the picture's number; -1 draws one at random",
     NULL, FIELD(seed)},
    {"count", SD_OPTION_COUNT, 1, 1000, "1", "pictures, with seeds counting up", NULL, FIELD(count)},
    {"rng", SD_OPTION_CHOICE, 0, 0, "cpu", "whose noise a seed gives: PyTorch's on the CPU or on CUDA",
     rng_name, FIELD(rng)},
    {"clip_skip", SD_OPTION_COUNT, 1, 48, "the model's own",
     "text encoder layers counted from the end; 1 is the last", NULL, FIELD(clip_skip)},
    {"eta", SD_OPTION_NUMBER, 0, 10, "the sampler's own", "noise added by ancestral, SDE and DDIM samplers",
     NULL, FIELD(eta)},
    {"resize", SD_OPTION_CHOICE, 0, 0, "", "how an init picture of another size is scaled", resize_name,
     FIELD(resize)},
    {"strength", SD_OPTION_NUMBER, 0.01, 1, "0.75, 1 for pix2pix models",
     "how much of the init picture is replaced", NULL, FIELD(strength)},
    {"mask_blur", SD_OPTION_NUMBER, 0, 64, "0",
     "standard deviation of the mask's blur in pixels, for a soft edge", NULL, FIELD(mask_blur)},
    {"mask_paint", SD_OPTION_CHOICE, 0, 0, "white", "which colour of the mask is made anew", paint_name,
     FIELD(mask_paint)},
    {"mask_fill", SD_OPTION_CHOICE, 0, 0, "original", "what the masked part starts from", fill_name,
     FIELD(mask_fill)},
    {"mask_area", SD_OPTION_CHOICE, 0, 0, "whole",
     "render the whole picture, or only the masked part of it at width x height", area_name,
     FIELD(mask_area)},
    {"mask_padding", SD_OPTION_COUNT, 0, 1024, "0", "pixels round the mask that are rendered with it", NULL,
     FIELD(mask_padding)},
    {"image_cfg_scale", SD_OPTION_NUMBER, 1, 100, "1.5",
     "how closely a pix2pix model keeps to the init picture", NULL, FIELD(image_cfg_scale)},
    {"vae_memory", SD_OPTION_COUNT, 1, 65536, "what the device has left",
     "MiB that the VAE may work in; with less it takes longer, for the same picture", NULL,
     FIELD(vae_memory)},
};

size_t sd_option_count(void) {
    return sizeof table / sizeof *table;
}

const sd_option *sd_option_at(size_t index) {
    return index < sd_option_count() ? &table[index] : NULL;
}

const sd_option *sd_option_find(const char *name) {
    for (size_t i = 0; i < sd_option_count(); i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

const char *sd_suggest(const char *word, const char *const *names) {
    return sd_closest(word, names);
}

static sd_status unknown_choice(const sd_option *o, const char *value, sd_error *err) {
    const char *names[64] = {NULL};
    sd_str list = {0};
    for (size_t i = 0; i < 63 && o->choice(i); i++) {
        names[i] = o->choice(i);
        sd_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = sd_closest(value, names);
    sd_status status =
        near ? sd_fail(err, SD_E_ARGUMENT, "unknown %s '%s'; did you mean '%s'?", o->name, value, near)
             : sd_fail(err, SD_E_ARGUMENT, "unknown %s '%s'; there are %s", o->name, value,
                       list.text ? list.text : "none");
    sd_str_clear(&list);
    return status;
}

static sd_status set_choice(const sd_option *o, const char *value, const char **field, sd_error *err) {
    bool known = false;
    if (!strcmp(o->name, "sampler"))
        known = !sd_sampler_find(value, NULL, NULL, NULL);
    else if (!strcmp(o->name, "schedule"))
        known = sd_schedule_find(value) != NULL;
    for (size_t i = 0; o->choice(i); i++)
        known = known || !strcmp(o->choice(i), value);
    if (!known)
        return unknown_choice(o, value, err);
    *field = value;
    return SD_OK;
}

static sd_status set_number(const sd_option *o, const char *value, void *field, sd_error *err) {
    bool whole = o->kind != SD_OPTION_NUMBER;
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number) || (whole && number != floor(number)))
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a %s, found '%s'", o->name,
                       whole ? "whole number" : "number", value);
    if (number < o->low || number > o->high)
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected %.16g to %.16g, found %s", o->name, o->low, o->high,
                       value);
    bool pixels = !strcmp(o->name, "width") || !strcmp(o->name, "height");
    if (pixels && fmod(number, 8) != 0)
        return sd_fail(err, SD_E_ARGUMENT, "%s: expected a multiple of 8, found %s; try %.0f", o->name, value,
                       fmax(o->low, round(number / 8) * 8));
    if (o->kind == SD_OPTION_COUNT)
        *(uint32_t *)field = (uint32_t)number;
    else if (o->kind == SD_OPTION_SEED)
        *(int64_t *)field = (int64_t)number;
    else
        *(float *)field = (float)number;
    return SD_OK;
}

sd_status sd_params_set(sd_params *params, const char *name, const char *value, sd_error *err) {
    const sd_option *o = sd_option_find(name);
    if (!o)
        return sd_fail(err, SD_E_ARGUMENT, "there is no option '%s'", name);
    void *field = (char *)params + o->offset;
    if (!sd_utf8_valid(value, strlen(value)))
        return sd_fail(err, SD_E_ARGUMENT, "%s: the text is not valid UTF-8", name);
    if (o->kind == SD_OPTION_TEXT) {
        *(const char **)field = value;
        return SD_OK;
    }
    return o->kind == SD_OPTION_CHOICE ? set_choice(o, value, field, err) : set_number(o, value, field, err);
}
