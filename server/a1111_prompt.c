#include "server/a1111.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Two bare numbers behind the name, up to the '>': where they begin and how long they are. */
struct strengths {
    const char *text, *unet, *end;
    size_t text_size, unet_size;
};

/* `tag` is behind "<lora:". */
static bool find_strengths(const char *tag, struct strengths *out) {
    const char *at[4];
    size_t size[4], n = 0;
    out->end = tag + strcspn(tag, ">");
    if (!*out->end)
        return false;
    for (const char *p = tag; n < 4; p++) {
        at[n] = p;
        size[n] = strcspn(p, ":>");
        p += size[n++];
        if (*p == '>')
            break;
    }
    if (n < 3 || memchr(at[1], '=', size[1]) || memchr(at[2], '=', size[2]))
        return false;
    out->text = at[1];
    out->text_size = size[1];
    out->unet = at[2];
    out->unet_size = size[2];
    return true;
}

char *a1111_prompt(const char *prompt) {
    static const char text_mark[] = "te=", unet_mark[] = "unet=";
    size_t tags = 0;
    for (const char *p = prompt; (p = strchr(p, '<')); p++)
        tags++;
    char *out = malloc(strlen(prompt) + tags * (sizeof text_mark + sizeof unet_mark) + 1), *to = out;
    const char *from = prompt;
    for (const char *p = prompt; out && (p = strchr(p, '<')); p++) {
        struct strengths s;
        if ((strncasecmp(p, "<lora:", 6) && strncasecmp(p, "<lyco:", 6)) || !find_strengths(p + 6, &s))
            continue;
        to = stpncpy(to, from, (size_t)(s.text - from));
        to = stpcpy(to, text_mark);
        to = stpncpy(to, s.text, s.text_size);
        to = stpcpy(to, ":");
        to = stpcpy(to, unet_mark);
        from = s.unet;
    }
    if (out)
        strcpy(to, from);
    return out;
}
