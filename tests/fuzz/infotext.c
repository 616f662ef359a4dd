/* Any text as A1111's parameters: taken apart, and what is written from the parts reads back as the same
 * parts. */
#include "sd/io/infotext.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const sd_infotext *a) {
    sd_str text = {0};
    sd_infotext b;
    sd_infotext_format(&text, a->prompt, a->negative, a->fields, a->count);
    if (text.failed || sd_infotext_parse(text.text, &b, NULL) != SD_OK)
        abort();
    if (strcmp(a->prompt, b.prompt) != 0 || strcmp(a->negative, b.negative) != 0 || a->count != b.count)
        abort();
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->fields[i].key, b.fields[i].key) != 0 ||
            strcmp(a->fields[i].value, b.fields[i].value) != 0)
            abort();
    sd_infotext_clear(&b);
    sd_str_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sd_infotext info;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (sd_infotext_parse(text, &info, NULL) == SD_OK) {
        if (info.count >= 3 && !strchr(text, '\r'))
            check_round_trip(&info);
        sd_infotext_clear(&info);
    }
    free(text);
    return 0;
}
