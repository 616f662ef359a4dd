/* Any bytes as the files that sdvk-server is started with: a policy, or, where the first byte is odd, keys.
 */
#define _GNU_SOURCE
#include "server/keys.h"
#include "server/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const policy *p) {
    static char prompt[] = "a red mug, (acme:1.2) and two words", model[] = "mockup";
    struct job_request r = {.params = {.prompt = prompt, .steps = 20, .count = 1, .lora_count = 1},
                            .model = model,
                            .loras = {{"acme", 1, 1, NULL}}};
    struct verdict verdict;
    policy_judge(p, "alice", "mockup", &r, &verdict);
    if (!verdict.allowed && (!*verdict.reason || !*verdict.field))
        abort();
}

static void read_file(bool is_keys, const char *path) {
    policy *p = NULL;
    keys *k = NULL;
    sd_error err = {0};
    sd_status status = is_keys ? keys_open(&k, path, &err) : policy_open(&p, path, &err);
    if (status && (!err.message[0] || err.status == SD_E_INTERNAL))
        abort();
    if (k && keys_find(k, "sdvk-000000000000000000000000000000000000000000000000"))
        abort();
    if (p)
        judge(p);
    keys_close(&k);
    policy_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = size ? memfd_create("fuzz", 0) : -1;
    if (fd < 0)
        return 0;
    if (write(fd, data + 1, size - 1) == (ssize_t)size - 1) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        read_file(data[0] % 2, path);
    }
    close(fd);
    return 0;
}
