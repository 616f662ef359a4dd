/* Hashes are remembered as long as a file stays the same, and whatever is wrong with the memory, they are
 * right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sd/io/hash_cache.h"
#include "sd/io/safetensors.h"

/* SHA-256 of "abc" and of "abd". */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABD "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9"
#define MARK "00000000000000000000000000000000000000000000000000000000000000ff"

struct fixture {
    char folder[64], file[128], database[128];
    sd_hash_cache *cache;
    char warning[512]; /* the last one */
    unsigned warnings;
};

static void note(void *user, sd_log_level level, const char *text) {
    struct fixture *f = user;
    assert_int_equal(level, SD_LOG_WARNING);
    snprintf(f->warning, sizeof f->warning, "%s", text);
    f->warnings++;
}

static void write_text(const char *path, const char *text) {
    sd_error err;
    if (sd_file_write(path, text, strlen(text), &err))
        fail_msg("%s", err.message);
}

static void begin(struct fixture *f) {
    *f = (struct fixture){.folder = "/tmp/sdvk-test-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof f->file, "%s/file", f->folder);
    snprintf(f->database, sizeof f->database, "%s/cache/hashes.sqlite", f->folder);
    write_text(f->file, "abc");
}

static void end(struct fixture *f) {
    char command[128];
    sd_hash_cache_destroy(&f->cache);
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
}

static void reopen(struct fixture *f) {
    char folder[128];
    sd_error err;
    sd_hash_cache_destroy(&f->cache);
    snprintf(folder, sizeof folder, "%s/cache", f->folder);
    const sd_logger log = {note, f, SD_LOG_WARNING};
    assert_int_equal(sd_hash_cache_create(&f->cache, folder, &log, &err), SD_OK);
}

static void expect(struct fixture *f, const char *path, sd_hash_kind kind, const char *want) {
    char hex[SD_SHA256_HEX];
    sd_error err;
    if (sd_hash_cache_get(f->cache, path, kind, hex, &err))
        fail_msg("%s", err.message);
    assert_string_equal(hex, want);
}

/* Runs SQL on the database as another program would. */
static void sql(const struct fixture *f, const char *text) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* What stands in the database is given out, so nothing was computed. */
static void remembered_until_the_file_changes(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    reopen(&f);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    sql(&f, "UPDATE hashes SET sha256 = '" MARK "'");
    expect(&f, f.file, SD_HASH_FILE, MARK);
    expect(&f, f.file, SD_HASH_DATA, ABC); /* the other kind has its own row */
    reopen(&f);
    expect(&f, f.file, SD_HASH_FILE, MARK);
    write_text(f.file, "abd"); /* the same size, another time */
    expect(&f, f.file, SD_HASH_FILE, ABD);
    sql(&f, "UPDATE hashes SET sha256 = '" MARK "', size = size + 1");
    expect(&f, f.file, SD_HASH_FILE, ABD);
    sql(&f, "UPDATE hashes SET sha256 = 'x'");
    expect(&f, f.file, SD_HASH_FILE, ABD);
    assert_int_equal(f.warnings, 0);
    end(&f);
}

static void one_row_for_every_way_to_a_file(void **state) {
    struct fixture f;
    char link[160];
    (void)state;
    begin(&f);
    reopen(&f);
    snprintf(link, sizeof link, "%s/link", f.folder);
    assert_int_equal(symlink(f.file, link), 0);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    sql(&f, "UPDATE hashes SET sha256 = '" MARK "'");
    expect(&f, link, SD_HASH_FILE, MARK);
    snprintf(link, sizeof link, "%s/cache/../file", f.folder);
    expect(&f, link, SD_HASH_FILE, MARK);
    end(&f);
}

/* A1111's hash of a LoRA leaves the header out. */
static void data_of_a_safetensors_file(void **state) {
    struct fixture f;
    char want[SD_SHA256_HEX];
    const sd_file_tensor tensor = {.name = "t",
                                   .dtype = SD_FILE_U8,
                                   .rank = 1,
                                   .shape = {3},
                                   .data = (const uint8_t *)"abc",
                                   .bytes = 3};
    sd_error err;
    (void)state;
    begin(&f);
    reopen(&f);
    assert_int_equal(sd_safetensors_write(f.file, &tensor, 1, NULL, 0, &err), SD_OK);
    expect(&f, f.file, SD_HASH_DATA, ABC);
    assert_int_equal(sd_file_sha256(f.file, 0, want, &err), SD_OK);
    assert_string_not_equal(want, ABC);
    expect(&f, f.file, SD_HASH_FILE, want);
    end(&f);
}

static void errors_are_those_of_the_file(void **state) {
    struct fixture f;
    char hex[SD_SHA256_HEX], path[160], want[320];
    sd_error err;
    (void)state;
    begin(&f);
    reopen(&f);
    snprintf(path, sizeof path, "%s/none", f.folder);
    snprintf(want, sizeof want, "%s: no such file", path);
    assert_int_equal(sd_hash_cache_get(f.cache, path, SD_HASH_FILE, hex, &err), SD_E_NOT_FOUND);
    assert_string_equal(err.message, want);
    snprintf(want, sizeof want, "%s: expected a file, found a folder", f.folder);
    assert_int_equal(sd_hash_cache_get(f.cache, f.folder, SD_HASH_DATA, hex, &err), SD_E_FORMAT);
    assert_string_equal(err.message, want);
    end(&f);
}

/* Says so from the `after`th question on. */
struct stop {
    unsigned asked, after;
};

static bool is_over(const void *user) {
    struct stop *stop = (struct stop *)user;
    return ++stop->asked >= stop->after;
}

static void computing_stops_within_a_mebibyte(void **state) {
    enum { mebibytes = 3 };
    struct fixture f;
    char hex[SD_SHA256_HEX], want[SD_SHA256_HEX];
    uint8_t *data = calloc(mebibytes, 1 << 20);
    sd_error err;
    (void)state;
    begin(&f);
    reopen(&f);
    assert_non_null(data);
    assert_int_equal(sd_file_write(f.file, data, (size_t)mebibytes << 20, &err), SD_OK);
    assert_int_equal(sd_sha256(data, (size_t)mebibytes << 20, want, &err), SD_OK);
    for (unsigned after = 1; after <= mebibytes; after++) {
        struct stop stop = {.after = after};
        sd_hash_cache_watch(f.cache, is_over, &stop);
        for (int kind = SD_HASH_FILE; kind <= SD_HASH_DATA; kind++) {
            stop.asked = 0;
            assert_int_equal(sd_hash_cache_get(f.cache, f.file, (sd_hash_kind)kind, hex, &err),
                             SD_E_CANCELLED);
            assert_string_equal(err.message, "cancelled");
            assert_int_equal(stop.asked, after);
            assert_false(sd_hash_cache_find(f.cache, f.file, (sd_hash_kind)kind, hex));
        }
    }
    struct stop never = {.after = UINT32_MAX};
    sd_hash_cache_watch(f.cache, is_over, &never);
    expect(&f, f.file, SD_HASH_FILE, want);
    assert_int_equal(never.asked, mebibytes);
    sd_hash_cache_watch(f.cache, NULL, NULL);
    expect(&f, f.file, SD_HASH_DATA, want);
    free(data);
    end(&f);
}

static void without_a_folder_nothing_is_kept(void **state) {
    struct fixture f;
    struct stat st;
    sd_error err;
    (void)state;
    begin(&f);
    assert_int_equal(sd_hash_cache_create(&f.cache, NULL, NULL, &err), SD_OK);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    assert_int_not_equal(stat(f.database, &st), 0);
    end(&f);
}

static void expect_one_warning(struct fixture *f, const char *reason) {
    char want[256];
    snprintf(want, sizeof want, "%s: hashes are not remembered: %s", f->database, reason);
    reopen(f);
    f->warnings = 0;
    expect(f, f->file, SD_HASH_FILE, ABC);
    expect(f, f->file, SD_HASH_DATA, ABC);
    assert_string_equal(f->warning, want);
    assert_int_equal(f->warnings, 1);
}

static void databases_that_cannot_be_used(void **state) {
    struct fixture f;
    char path[160];
    (void)state;
    begin(&f);
    snprintf(path, sizeof path, "%s/cache", f.folder);
    write_text(path, "a file where the folder should be");
    expect_one_warning(&f, "unable to open database file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    write_text(f.database, "this is no database, though it is long enough to be one");
    expect_one_warning(&f, "file is not a database");
    assert_int_equal(unlink(f.database), 0);
    sql(&f, "CREATE TABLE hashes (other TEXT)");
    expect_one_warning(&f, "no such column: size");
    end(&f);
}

/* A page that another program wrote over. */
static void a_damaged_database(void **state) {
    struct fixture f;
    char page[4096];
    (void)state;
    begin(&f);
    reopen(&f);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    FILE *file = fopen(f.database, "r+b");
    memset(page, 'x', sizeof page);
    assert_non_null(file);
    assert_true(!fseek(file, sizeof page, SEEK_SET) && fwrite(page, 1, sizeof page, file) == sizeof page);
    assert_int_equal(fclose(file), 0);
    expect_one_warning(&f, "database disk image is malformed");
    end(&f);
}

static void a_database_that_may_only_be_read(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    reopen(&f);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    sql(&f, "UPDATE hashes SET sha256 = '" MARK "'");
    sd_hash_cache_destroy(&f.cache);
    /* Root may write everything, so the file itself says that it must not be written. */
    sql(&f, "PRAGMA user_version = 1");
    FILE *file = fopen(f.database, "r+b");
    assert_non_null(file);
    /* Byte 18 of the header: a write version above 2 makes it read-only (sqlite.org, "Database File Format").
     */
    assert_true(!fseek(file, 18, SEEK_SET) && fputc(3, file) == 3 && !fclose(file));
    reopen(&f);
    expect(&f, f.file, SD_HASH_FILE, MARK);
    assert_int_equal(f.warnings, 0);
    expect(&f, f.file, SD_HASH_DATA, ABC);
    assert_non_null(strstr(f.warning, "hashes are not remembered: attempt to write a readonly database"));
    expect(&f, f.file, SD_HASH_DATA, ABC);
    assert_int_equal(f.warnings, 1);
    end(&f);
}

/* Several processes hash and remember at once. */
static void processes_share_it(void **state) {
    enum { processes = 4, files = 12 };
    struct fixture f;
    pid_t child[processes];
    char path[160];
    (void)state;
    begin(&f);
    for (int i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%s/file%d", f.folder, i);
        write_text(path, i % 2 ? "abd" : "abc");
    }
    for (int p = 0; p < processes; p++)
        if (!(child[p] = fork())) {
            reopen(&f);
            for (int i = 0; i < files; i++) {
                char hex[SD_SHA256_HEX];
                snprintf(path, sizeof path, "%s/file%d", f.folder, i);
                if (sd_hash_cache_get(f.cache, path, SD_HASH_FILE, hex, NULL) ||
                    strcmp(hex, i % 2 ? ABD : ABC))
                    _exit(1);
            }
            _exit(f.warnings ? 2 : 0);
        }
    for (int p = 0; p < processes; p++) {
        int code;
        assert_true(waitpid(child[p], &code, 0) == child[p]);
        assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    }
    sql(&f, "UPDATE hashes SET sha256 = '" MARK "'");
    reopen(&f);
    for (int i = 0; i < files; i++) {
        snprintf(path, sizeof path, "%s/file%d", f.folder, i);
        expect(&f, path, SD_HASH_FILE, MARK);
    }
    end(&f);
}

/* Another process holds the file longer than anyone waits: the hash is right, and the next one is remembered.
 */
static void a_busy_database(void **state) {
    struct fixture f;
    sqlite3 *db;
    (void)state;
    begin(&f);
    reopen(&f);
    expect(&f, f.file, SD_HASH_DATA, ABC);
    assert_int_equal(sqlite3_open(f.database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect(&f, f.file, SD_HASH_FILE, ABC);
    sql(&f, "UPDATE hashes SET sha256 = '" MARK "'");
    expect(&f, f.file, SD_HASH_FILE, MARK);
    assert_int_equal(f.warnings, 0);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembered_until_the_file_changes),
        cmocka_unit_test(one_row_for_every_way_to_a_file),
        cmocka_unit_test(data_of_a_safetensors_file),
        cmocka_unit_test(errors_are_those_of_the_file),
        cmocka_unit_test(computing_stops_within_a_mebibyte),
        cmocka_unit_test(without_a_folder_nothing_is_kept),
        cmocka_unit_test(databases_that_cannot_be_used),
        cmocka_unit_test(a_damaged_database),
        cmocka_unit_test(a_database_that_may_only_be_read),
        cmocka_unit_test(processes_share_it),
        cmocka_unit_test(a_busy_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
