/* Time that only moves forward, for durations. */
#ifndef SD_BASE_CLOCK_H
#define SD_BASE_CLOCK_H

/* Seconds since an arbitrary moment. Thread-safe. */
double sd_now(void);

#endif
