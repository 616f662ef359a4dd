/* What a job's webhook may be, and how its calls are signed. */
#include "server/webhook.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the field ---- */

static bool is_listed(const char *const *hosts, const char *host, const char *port) {
    char both[300];
    snprintf(both, sizeof both, "%s:%s", host, port);
    for (size_t i = 0; hosts[i]; i++)
        if (!strcasecmp(hosts[i], host) || !strcasecmp(hosts[i], both))
            return true;
    return false;
}

static sd_status check_parts(CURLU *parsed, const char *const *hosts, sd_error *err) {
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    sd_status status = SD_OK;
    if (curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) ||
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) || strlen(host) > 255 ||
        (strcmp(scheme, "http") && strcmp(scheme, "https")))
        status =
            sd_fail(err, SD_E_ARGUMENT, "webhook: url: expected an http or https address, found another");
    else if (!curl_url_get(parsed, CURLUPART_USER, &user, 0))
        status = sd_fail(err, SD_E_ARGUMENT, "webhook: url: expected an address without a user, found one");
    else if (!is_listed(hosts, host, port))
        status = sd_fail(err, SD_E_ARGUMENT,
                         "webhook: url: this server does not call '%.100s' (--webhook-host)", host);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return status;
}

sd_status webhook_check_url(const char *url, const struct config *config, sd_error *err) {
    CURLU *parsed = curl_url();
    if (!parsed)
        return sd_fail(err, SD_E_MEMORY, "out of memory");
    sd_status status = strlen(url) > 2000 || curl_url_set(parsed, CURLUPART_URL, url, 0)
                           ? sd_fail(err, SD_E_ARGUMENT,
                                     "webhook: url: expected an http or https address of at most 2000 bytes, "
                                     "found none")
                           : check_parts(parsed, config->webhook_hosts, err);
    curl_url_cleanup(parsed);
    return status;
}

static sd_status check_secret(const char *secret, sd_error *err) {
    char unused[WEBHOOK_SIGNATURE];
    if (!*secret || strlen(secret) > 255 || !webhook_sign(unused, secret, "", 0, ""))
        return sd_fail(
            err, SD_E_ARGUMENT,
            "webhook: secret: expected 1 to 255 bytes, or base64 behind \"whsec_\", found neither");
    return SD_OK;
}

static sd_status check(const cJSON *item, const struct config *config, sd_error *err) {
    const cJSON *url = json_get(item, "url"), *secret = json_get(item, "secret");
    if (!config->webhook_hosts[0])
        return sd_fail(err, SD_E_ARGUMENT, "webhook: this server calls no others (--webhook-host)");
    if (!cJSON_IsObject(item) || !cJSON_IsString(url) || !cJSON_IsString(secret) ||
        cJSON_GetArraySize(item) != 2)
        return sd_fail(
            err, SD_E_ARGUMENT,
            "webhook: expected {\"url\": \"https://example.com/done\", \"secret\": \"...\"}, found "
            "something else");
    sd_status status = webhook_check_url(url->valuestring, config, err);
    return status ? status : check_secret(secret->valuestring, err);
}

char *webhook_read(const cJSON *item, const struct config *config, sd_error *err) {
    if (check(item, config, err))
        return NULL;
    char *text = cJSON_PrintUnformatted(item);
    if (!text)
        sd_fail(err, SD_E_MEMORY, "out of memory");
    return text;
}

/* ---- the signature ---- */

bool webhook_sign(char out[WEBHOOK_SIGNATURE], const char *secret, const char *id, int64_t time,
                  const char *body) {
    static const char prefix[] = "whsec_";
    unsigned char code[EVP_MAX_MD_SIZE];
    unsigned code_size = 0;
    size_t key_size = strlen(secret), size = strlen(id) + strlen(body) + 32;
    uint8_t *decoded = NULL;
    if (!strncmp(secret, prefix, sizeof prefix - 1) &&
        !(decoded = base64_decode(secret + sizeof prefix - 1, &key_size)))
        return false;
    char *text = malloc(size);
    int length = text ? snprintf(text, size, "%s.%lld.%s", id, (long long)time, body) : 0;
    bool made = text && key_size &&
                HMAC(EVP_sha256(), decoded ? decoded : (const void *)secret, (int)key_size,
                     (unsigned char *)text, (size_t)length, code, &code_size);
    if (made) {
        memcpy(out, "v1,", 3);
        EVP_EncodeBlock((unsigned char *)out + 3, code, (int)code_size);
    }
    free(text);
    free(decoded);
    return made;
}
