#include "sd/sample/name.h"

#include <stddef.h>
#include <string.h>

bool sd_name_fold(const char *text, char folded[SD_NAME_MAX]) {
    size_t n = 0;
    folded[0] = 0;
    for (; *text; text++) {
        if (strchr(" _-.", *text))
            continue;
        if (n + 1 == SD_NAME_MAX)
            return folded[0] = 0, false;
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
        folded[n++] = c == '+' ? 'p' : c;
    }
    folded[n] = 0;
    return n > 0;
}

static bool folds_to(const char *name, const char *folded) {
    char mine[SD_NAME_MAX];
    return sd_name_fold(name, mine) && strcmp(mine, folded) == 0;
}

bool sd_name_is(const char *folded, const char *name, const char *const *aliases) {
    if (folds_to(name, folded))
        return true;
    for (; aliases && *aliases; aliases++)
        if (folds_to(*aliases, folded))
            return true;
    return false;
}
