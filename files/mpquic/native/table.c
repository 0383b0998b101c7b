/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "table.h"

#include <unistd.h>

#define MIX 0x9E3779B97F4A7C15u

/* Peers choose addresses and ports: without a secret they could make all of them meet in one place. */
static uint64_t secret(void)
{
    static _Thread_local uint64_t value;
    if (value == 0 && getentropy(&value, sizeof value) != 0)
        value = MIX;
    return value;
}

void table_clear(struct table *table, uint32_t count)
{
    uint32_t size = 16;
    while (size < 2 * count && size < SLOTS)
        size *= 2;
    table->mask = size - 1;
    memset(table->slots, 0xFF, size * sizeof table->slots[0]);
}

uint32_t *table_find(struct table *table, const struct key *key)
{
    uint64_t hash = secret();
    for (uint32_t at = 0; at < KEY_MOST; at += 4) {
        hash = (hash ^ get32(key->bytes + at)) * MIX;
        hash ^= hash >> 29;
    }
    uint32_t slot = (uint32_t)(hash >> 32) & table->mask;
    while (table->slots[slot] != NOBODY
        && (table->keys[slot].size != key->size || memcmp(table->keys[slot].bytes, key->bytes, KEY_MOST) != 0))
        slot = (slot + 1) & table->mask;
    if (table->slots[slot] == NOBODY)
        table->keys[slot] = *key;
    return &table->slots[slot];
}

struct key key_of_addresses(const uint8_t *ip)
{
    struct key key = {.size = ip[0] >> 4 == 4 ? 8 : 32};
    memcpy(key.bytes, ip + (key.size == 8 ? 12 : 8), key.size);
    return key;
}
