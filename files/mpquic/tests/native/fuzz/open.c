/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What arrives by UDP: bytes as they are, or as the content of packets that a peer has sealed. */
#include "items.h"
#include "keys.h"

#define MOST 64
#define HEAD 12

static const uint8_t secret[32] = {1, 2, 3}, iv[12] = {4, 5, 6}, cid[8] = {7, 8, 9};

/* Make authentic packets out of the items: a first byte, three bytes of a number, and what the packet holds. */
static struct items sealed(struct mpquic_key *key, const struct items *items)
{
    struct items made = {.data = block(items->size + (size_t)items->count * (HEAD + TAG + 4))};
    struct batch in = batch_of(items->data, items->size, items->sizes, items->count);
    struct span item;
    while (batch_next(&in, &item)) {
        uint8_t *packet = made.data + made.size, mask[SAMPLE];
        packet[0] = (uint8_t)((take_byte(&item) & 0x3C) | 0x42);
        memcpy(packet + 1, cid, sizeof cid);
        put16(packet + 9, take_word(&item));
        packet[11] = take_byte(&item);
        uint64_t number = (uint64_t)get16(packet + 9) << 8 | packet[11];
        if (item.size < 1 || !key_seal(key, number, (struct span){packet, HEAD}, item, packet + HEAD))
            continue;
        if (!key_masks(key, packet + 13, 1, mask))
            continue;
        packet[0] ^= mask[0] & 0x1F;
        for (int i = 0; i < 3; i++)
            packet[9 + i] ^= mask[1 + i];
        made.sizes[made.count] = (uint32_t)(HEAD + item.size + TAG);
        made.size += made.sizes[made.count++];
    }
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {data, size};
    uint8_t mode = take_byte(&input);
    uint32_t room = take_word(&input), payloads_most = take_byte(&input), start = take_byte(&input) & 3;
    uint64_t expected = (uint64_t)take_word(&input) << (mode & 32 ? 30 : 0);
    int suite = mode % 3;
    struct items items = take_items(input);
    if (mode & 16) {
        struct mpquic_key *key = mpquic_key_new(suite, 1, secret, iv, secret);
        struct items packets = sealed(key, &items);
        mpquic_key_free(key);
        free(items.data);
        items = packets;
    }
    struct mpquic_key *key = mpquic_key_new(suite, 0, secret, iv, secret);
    assert(key != NULL);
    uint8_t *out = block(room);
    uint32_t *sizes = (uint32_t *)block(payloads_most * sizeof(uint32_t));
    uint64_t *numbers = (uint64_t *)block(MOST * sizeof(uint64_t));
    uint32_t *counts = (uint32_t *)block(MOST * sizeof(uint32_t));
    struct mpquic_opened opened;
    if (mpquic_open(key, cid, 1, mode & 64 ? 0x44 : 0x40, expected, items.data, items.size, items.sizes, items.count,
            start, out, room, sizes, payloads_most, numbers, counts, MOST, &opened)
        == 0) {
        assert(opened.done <= items.count && opened.packets <= MOST && opened.payloads <= payloads_most);
        assert(total(sizes, opened.payloads) <= room && total(counts, opened.packets) == opened.payloads);
        assert(opened.expected >= expected && opened.late <= opened.packets);
    }
    mpquic_key_free(key);
    free(out);
    free(sizes);
    free(numbers);
    free(counts);
    free(items.data);
    return 0;
}
