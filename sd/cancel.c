#include "sd/cancel.h"

/* Signal handlers and other threads write what a run reads: atomic, and nothing else hangs on it. */
void sd_cancel_request(sd_cancel *cancel) {
    __atomic_store_n(&cancel->requested, 1, __ATOMIC_RELAXED);
}

bool sd_cancel_requested(const sd_cancel *cancel) {
    return cancel && __atomic_load_n(&cancel->requested, __ATOMIC_RELAXED);
}

static bool is_requested(const void *cancel) {
    return sd_cancel_requested(cancel);
}

void sd_cancel_source(struct sd_weight_source *source, const sd_cancel *cancel) {
    source->cancelled = is_requested;
    source->cancel = cancel;
}
