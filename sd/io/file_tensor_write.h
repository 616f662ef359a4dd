/* Writing the bytes of a tensor. Internal to the io room. */
#ifndef SD_IO_FILE_TENSOR_WRITE_H
#define SD_IO_FILE_TENSOR_WRITE_H

#include "sd/io/file.h"
#include "sd/io/file_tensor.h"

/* The tensor's `data`, or with a producer (else NULL) what that gives, which is never in memory as a whole.
 */
sd_status sd_file_tensor_write(sd_file_writer *file, const sd_file_tensor *tensor,
                               const struct sd_tensor_producer *producer, sd_error *err);

#endif
