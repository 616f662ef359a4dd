#include "sd/io/infotext.h"

#include "sd/io/json_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char negative_mark[] = "Negative prompt:";

/* The fewest fields that make a line the line of fields and not prose with a colon in it. */
enum { fewest_fields = 3, params_fields = 9 };

static void put_quoted(sd_str *out, const char *text) {
    static const char plain[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
    sd_str_append(out, "\"");
    for (const char *p = text; *p; p++) {
        const char *hit = strchr(plain, *p);
        if (hit)
            sd_str_printf(out, "\\%c", escapes[hit - plain]);
        else if ((unsigned char)*p < 0x20)
            sd_str_printf(out, "\\u%04x", (unsigned)*p);
        else
            sd_str_append_bytes(out, p, 1);
    }
    sd_str_append(out, "\"");
}

/* What readers would split, trim or unquote has to be quoted. */
static bool needs_quotes(const char *v) {
    size_t n = strlen(v);
    return n && (strpbrk(v, ",:\n\r\"") || strchr(" \t\v\f", v[0]) || strchr(" \t\v\f", v[n - 1]));
}

void sd_infotext_format(sd_str *out, const char *prompt, const char *negative,
                        const sd_infotext_field *fields, size_t count) {
    sd_str_append(out, prompt ? prompt : "");
    const char *line = prompt && *prompt ? "\n" : "";
    if (negative && *negative) {
        sd_str_printf(out, "%s%s ", line, negative_mark);
        sd_str_append(out, negative);
        line = "\n";
    }
    for (size_t i = 0; i < count; i++) {
        sd_str_printf(out, "%s%s: ", i ? ", " : line, fields[i].key);
        if (needs_quotes(fields[i].value))
            put_quoted(out, fields[i].value);
        else
            sd_str_append(out, fields[i].value);
    }
}

/* The shortest decimal that reads back as the same value, with a point whatever the locale. */
static void print_number(char *out, size_t size, double value) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    char *comma = strchr(out, ',');
    if (comma)
        *comma = '.';
}

void sd_infotext_write(sd_str *out, const sd_infotext_params *p) {
    char steps[16], cfg[40], seed[24], size[32];
    size_t n = 0;
    sd_infotext_field *list = calloc(p->extra_count + params_fields, sizeof *list);
    if (!list) {
        out->failed = true;
        return;
    }
    snprintf(steps, sizeof steps, "%" PRIu32, p->steps);
    print_number(cfg, sizeof cfg, p->cfg_scale);
    snprintf(seed, sizeof seed, "%" PRIu64, p->seed);
    snprintf(size, sizeof size, "%" PRIu32 "x%" PRIu32, p->width, p->height);
    const sd_infotext_field head[] = {
        {"Steps", p->steps ? steps : NULL},
        {"Sampler", p->sampler},
        {"Schedule type", p->schedule},
        {"CFG scale", p->cfg_scale != 0 ? cfg : NULL},
        {"Seed", seed},
        {"Size", p->width && p->height ? size : NULL},
        {"Model hash", p->model_hash},
        {"Model", p->model},
    };
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        if (head[i].value)
            list[n++] = head[i];
    for (size_t i = 0; i < p->extra_count; i++)
        list[n++] = p->extra[i];
    if (p->version)
        list[n++] = (sd_infotext_field){"Version", p->version};
    sd_infotext_format(out, p->prompt, p->negative, list, n);
    free(list);
}

/* One line of the text, without its line break. */
typedef struct line {
    const char *text;
    size_t size;
} line;

