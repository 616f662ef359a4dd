/* Names of files in the users' model folders. Internal to the sd room; sd.h has the list. */
#ifndef SD_LIBRARY_H
#define SD_LIBRARY_H

#include "sd/sd.h"

/* Whether there is such a folder. */
sd_status sd_library_check(const char *folder, sd_error *err);

/* The files of one kind, or of all with SD_LIBRARY_KINDS. Folders are read anew at every call, so that what
 * was added meanwhile is found. */
sd_status sd_library_scan(sd_library **out, const char *folder, sd_library_kind kind, sd_error *err);

/* The folders that were read, joined by ", "; NULL when there is none for these kinds. */
const char *sd_library_places(const sd_library *library);

/* The last part of a file's name: "acme" of "style/acme". */
const char *sd_library_stem(const char *name);

#endif
