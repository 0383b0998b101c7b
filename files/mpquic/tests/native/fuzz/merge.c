/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a peer sends: payloads of every form, judged by a gate, merged, and cut again. */
#include "items.h"

#define PAIRS 4

/* What was merged must be cut into as many packets, of as many bytes. */
static void cut_again(const uint8_t *frames, const uint32_t *sizes, const struct mpquic_merged *merged)
{
    uint8_t *out = block(merged->octets + merged->packets);
    uint32_t *payloads = (uint32_t *)block(merged->packets * sizeof(uint32_t));
    uint32_t *ends = (uint32_t *)block(merged->frames * sizeof(uint32_t));
    uint32_t faults[MPQUIC_SPLIT_FAULTS] = {0};
    int count = mpquic_split(frames, merged->used, sizes, merged->frames, out, merged->octets + merged->packets,
        payloads, merged->packets, ends, faults);
    assert(count == (int)merged->packets);
    assert(total(payloads, (uint32_t)count) == merged->octets + merged->packets);
    free(out);
    free(payloads);
    free(ends);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {data, size};
    uint8_t mode = take_byte(&input), verdict = take_byte(&input);
    uint32_t spare = take_byte(&input);
    struct items items = take_items(input);
    uint32_t *pairs = (uint32_t *)block(items.count * sizeof(uint32_t)), refused[ITEMS_MOST] = {0};
    uint32_t *firsts = (uint32_t *)block(items.count * sizeof(uint32_t));
    uint32_t *ats = (uint32_t *)block(items.count * sizeof(uint32_t));
    uint8_t verdicts[ITEMS_MOST];
    for (int i = 0; i < ITEMS_MOST; i++)
        verdicts[i] = verdict >> (i & 7) & 1;
    int found = mpquic_pairs(items.data, items.size, items.sizes, items.count, pairs, firsts, ats);
    /* As much room as ever is needed, or less. */
    size_t room = items.size + 10 * (size_t)items.count;
    room = mode & 4 && spare < room ? room - spare : room;
    uint8_t *out = block(room);
    uint32_t *sizes = (uint32_t *)block(items.count * sizeof(uint32_t));
    struct mpquic_merged merged;
    int count = mpquic_merge(items.data, items.size, items.sizes, items.count, mode & 1, pairs, verdicts, refused,
        mode & 2 && found > 0 ? (uint32_t)found : 0, out, room, sizes, items.count, &merged);
    assert(found >= 0 || count < 0);
    assert(count >= 0 || mode & 4 || found < 0);
    if (count >= 0) {
        uint64_t gone = total(merged.faults, MPQUIC_MERGE_FAULTS) + total(refused, ITEMS_MOST);
        assert(merged.frames == (uint32_t)count && merged.packets + gone == items.count);
        assert(merged.used == total(sizes, merged.frames) && merged.used <= room);
        cut_again(out, sizes, &merged);
    }
    free(pairs);
    free(firsts);
    free(ats);
    free(out);
    free(sizes);
    free(items.data);
    return 0;
}
