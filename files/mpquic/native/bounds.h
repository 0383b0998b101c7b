/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one place where lengths are checked: inputs are walked by batch_next(), outputs grow by list_add(). */
#ifndef MPQUIC_BOUNDS_H
#define MPQUIC_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Some bytes, and how many. */
struct span {
    const uint8_t *at;
    size_t size;
};

/* Items one after the other in one buffer: the sizes of `count` of them, of which `next` were taken. */
struct batch {
    const uint8_t *data;
    size_t size;
    const uint32_t *sizes;
    uint32_t count;
    size_t used;
    uint32_t next;
};

static inline struct batch batch_of(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count)
{
    return (struct batch){.data = data, .size = size, .sizes = sizes, .count = count};
}

/* Take the next item; false after the last, and when the sizes claim more than there is. */
static inline bool batch_next(struct batch *in, struct span *item)
{
    if (in->next >= in->count || in->sizes[in->next] > in->size - in->used)
        return false;
    *item = (struct span){in->data + in->used, in->sizes[in->next]};
    in->used += item->size;
    in->next++;
    return true;
}

/* Room for items one after the other: `count` of at most `most` so far, which take `used` of `size` bytes. */
struct list {
    uint8_t *data;
    size_t size;
    uint32_t *sizes;
    uint32_t most;
    size_t used;
    uint32_t count;
};

static inline struct list list_in(uint8_t *data, size_t size, uint32_t *sizes, uint32_t most)
{
    return (struct list){.data = data, .size = size, .sizes = sizes, .most = most};
}

/* Add an item of `size` bytes; return where it is to be written, NULL when there is no room. */
static inline uint8_t *list_add(struct list *out, size_t size)
{
    if (out->count >= out->most || size > out->size - out->used || size > UINT32_MAX)
        return NULL;
    uint8_t *at = out->data + out->used;
    out->sizes[out->count++] = (uint32_t)size;
    out->used += size;
    return at;
}

/* Make the last item longer by `size` bytes. */
static inline uint8_t *list_grow(struct list *out, size_t size)
{
    if (out->count == 0 || size > out->size - out->used || size > UINT32_MAX - out->sizes[out->count - 1])
        return NULL;
    uint8_t *at = out->data + out->used;
    out->sizes[out->count - 1] += (uint32_t)size;
    out->used += size;
    return at;
}

static inline uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static inline uint32_t get32(const uint8_t *at) { return get16(at) << 16 | get16(at + 2); }
static inline uint32_t get16le(const uint8_t *at) { return (uint32_t)at[1] << 8 | at[0]; }

static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static inline void put16le(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* The integer of RFC 9000 section 16 at the start of `from`, and its length (bytes); 0 when it is cut off. */
static inline size_t get_varint(struct span from, uint64_t *value)
{
    if (from.size == 0 || from.size < (size_t)1 << (from.at[0] >> 6))
        return 0;
    size_t octets = (size_t)1 << (from.at[0] >> 6);
    uint64_t number = from.at[0] & 0x3F;
    for (size_t i = 1; i < octets; i++)
        number = number << 8 | from.at[i];
    *value = number;
    return octets;
}

#endif
