/* Taking keys of adapter files apart. Internal to the lora room. */
#ifndef LORA_ROLES_H
#define LORA_ROLES_H

#include "lora/module.h"

/* Splits a key into the module's name, written to `module` (at most `size` bytes), and its tensor's role.
 * False when the key has no known ending. Old attention processors' names become those of the layers they
 * stood for. */
bool sd_lora_split(const char *key, char *module, size_t size, sd_lora_role *role);

#endif
