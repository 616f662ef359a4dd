#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sd/io/file.h"
#include "tests/unit/folder.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int count_entries(void) {
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void assert_message(const sd_error *err, const char *path, const char *rest) {
    char expected[1024];
    snprintf(expected, sizeof expected, "%s: %s", path, rest);
    assert_string_equal(err->message, expected);
}

static void a_file_is_replaced_in_one_piece(void **state) {
    (void)state;
    const char *path = in_folder("f");
    sd_bytes bytes;
    sd_error err;
    struct stat st;
    assert_int_equal(sd_file_write(path, "old", 3, &err), SD_OK);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    sd_file_writer *w;
    assert_int_equal(sd_file_writer_open(path, &w, &err), SD_OK);
    assert_int_equal(sd_file_writer_write(w, "new", 3, &err), SD_OK);
    assert_int_equal(sd_file_read(path, 0, &bytes, &err), SD_OK);
    assert_string_equal((char *)bytes.data, "old");
    sd_bytes_clear(&bytes);
    assert_int_equal(sd_file_writer_commit(&w, &err), SD_OK);
    assert_null(w);
    assert_int_equal(sd_file_read(path, 3, &bytes, &err), SD_OK);
    assert_int_equal(bytes.size, 3);
    assert_string_equal((char *)bytes.data, "new");
    sd_bytes_clear(&bytes);
    assert_int_equal(count_entries(), 1);
}

static void nothing_is_left_behind(void **state) {
    (void)state;
    int before = count_entries();
    sd_file_writer *w, *second;
    sd_error err;
    assert_int_equal(sd_file_writer_open(in_folder("g"), &w, &err), SD_OK);
    assert_int_equal(sd_file_writer_open(in_folder("g"), &second, &err), SD_OK);
    assert_int_equal(count_entries(), before + 2);
    sd_file_writer_discard(&w);
    sd_file_writer_discard(&second);
    sd_file_writer_discard(&second);
    assert_int_equal(count_entries(), before);

    /* The disk refuses in the middle. */
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 1000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static char much[4096];
    sd_status status = sd_file_write(in_folder("g"), much, sizeof much, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, SD_E_IO);
    assert_message(&err, in_folder("g"), "cannot be written: File too large");
    assert_int_equal(count_entries(), before);
}

static void wrong_targets_are_explained(void **state) {
    (void)state;
    sd_error err;
    const char *path = in_folder("none/f");
    char expected[512];
    assert_int_equal(sd_file_write(path, "x", 1, &err), SD_E_NOT_FOUND);
    snprintf(expected, sizeof expected, "cannot be written: the folder %s does not exist", in_folder("none"));
    assert_message(&err, path, expected);
    assert_int_equal(sd_file_write(folder, "x", 1, &err), SD_E_IO);
    assert_message(&err, folder, "expected the name of a file to write, found a folder");
    assert_int_equal(sd_file_write(in_folder("new/"), "x", 1, &err), SD_E_IO);
    assert_int_equal(sd_file_write("", "x", 1, &err), SD_E_ARGUMENT);
    assert_string_equal(err.message, "the name of the file to write is empty");
    assert_int_equal(sd_file_write("/dev/full", "x", 1, &err), SD_E_IO);
    assert_string_equal(err.message, "/dev/full: cannot be written: No space left on device");
    char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    int before = count_entries();
    assert_int_equal(sd_file_write(in_folder(long_name), "x", 1, &err), SD_E_IO);
    assert_non_null(strstr(err.message, "File name too long"));
    assert_int_equal(count_entries(), before);
}

