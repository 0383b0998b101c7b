/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Protected 1-RTT packets become DATAGRAM payloads: what mpquic.quic.opening does, but for the books. */
#include "keys.h"

#define CID 8
#define PREFIX (1 + CID)
#define SAMPLE_END (PREFIX + 4 + SAMPLE)
/* Header form, fixed bit, reserved bits and key phase (RFC 9000 section 17.3). */
#define SHAPE 0xDC
#define DATAGRAM 0x30
#define DATAGRAM_WITH_LENGTH 0x31
#define NUMBERS ((int64_t)1 << 62)

/* Longest UDP payload. */
#define PACKET_MOST 65536

/* RFC 9000 section A.3. */
static uint64_t decode(uint64_t truncated, int octets, uint64_t expected)
{
    int64_t window = (int64_t)1 << 8 * octets, half = window / 2, near = (int64_t)expected;
    int64_t number = (near & -window) | (int64_t)truncated;
    if (number <= near - half && number < NUMBERS - window)
        return (uint64_t)(number + window);
    if (number > near + half && number >= window)
        return (uint64_t)(number - window);
    return (uint64_t)number;
}

/* Add the payloads of a packet's frames, all or none. */
static enum mpquic_stop take_frames(struct span plain, struct list *payloads)
{
    struct list before = *payloads;
    enum mpquic_stop stop = plain.size > 0 ? MPQUIC_ALL : MPQUIC_FRAMES;
    size_t at = 0;
    while (stop == MPQUIC_ALL && at < plain.size) {
        size_t start = at + 1, size = plain.size - start;
        if (plain.at[at] == DATAGRAM_WITH_LENGTH) {
            uint64_t length;
            size_t octets = get_varint((struct span){plain.at + start, size}, &length);
            if (octets == 0 || length > size - octets) {
                stop = MPQUIC_FRAMES;
                break;
            }
            start += octets;
            size = (size_t)length;
        } else if (plain.at[at] != DATAGRAM) {
            stop = MPQUIC_FRAMES;
            break;
        }
        uint8_t *place = list_add(payloads, size);
        if (place == NULL)
            stop = MPQUIC_FULL;
        else
            memcpy(place, plain.at + start, size);
        at = start + size;
    }
    if (stop != MPQUIC_ALL)
        *payloads = before;
    return stop;
}

static bool known(const uint8_t *cid, const uint8_t *cids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (memcmp(cid, cids + (size_t)CID * i, CID) == 0)
            return true;
    return false;
}

/* Make the masks of the next packets, at most MASKS. What is too short for a sample gets any. */
static bool masks_ahead(struct mpquic_key *key, struct batch in, uint8_t *masks)
{
    uint8_t samples[MASKS * SAMPLE] = {0};
    struct span packet;
    uint32_t count = 0;
    while (count < MASKS && batch_next(&in, &packet)) {
        if (packet.size >= SAMPLE_END)
            memcpy(samples + SAMPLE * count, packet.at + SAMPLE_END - SAMPLE, SAMPLE);
        count++;
    }
    return key_masks(key, samples, count, masks);
}

/* Undo the header protection of a packet: its header in `header`, whose length is returned, and its number. */
static size_t unprotect(const uint8_t *packet, const uint8_t *mask, uint64_t expected, uint8_t *header,
    uint64_t *number)
{
    int octets = ((packet[0] ^ mask[0]) & 3) + 1;
    uint64_t truncated = 0;
    memcpy(header, packet, PREFIX + 4);
    header[0] ^= mask[0] & 0x1F;
    for (int i = 0; i < octets; i++) {
        header[PREFIX + i] ^= mask[1 + i];
        truncated = truncated << 8 | header[PREFIX + i];
    }
    *number = decode(truncated, octets, expected);
    return PREFIX + (size_t)octets;
}

int mpquic_open(struct mpquic_key *key, const uint8_t *cids, uint32_t cid_count, uint8_t phase, uint64_t expected,
    const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint32_t start, uint8_t *out,
    size_t out_size, uint32_t *out_sizes, uint32_t out_most, uint64_t *numbers, uint32_t *counts, uint32_t most,
    struct mpquic_opened *opened)
{
    static _Thread_local uint8_t plain[PACKET_MOST];
    struct batch in = batch_of(data, size, sizes, count);
    struct list payloads = list_in(out, out_size, out_sizes, out_most);
    struct mpquic_opened result = {.expected = expected, .stop = MPQUIC_ALL};
    uint8_t masks[MASKS * SAMPLE], header[PREFIX + 4];
    struct span packet;
    if (expected >= (uint64_t)NUMBERS)
        return -1;
    while (in.next < start)
        if (!batch_next(&in, &packet))
            return -1;
    result.done = in.next;
    for (struct batch ahead = in; batch_next(&in, &packet); ahead = in, result.done++) {
        uint32_t turn = (result.done - start) % MASKS;
        if (turn == 0 && !masks_ahead(key, ahead, masks))
            return -1;
        result.stop = MPQUIC_SHAPE;
        if (packet.size < SAMPLE_END || packet.size > PACKET_MOST)
            break;
        size_t head = unprotect(packet.at, masks + SAMPLE * turn, result.expected, header, &result.number);
        if ((header[0] & SHAPE) != phase || !known(header + 1, cids, cid_count))
            break;
        struct span sealed = {packet.at + head, packet.size - head};
        bool authentic = key_open(key, result.number, (struct span){header, head}, sealed, plain);
        result.stop = MPQUIC_ALL;
        if (!authentic) {
            result.forged++;
            continue;
        }
        uint32_t before = payloads.count;
        result.stop = result.packets >= most ? MPQUIC_FULL
                                             : take_frames((struct span){plain, sealed.size - TAG}, &payloads);
        if (result.stop != MPQUIC_ALL)
            break;
        numbers[result.packets] = result.number;
        counts[result.packets++] = payloads.count - before;
        if (result.number < result.expected) {
            result.late++;
        } else {
            result.expected = result.number + 1;
            result.newest = header[0];
        }
    }
    result.payloads = payloads.count;
    *opened = result;
    return 0;
}
