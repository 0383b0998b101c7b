/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Find the items of a batch by some of their bytes: a hash table of numbers, which the caller turns into keys. */
#ifndef MPQUIC_TABLE_H
#define MPQUIC_TABLE_H

#include "mpquic.h"
#include "packet.h"

/* Two addresses of IPv6 and two ports; what is shorter is padded, and what has another length is another key. */
#define KEY_MOST 36
#define SLOTS (2 * MPQUIC_MERGE_MOST)
#define NOBODY UINT32_MAX

struct key {
    uint8_t bytes[KEY_MOST];
    uint32_t size;
};

struct table {
    uint32_t mask;
    uint32_t slots[SLOTS];
    struct key keys[SLOTS];
};

/* Empty the table for `count` keys at most. */
void table_clear(struct table *table, uint32_t count);
/* Return the place of a key; it holds NOBODY when the key is new. */
uint32_t *table_find(struct table *table, const struct key *key);

/* Return both addresses of a well-formed packet as a key. */
struct key key_of_addresses(const uint8_t *ip);

#endif
