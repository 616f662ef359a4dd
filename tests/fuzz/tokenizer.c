/* First byte even: the rest is a text for the built-in tokenizer. Odd: the rest is a vocab.json, a NUL and a
 * merges.txt, and what they make encodes a fixed text and the input itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clip/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const sd_tokenizer *t, const char *text, size_t bytes) {
    uint32_t *ids = NULL;
    size_t chunks = 0;
    sd_error err = {0};
    if (sd_tokenizer_chunks(t, text, bytes, 0, SD_CHUNK_BACKTRACK, &ids, &chunks, &err) == SD_OK) {
        for (size_t i = 0; i < chunks * SD_CHUNK_IDS; i++)
            if (ids[i] >= sd_tokenizer_entries(t) ||
                (i % SD_CHUNK_IDS == 0 && ids[i] != sd_tokenizer_start(t)))
                abort();
    } else if (!err.message[0]) {
        abort();
    }
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static sd_tokenizer *builtin;
    if (!builtin && sd_tokenizer_create_builtin(&builtin, NULL))
        abort();
    if (size < 1)
        return 0;
    const char *rest = (const char *)data + 1;
    size--;
    if (data[0] % 2 == 0) {
        encode(builtin, rest, size);
        return 0;
    }
    sd_tokenizer *own = NULL;
    const char *split = memchr(rest, 0, size);
    size_t vocab = split ? (size_t)(split - rest) : size;
    size_t merges = split ? size - vocab - 1 : 0;
    if (sd_tokenizer_create(&own, rest, vocab, split ? split + 1 : rest, merges, NULL) == SD_OK) {
        encode(own, "abcabc a,b <|endoftext|>", 24);
        encode(own, rest, size);
    }
    sd_tokenizer_destroy(&own);
    return 0;
}
