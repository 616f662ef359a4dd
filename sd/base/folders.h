/* Making folders. */
#ifndef SD_BASE_FOLDERS_H
#define SD_BASE_FOLDERS_H

/* Makes the folders above the last '/' of `path` that are not there, for this user alone. Whether they are
 * there afterwards shows when the file is opened. */
void sd_make_folders(const char *path);

#endif
