/* Signatures of webhooks, and whom they may go to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/webhook.h"

/* The example of the Standard Webhooks specification. */
static void signatures_are_the_specifications(void **state) {
    char out[WEBHOOK_SIGNATURE];
    (void)state;
    assert_true(webhook_sign(out, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
                             1614265330, "{\"test\": 2432232314}"));
    assert_string_equal(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_false(webhook_sign(out, "whsec_?", "x", 0, ""));
    assert_false(webhook_sign(out, "", "x", 0, ""));
}

static void only_listed_hosts_are_called(void **state) {
    struct config config = {.webhook_hosts = {"example.com", "other.test:8443", "[::1]"}};
    /* Addresses are read by the library that calls them, so that both mean the same host. */
    static const struct {
        const char *url;
        bool allowed;
    } rows[] = {
        {"https://example.com/done", true},
        {"http://EXAMPLE.com:81/?x=1#y", true},
        {"https://other.test:8443/", true},
        {"https://other.test/", false},
        {"http://[::1]:9/", true},
        {"http://[::2]/", false},
        {"https://example.com.invalid/", false},
        {"https://example.com@other.test/", false},
        {"https://example.com:b@example.com/", false},
        {"https://example.com\\@other.test:8443.invalid/", false},
        {"ftp://example.com/", false},
        {"file://example.com/etc/passwd", false},
        {"example.com", false},
        {"https://", false},
        {"https://example.com:0x50/", false},
        {"https:///example.com", true},
        {"https://example.com\t.invalid/", false},
        {"gopher://example.com:70/_x", false},
        {"https://example.com%2f.invalid/", false},
        {"https://example.com\r\nHost: x/", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sd_error err = {0};
        sd_status status = webhook_check_url(rows[i].url, &config, &err);
        if (rows[i].allowed != !status)
            fail_msg("%s: %s", rows[i].url, status ? err.message : "allowed");
        assert_true(!status || status == SD_E_ARGUMENT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_the_specifications),
        cmocka_unit_test(only_listed_hosts_are_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