/* A device is written to, not replaced by a file. */
static void devices_stay(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(sd_file_write("/dev/null", "x", 1, NULL), SD_OK);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void limits_hold(void **state) {
    (void)state;
    const char *path = in_folder("ten");
    sd_bytes bytes;
    sd_mapping map;
    sd_error err;
    assert_int_equal(sd_file_write(path, "0123456789", 10, &err), SD_OK);
    assert_int_equal(sd_file_read(path, 9, &bytes, &err), SD_E_FORMAT);
    assert_message(&err, path, "expected at most 9 bytes, found 10");
    assert_int_equal(sd_file_map(path, 9, &map, &err), SD_E_FORMAT);
    assert_null(map.data);
    assert_int_equal(sd_file_map(path, 10, &map, &err), SD_OK);
    assert_memory_equal(map.data, "0123456789", 10);
    sd_file_unmap(&map);
    sd_file_unmap(&map);
    assert_int_equal(sd_file_write(path, "", 0, &err), SD_OK);
    assert_int_equal(sd_file_read(path, 9, &bytes, &err), SD_OK);
    assert_int_equal(bytes.size, 0);
    assert_string_equal((char *)bytes.data, "");
    sd_bytes_clear(&bytes);
}

static void hashes_match_the_standard(void **state) {
    (void)state;
    char hex[SD_SHA256_HEX], shorter[SD_SHORT_HASH];
    sd_error err;
    const char *path = in_folder("abc");
    assert_int_equal(sd_sha256("", 0, hex, &err), SD_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(sd_file_write(path, "xxabc", 5, &err), SD_OK);
    assert_int_equal(sd_file_sha256(path, 2, hex, &err), SD_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sd_short_hash(hex, shorter);
    assert_string_equal(shorter, "ba7816bf8f");
    assert_int_equal(sd_file_sha256(path, 6, hex, &err), SD_E_ARGUMENT);
    assert_message(&err, path, "cannot hash from byte 6 of a file of 5 bytes");
    assert_int_equal(sd_file_sha256(in_folder("none"), 0, hex, &err), SD_E_NOT_FOUND);
}

/* KiB of the mapping that begins at `data` that are in this process's memory. */
static long resident(const void *data) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512], start[32];
    long rss = -1;
    bool here = false;
    assert_non_null(maps);
    snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)data);
    while (rss < 0 && fgets(line, sizeof line, maps)) {
        here = here || !strncmp(line, start, strlen(start));
        if (here)
            sscanf(line, "Rss: %ld kB", &rss);
    }
    fclose(maps);
    return rss;
}

static void expect_pattern(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        assert_int_equal(data[i], (uint8_t)(i % 251));
}

/* Pages go, except perhaps those that hold bytes of others, and come back as they were. What is no part of
 * the mapping must not be touched: memory that no file stands behind would become zeros. */
static void pages_are_given_back(void **state) {
    (void)state;
    enum { size = 4 << 20 };
    const long page = sysconf(_SC_PAGESIZE) / 1024;
    uint8_t *own = malloc(size);
    sd_mapping map;
    sd_error err;
    assert_non_null(own);
    for (size_t i = 0; i < size; i++)
        own[i] = (uint8_t)(i % 251);
    assert_int_equal(sd_file_write(in_folder("pages"), own, size, &err), SD_OK);
    assert_int_equal(sd_file_map(in_folder("pages"), 0, &map, &err), SD_OK);
    sd_mapping_advise(&map, map.data, map.size, SD_FILE_SOON);
    expect_pattern(map.data, map.size);
    assert_true(resident(map.data) > size / 1024 / 2);
    sd_mapping_advise(&map, map.data + 1, map.size - 2, SD_FILE_DONE);
    assert_in_range(resident(map.data), 0, 2 * page); /* none where the ends belong to huge pages */
    expect_pattern(map.data, map.size);
    sd_mapping_advise(&map, map.data, map.size, SD_FILE_DONE);
    assert_int_equal(resident(map.data), 0);
    expect_pattern(map.data, map.size);

    sd_mapping_advise(&map, map.data, map.size + 1, SD_FILE_DONE);
    assert_true(resident(map.data) > size / 1024 / 2);
    sd_mapping_advise(&map, own, size, SD_FILE_DONE);
    sd_mapping_advise(&(sd_mapping){0}, own, size, SD_FILE_DONE);
    expect_pattern(own, size);
    sd_file_unmap(&map);
    free(own);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_replaced_in_one_piece),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(wrong_targets_are_explained),
        cmocka_unit_test(devices_stay),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(hashes_match_the_standard),
        cmocka_unit_test(pages_are_given_back),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
