/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MPQUIC_KEYS_H
#define MPQUIC_KEYS_H

#include <stdbool.h>

#include "bounds.h"
#include "mpquic.h"

#define TAG 16
#define SAMPLE 16
#define NONCE 12
/* Header protection masks that are made in one call. */
#define MASKS 64

/* Encrypt `plain` to `out`, which has room for TAG bytes more, under packet number `number`. */
bool key_seal(struct mpquic_key *key, uint64_t number, struct span header, struct span plain, uint8_t *out);

/* Decrypt `sealed` (at least TAG bytes) to `out`; false when it is not authentic. */
bool key_open(struct mpquic_key *key, uint64_t number, struct span header, struct span sealed, uint8_t *out);

/* Make the masks of `count` samples, at most MASKS (RFC 9001 section 5.4). */
bool key_masks(struct mpquic_key *key, const uint8_t *samples, uint32_t count, uint8_t *masks);

#endif
