/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the fuzz targets have in common: a batch made of the fuzzer's bytes, in blocks of exactly the size they claim. */
#ifndef ITEMS_H
#define ITEMS_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "mpquic.h"

#define ITEMS_MOST 300

struct items {
    uint8_t *data;
    size_t size;
    uint32_t sizes[ITEMS_MOST];
    uint32_t count;
};

/* Take one byte, 0 when there is none left. */
static inline uint8_t take_byte(struct span *from)
{
    if (from->size == 0)
        return 0;
    from->size--;
    return *from->at++;
}

static inline uint32_t take_word(struct span *from)
{
    uint32_t high = take_byte(from);
    return high << 8 | take_byte(from);
}

/* Items behind their lengths of two bytes each, in a block of their own. The last length may be a lie. */
static inline struct items take_items(struct span from)
{
    struct items items = {.data = malloc(from.size + 1)};
    assert(items.data != NULL);
    while (from.size > 0 && items.count < ITEMS_MOST) {
        uint32_t size = take_word(&from) & 0x7FFF;
        size_t there = size < from.size ? size : from.size;
        memcpy(items.data + items.size, from.at, there);
        items.size += there;
        items.sizes[items.count++] = size;
        from.at += there;
        from.size -= there;
    }
    /* So that one byte too many is seen. */
    items.data = realloc(items.data, items.size > 0 ? items.size : 1);
    assert(items.data != NULL);
    return items;
}

/* A block of exactly this size. */
static inline uint8_t *block(size_t size)
{
    uint8_t *made = malloc(size > 0 ? size : 1);
    assert(made != NULL);
    return made;
}

static inline uint64_t total(const uint32_t *sizes, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += sizes[i];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
