/* A folder of its own for a test program: make_folder and remove_folder are its group's setup and teardown.
 */
#ifndef SD_TESTS_FOLDER_H
#define SD_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64];

static inline int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/sdvk-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    return chmod(folder, 0755); /* for tests that step down from root */
}

static inline int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* A path in the folder; overwritten by the 8th next call. */
static inline const char *in_folder(const char *name) {
    static char paths[8][512];
    static unsigned at;
    char *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

#endif
