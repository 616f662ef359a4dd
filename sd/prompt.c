#include "sd/prompt.h"

#include "sd/base/str.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum tag { tag_none, tag_lora, tag_hypernet };

/* Characters before `at`, and one. */
static uint32_t column_of(const char *prompt, const char *at) {
    uint32_t column = 1;
    for (; prompt < at; prompt++)
        column += ((unsigned char)*prompt & 0xC0) != 0x80;
    return column;
}

static bool is_letter(char c, char lower) {
    return c == lower || (lower >= 'a' && (c | 32) == lower);
}

/* Length of the tag's beginning, up to its first colon, and which it is. */
static size_t opening(const char *at, enum tag *tag) {
    static const struct {
        const char *text;
        enum tag tag;
    } known[] = {{"<lora:", tag_lora}, {"<lyco:", tag_lora}, {"<hypernet:", tag_hypernet}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = 0;
        while (known[i].text[n] && is_letter(at[n], known[i].text[n]))
            n++;
        if (!known[i].text[n]) {
            *tag = known[i].tag;
            return n;
        }
    }
    *tag = tag_none;
    return 0;
}

uint32_t sd_prompt_lora_column(const char *prompt) {
    for (const char *at = prompt; *at; at++) {
        enum tag tag;
        opening(at, &tag);
        if (tag == tag_lora)
            return column_of(prompt, at);
    }
    return 0;
}

static char *trimmed(char *text) {
    while (*text == ' ')
        text++;
    size_t n = strlen(text);
    while (n && text[n - 1] == ' ')
        text[--n] = 0;
    return text;
}

static bool read_number(const char *text, float *out) {
    char *end;
    float value = strtof(text, &end);
    if (end == text || *end || !isfinite(value))
        return false;
    *out = value;
    return true;
}

/* The numbers of a tag, where they are given. */
struct number {
    bool given;
    float value;
};
struct values {
    struct number unnamed[2], unet, text;
};

/* One value, "0.8" or "te=0.8"; false when it is neither. */
static bool read_value(struct sd_prompt_lora *l, struct values *v, char *text) {
    char *equals = strchr(text, '=');
    struct number *n = &v->unnamed[v->unnamed[0].given];
    if (equals) {
        *equals = 0;
        const char *name = trimmed(text);
        text = trimmed(equals + 1);
        if (!strcmp(name, "lbw")) {
            l->blocks = text;
            return *text;
        }
        n = !strcmp(name, "unet") ? &v->unet : !strcmp(name, "te") ? &v->text : NULL;
    }
    return n && !n->given && (n->given = read_number(text, &n->value));
}

static float first_given(const struct number *const *numbers) {
    for (; *numbers; numbers++)
        if ((*numbers)->given)
            return (*numbers)->value;
    return 1;
}

/* `body` is what stands between the first colon and the bracket; it is cut into pieces. */
static sd_status read_lora(struct sd_prompt_lora *l, char *body, sd_error *err) {
    struct values v = {0};
    char *next = strchr(body, ':');
    if (next)
        *next++ = 0;
    l->name = trimmed(body);
    if (!*l->name)
        return sd_fail(err, SD_E_ARGUMENT, "prompt: column %u: expected <lora:NAME:STRENGTH>, found no name",
                       l->column);
    while (next) {
        char *value = next, whole[64] = "";
        if ((next = strchr(value, ':')))
            *next++ = 0;
        strncat(whole, value, sizeof whole - 1);
        if (!read_value(l, &v, trimmed(value)))
            return sd_fail(
                err, SD_E_ARGUMENT,
                "prompt: column %u: <lora:%s>: expected at most two numbers (UNet, text encoders), unet=, "
                "te= or lbw=, found '%s'",
                l->column, l->name, whole);
    }
    l->unet = first_given((const struct number *const[]){&v.unet, &v.unnamed[0], &v.text, NULL});
    l->text = first_given((const struct number *const[]){&v.text, &v.unnamed[1], &v.unnamed[0], NULL});
    return SD_OK;
}

/* Reads the tag at `at`, whose beginning is `open` bytes long; *end is behind it. */
static sd_status read_tag(struct sd_prompt *out, const char *prompt, const char *at, size_t open,
                          enum tag tag, const char **end, sd_error *err) {
    struct sd_prompt_lora *l = &out->loras[out->lora_count];
    const char *close = strchr(at, '>');
    l->column = column_of(prompt, at);
    if (!close)
        return sd_fail(err, SD_E_ARGUMENT, "prompt: column %u: expected '>' at the end of %.*s...", l->column,
                       (int)open, at);
    if (tag == tag_hypernet)
        return sd_fail(err, SD_E_UNSUPPORTED, "prompt: column %u: hypernetworks are not supported: %.*s",
                       l->column, (int)(close - at + 1), at);
    char *body = sd_arena_printf(&out->arena, "%.*s", (int)(close - at - (ptrdiff_t)open), at + open);
    if (!body)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    *end = close + 1;
    out->lora_count++;
    return read_lora(l, body, err);
}

static size_t count_brackets(const char *text) {
    size_t count = 0;
    for (; *text; text++)
        count += *text == '<';
    return count;
}

sd_status sd_prompt_read(struct sd_prompt *out, const char *prompt, sd_error *err) {
    *out = (struct sd_prompt){0};
    char *text = sd_arena_alloc(&out->arena, strlen(prompt) + 1);
    out->loras = sd_arena_array(&out->arena, count_brackets(prompt) + 1, sizeof *out->loras);
    sd_status status = text && out->loras ? SD_OK : sd_fail(err, SD_E_MEMORY, "out of memory");
    out->text = text;
    for (const char *at = prompt; !status && *at;) {
        enum tag tag;
        size_t open = opening(at, &tag);
        if (tag)
            status = read_tag(out, prompt, at, open, tag, &at, err);
        else
            *text++ = *at++;
    }
    if (status)
        sd_prompt_clear(out);
    return status;
}

void sd_prompt_clear(struct sd_prompt *prompt) {
    sd_arena_clear(&prompt->arena);
    *prompt = (struct sd_prompt){0};
}
