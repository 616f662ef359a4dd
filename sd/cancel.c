#include "sd/cancel.h"

/* One thread asks, another one looks; nothing else is told between them, so that no order is needed. C11's
 * _Atomic is no type of a header that C++ reads too. */
void sd_cancel_request(sd_cancel *cancel) {
    __atomic_store_n(&cancel->requested, 1, __ATOMIC_RELAXED);
}

bool sd_cancel_requested(const sd_cancel *cancel) {
    return cancel && __atomic_load_n(&cancel->requested, __ATOMIC_RELAXED);
}

void sd_cancel_withdraw(sd_cancel *cancel) {
    if (cancel)
        __atomic_store_n(&cancel->requested, 0, __ATOMIC_RELAXED);
}

static bool is_requested(const void *cancel) {
    return sd_cancel_requested(cancel);
}

void sd_cancel_source(struct sd_weight_source *source, const sd_cancel *cancel) {
    source->cancelled = is_requested;
    source->cancel = cancel;
}

void sd_cancel_hashes(sd_hash_cache *hashes, const sd_cancel *cancel) {
    sd_hash_cache_watch(hashes, is_requested, cancel);
}
