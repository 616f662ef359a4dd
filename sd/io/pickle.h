/* Files that torch.save wrote (.ckpt, .pt, .pth, .bin): the zip archives of PyTorch 1.6 and later, and the
 * older form, a row of pickles with the storages behind them. The pickle is read by a machine of our own that
 * runs no code: it knows a fixed list of opcodes and of names (sd/io/pickle_globals.c), and can build
 * tensors, numbers, strings, lists and dicts. Whatever else a file asks for is refused by name. */
#ifndef SD_IO_PICKLE_H
#define SD_IO_PICKLE_H

#include <stdbool.h>
#include <stddef.h>

#include "sd/base/status.h"
#include "sd/io/file.h"
#include "sd/io/file_tensor.h"
#include "sd/io/safetensors.h"

enum {
    SD_PICKLE_BYTES = 8 << 20,   /* the longest pickle; the tensors' data lie outside of it */
    SD_PICKLE_TENSORS = 1 << 16, /* the most tensors of a file */
    SD_PICKLE_NAME = 512,        /* the longest name of a tensor, in bytes */
    SD_PICKLE_DEPTH = 64,        /* how deep lists and dicts may be nested */
};

/* One file. Immutable: usable from any thread until closed. */
typedef struct sd_pickle sd_pickle;

/* True when the first bytes are those of a zip archive or of a pickle of protocol 2 to 5. No safetensors file
 * whose header has an allowed length begins with the latter. Reads at most 32 bytes. */
bool sd_pickle_detect(const void *data, size_t size);

/* Maps the file, reads its pickle, and checks every tensor that it gives: shape, strides and offset against
 * the bytes that the file holds for its storage. Errors: those of sd_file_map, SD_E_FORMAT for what is
 * malformed, SD_E_UNSUPPORTED for what is refused (a name outside the list, compressed or big-endian
 * archives, more than the limits above), SD_E_MEMORY. An archive's checksums are not compared: that would
 * read all of it. Opening takes at most about 50 bytes of memory for each byte of the pickle, which is a few
 * hundred KB in a checkpoint, and the copies of views that are told below. */
sd_status sd_pickle_open(const char *path, sd_pickle **out, sd_error *err);

/* The same from bytes that the caller keeps alive and unchanged; `label` begins the messages. */
sd_status sd_pickle_parse(const char *label, const void *data, size_t size, sd_pickle **out, sd_error *err);

/* Accepts NULL. Every pointer that the getters return lives until here. */
void sd_pickle_close(sd_pickle **file);
/* sd_mapping_advise for data of its tensors. */
void sd_pickle_advise(const sd_pickle *file, const void *data, size_t size, sd_file_advice advice);

/* The tensors in the order of the pickle. Their names are the keys on the way to them, joined by '.': strings
 * and whole numbers of dicts, places (from 0) of lists and tuples, the members of a torch.nn.ParameterDict.
 * The way begins at the root, which is the whole object unless that is a dict with
 * - a dict of tensors called state_dict, params_ema or params (the first of these that is there), or
 * - nothing that holds tensors but one dict called model, module or model_state_dict:
 * then this dict is taken for the object, and looked at in the same way. Arrays of numpy are tensors too. A
 * file that is one tensor calls it "tensor". Contiguous tensors are given where they lie in the file; other
 * views (transposed, sliced) are copied when the file is opened, at most as many bytes as the file has. A
 * view of more elements than its storage holds (expanded) is refused. */
size_t sd_pickle_count(const sd_pickle *file);
const sd_file_tensor *sd_pickle_at(const sd_pickle *file, size_t index);

/* NULL when there is no tensor of this name. O(log n). */
const sd_file_tensor *sd_pickle_find(const sd_pickle *file, const char *name);

/* The keys on the way to the root, joined by '.': "" or "state_dict", for example. */
const char *sd_pickle_root(const sd_pickle *file);

/* How many tensors are not given because they lie outside of the root or below a key that is neither a string
 * nor a whole number nor a class, like an optimizer's. */
size_t sd_pickle_left_out(const sd_pickle *file);

/* The strings, numbers and bools of the whole object that lie in dicts alone, under the keys on the way to
 * them, joined by '.': "global_step", "string_to_token.*". Whole numbers have digits alone, other numbers are
 * written so that they read back exactly, bools are "true" and "false". Strings that are not UTF-8 or hold a
 * NUL are left out, and so is everything behind the first 65536 values. */
size_t sd_pickle_metadata_count(const sd_pickle *file);
const sd_file_metadata *sd_pickle_metadata_at(const sd_pickle *file, size_t index);
const char *sd_pickle_metadata(const sd_pickle *file, const char *key); /* NULL when absent */

#endif