static bool word_character(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool key_character(char c) {
    return word_character(c) || c == ' ' || c == '-' || c == '/';
}

static bool blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The end of a quoted value that begins at `at`, past its closing quote; 0 when it does not end before a
 * comma or the end of the line. */
static size_t quoted_end(line l, size_t at) {
    size_t i = at + 1;
    for (; i < l.size && l.text[i] != '"'; i++)
        if (l.text[i] == '\\')
            i++;
    if (i >= l.size || i == at + 1)
        return 0;
    i++;
    return i == l.size || l.text[i] == ',' ? i : 0;
}

typedef struct pair {
    line key, value;
} pair;

/* Finds the next "Key: value" at or after *at and moves *at past it and its comma. What does not look like
 * one is passed over up to the next comma. */
static bool next_pair(line l, size_t *at, pair *out) {
    while (*at < l.size) {
        size_t i = *at;
        while (i < l.size && blank(l.text[i]))
            i++;
        size_t key = i;
        while (i < l.size && key_character(l.text[i]))
            i++;
        if (i - key >= 2 && i < l.size && l.text[i] == ':' && word_character(l.text[key])) {
            out->key = (line){l.text + key, i - key};
            for (i++; i < l.size && blank(l.text[i]);)
                i++;
            size_t start = i, end = i < l.size && l.text[i] == '"' ? quoted_end(l, i) : 0;
            if (!end)
                for (end = start; end < l.size && l.text[end] != ',';)
                    end++;
            out->value = (line){l.text + start, end - start};
            *at = end + 1;
            return true;
        }
        while (i < l.size && l.text[i] != ',')
            i++;
        *at = i + 1;
    }
    return false;
}

static size_t count_pairs(line l) {
    size_t at = 0, count = 0;
    pair p;
    while (next_pair(l, &at, &p))
        count++;
    return count;
}

static char *copy(sd_arena *arena, line l) {
    char *out = sd_arena_alloc(arena, l.size + 1);
    if (out && l.size)
        memcpy(out, l.text, l.size);
    return out;
}

/* A value without its quotes when it is a JSON string; as it stands, right-trimmed, otherwise. */
static char *unquote(sd_arena *arena, line l) {
    while (l.size && blank(l.text[l.size - 1]))
        l.size--;
    if (l.size >= 2 && l.text[0] == '"' && l.text[l.size - 1] == '"') {
        sd_json_reader j = {.text = l.text, .size = l.size, .label = "", .arena = arena};
        char *value;
        if (sd_json_string(&j, "a string", &value) && sd_json_end(&j))
            return value;
    }
    return copy(arena, l);
}

static bool add_field(sd_infotext *info, line key, line value) {
    sd_infotext_field *f = &info->fields[info->count];
    f->key = copy(&info->arena, key);
    f->value = unquote(&info->arena, value);
    info->count++;
    return f->key && f->value;
}

/* A line after the line of fields, as some extensions append it: one key, and the rest is its value. */
static bool trailing_pair(line l, pair *out) {
    size_t n = 0;
    while (n < l.size && key_character(l.text[n]))
        n++;
    if (n < 2 || n >= l.size || l.text[n] != ':' || !word_character(l.text[0]))
        return false;
    out->key = (line){l.text, n};
    for (n++; n < l.size && blank(l.text[n]);)
        n++;
    out->value = (line){l.text + n, l.size - n};
    return true;
}

static bool add_fields(sd_infotext *info, const line *lines, size_t first, size_t count) {
    size_t at = 0, total = first < count ? count_pairs(lines[first]) + (count - first) : 0;
    pair p;
    info->fields = sd_arena_array(&info->arena, total, sizeof *info->fields);
    if (!info->fields)
        return false;
    if (first < count)
        while (next_pair(lines[first], &at, &p))
            if (!add_field(info, p.key, p.value))
                return false;
    for (size_t i = first + 1; i < count; i++)
        if (trailing_pair(lines[i], &p) && !add_field(info, p.key, p.value))
            return false;
    return true;
}

static bool begins_with(line l, const char *text) {
    size_t n = strlen(text);
    return l.size >= n && memcmp(l.text, text, n) == 0;
}

/* The line of fields: the last one; or, when others follow it, the last one that begins with "Steps:".
 * `count` when there is none. */
static size_t find_fields(const line *lines, size_t count) {
    if (count && count_pairs(lines[count - 1]) >= fewest_fields)
        return count - 1;
    for (size_t i = count; i-- > 0;)
        if (begins_with(lines[i], "Steps:") && count_pairs(lines[i]) >= fewest_fields)
            return i;
    return count;
}

/* The lines joined again; the first begins `skip` bytes later. */
static char *join(sd_arena *arena, const line *lines, size_t count, size_t skip) {
    size_t size = 1, at = 0;
    for (size_t i = 0; i < count; i++)
        size += lines[i].size + 1;
    char *out = sd_arena_alloc(arena, size);
    for (size_t i = 0; out && i < count; i++, skip = 0) {
        if (i)
            out[at++] = '\n';
        memcpy(out + at, lines[i].text + skip, lines[i].size - skip);
        at += lines[i].size - skip;
    }
    return out;
}

static line *split(sd_arena *arena, const char *text, size_t *count) {
    size_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == '\n';
    line *lines = sd_arena_array(arena, n, sizeof *lines);
    for (size_t i = 0; lines && i < n; i++) {
        size_t size = strcspn(text, "\n");
        lines[i] = (line){text, size - (size && text[size - 1] == '\r')};
        text += size + 1;
    }
    while (lines && n && !lines[n - 1].size)
        n--;
    *count = n;
    return lines;
}

static bool parse(sd_infotext *info, const char *text) {
    size_t count, negative = 0, skip = 0;
    line *lines = split(&info->arena, text, &count);
    if (!lines)
        return false;
    size_t fields = find_fields(lines, count);
    while (negative < fields && !begins_with(lines[negative], negative_mark))
        negative++;
    info->prompt = join(&info->arena, lines, negative, 0);
    if (negative < fields) {
        skip = sizeof negative_mark - 1;
        skip += skip < lines[negative].size && lines[negative].text[skip] == ' ';
    }
    info->negative = join(&info->arena, lines + negative, fields - negative, skip);
    return info->prompt && info->negative && add_fields(info, lines, fields, count);
}

sd_status sd_infotext_parse(const char *text, sd_infotext *out, sd_error *err) {
    *out = (sd_infotext){0};
    if (!sd_utf8_valid(text, strlen(text)))
        return sd_fail(err, SD_E_FORMAT, "parameters: expected UTF-8 text");
    if (parse(out, text))
        return SD_OK;
    sd_infotext_clear(out);
    return sd_fail(err, SD_E_MEMORY, "parameters: no memory to take them apart");
}

void sd_infotext_clear(sd_infotext *info) {
    sd_arena_clear(&info->arena);
    *info = (sd_infotext){0};
}

const char *sd_infotext_find(const sd_infotext *info, const char *key) {
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->fields[i].key, key) == 0)
            return info->fields[i].value;
    return NULL;
}
