/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is read from a TUN device: inner packets of anybody, behind a header of the kernel's. */
#include "items.h"

#define MOST 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {data, size};
    uint32_t room = take_word(&input) * (take_byte(&input) & 15), most = take_word(&input) % (MOST + 1);
    struct items items = take_items(input);
    uint8_t *out = block(room);
    uint32_t *sizes = (uint32_t *)block(most * sizeof(uint32_t));
    uint32_t *ends = (uint32_t *)block(items.count * sizeof(uint32_t));
    uint32_t faults[MPQUIC_SPLIT_FAULTS] = {0};
    int count = mpquic_split(
        items.data, items.size, items.sizes, items.count, out, room, sizes, most, ends, faults);
    if (count >= 0) {
        assert((uint32_t)count <= most && total(sizes, (uint32_t)count) <= room);
        assert(items.count == 0 || ends[items.count - 1] == (uint32_t)count);
        assert(total(faults, MPQUIC_SPLIT_FAULTS) <= items.count);
    }
    free(out);
    free(sizes);
    free(ends);
    free(items.data);
    return 0;
}
