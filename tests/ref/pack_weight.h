/* Packed weights as sd/nn/weight.h and sd/nn/weight_layout.h describe them. */
#ifndef REF_PACK_WEIGHT_H
#define REF_PACK_WEIGHT_H

#include "sd/nn/weight.h"

/* Fails the test unless `words` (w->bytes of them) are, bit for bit, what the weight's tensors make on the
 * device described; a NaN may stand for any other. */
void ref_check_weight(const struct sd_vk_info *info, const sd_weight *w, const struct sd_raw *parts,
                      const uint32_t *words);

#endif
