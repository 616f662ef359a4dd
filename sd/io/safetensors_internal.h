/* What the safetensors reader and the shard index share. */
#ifndef SD_IO_SAFETENSORS_INTERNAL_H
#define SD_IO_SAFETENSORS_INTERNAL_H

#include "sd/base/arena.h"
#include "sd/io/file.h"
#include "sd/io/safetensors.h"

struct sd_safetensors {
    sd_arena arena;          /* names, tensors, tables */
    sd_mapping map;          /* empty for an index and for parsed memory */
    sd_safetensors **shards; /* [shard_count], owned; NULL for a single file */
    size_t shard_count;
    sd_file_tensor *tensors;        /* [count], in data order */
    const sd_file_tensor **by_name; /* [count], sorted */
    size_t count;
    sd_file_metadata *metadata; /* [metadata_count] */
    size_t metadata_count;
    uint64_t data_offset;
};

#endif
