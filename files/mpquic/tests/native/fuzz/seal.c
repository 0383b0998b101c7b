/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Payloads to be sealed, which are opened again. */
#include "items.h"

#define MOST 128

static const uint8_t secret[32] = {1, 2, 3}, iv[12] = {4, 5, 6}, cid[20] = {7, 8, 9};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {data, size};
    uint8_t mode = take_byte(&input);
    uint32_t room = take_word(&input), out_room = take_word(&input) * 2, most = take_byte(&input) % (MOST + 1);
    size_t cid_size = mode & 16 ? take_byte(&input) % 24 : 8;
    uint64_t number = (uint64_t)take_word(&input) << 8;
    int suite = mode % 3;
    struct items items = take_items(input);
    struct mpquic_key *key = mpquic_key_new(suite, 1, secret, iv, secret);
    uint8_t *out = block(out_room);
    uint32_t *sizes = (uint32_t *)block(most * sizeof(uint32_t));
    assert(key != NULL);
    int packets = mpquic_seal(key, 0x42, cid, cid_size, number, room, items.data, items.size, items.sizes, items.count,
        out, out_room, sizes, most);
    mpquic_key_free(key);
    if (packets >= 0 && cid_size == 8) {
        uint8_t *plain = block(items.size);
        uint32_t *found = (uint32_t *)block(items.count * sizeof(uint32_t));
        uint64_t numbers[MOST];
        uint32_t counts[MOST];
        struct mpquic_opened opened;
        key = mpquic_key_new(suite, 0, secret, iv, secret);
        assert(mpquic_open(key, cid, 1, 0x40, number, out, (size_t)total(sizes, (uint32_t)packets), sizes,
                   (uint32_t)packets, 0, plain, items.size, found, items.count, numbers, counts, MOST, &opened)
            == 0);
        assert(opened.stop == MPQUIC_ALL && opened.packets == (uint32_t)packets && opened.payloads == items.count);
        assert(memcmp(found, items.sizes, items.count * sizeof(uint32_t)) == 0);
        assert(memcmp(plain, items.data, items.size) == 0);
        mpquic_key_free(key);
        free(plain);
        free(found);
    }
    free(out);
    free(sizes);
    free(items.data);
    return 0;
}
