/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DATAGRAM payloads become protected 1-RTT packets: what mpquic.quic.seal does. */
#include "keys.h"

/* Bytes of a packet number, of a DATAGRAM frame's type and length, and of the longest connection id. */
#define NUMBER 3
#define FRAME 3
#define CID_MOST 20
/* The largest length that two bytes can say (RFC 9000 section 16). */
#define PAYLOAD_MOST 0x3FFF
#define DATAGRAM 0x30
#define DATAGRAM_WITH_LENGTH 0x31

/* Packets whose headers are still bare. */
struct unprotected {
    uint8_t samples[MASKS * SAMPLE];
    uint8_t *packets[MASKS];
    uint32_t count;
};

static bool protect(struct mpquic_key *key, struct unprotected *some, size_t cid_size)
{
    uint8_t masks[MASKS * SAMPLE];
    if (some->count == 0)
        return true;
    if (!key_masks(key, some->samples, some->count, masks))
        return false;
    for (uint32_t i = 0; i < some->count; i++) {
        uint8_t *packet = some->packets[i], *mask = masks + SAMPLE * i;
        packet[0] ^= mask[0] & 0x1F;
        for (int j = 0; j < NUMBER; j++)
            packet[1 + cid_size + j] ^= mask[1 + j];
    }
    some->count = 0;
    return true;
}

/* Write the frames of the next packet where its ciphertext will be; `taken` is what it holds. */
static void put_frames(uint8_t *at, struct batch *in, uint32_t taken)
{
    struct span payload;
    for (uint32_t i = 0; i < taken && batch_next(in, &payload); i++) {
        if (taken == 1) {
            *at++ = DATAGRAM;
        } else {
            *at++ = DATAGRAM_WITH_LENGTH;
            put16(at, 0x4000 | (uint32_t)payload.size);
            at += 2;
        }
        memcpy(at, payload.at, payload.size);
        at += payload.size;
    }
}

/* Return how many payloads go into the next packet, and in `size` the bytes of its frames; 0 when sizes are wrong. */
static uint32_t plan(struct batch in, size_t room, bool packing, size_t *size)
{
    struct span payload;
    uint32_t taken = 0;
    size_t used = 0;
    while (batch_next(&in, &payload)) {
        if (payload.size > PAYLOAD_MOST)
            return 0;
        if (taken > 0 && (!packing || used + FRAME + payload.size > room))
            break;
        used += FRAME + payload.size;
        taken++;
    }
    *size = taken == 1 ? used - FRAME + 1 : used;
    return taken;
}

int mpquic_seal(struct mpquic_key *key, uint8_t first, const uint8_t *cid, size_t cid_size, uint64_t number,
    size_t room, const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint8_t *out, size_t out_size,
    uint32_t *out_sizes, uint32_t out_most)
{
    struct batch in = batch_of(data, size, sizes, count);
    struct list packets = list_in(out, out_size, out_sizes, out_most);
    struct unprotected bare = {.count = 0};
    size_t smallest = SIZE_MAX, head = 1 + cid_size + NUMBER;
    if (cid_size > CID_MOST)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        smallest = sizes[i] < smallest ? sizes[i] : smallest;
    bool packing = 2 * smallest + 2 * FRAME <= room;
    while (in.next < in.count) {
        size_t frames;
        uint32_t taken = plan(in, room, packing, &frames);
        uint8_t *packet = taken > 0 ? list_add(&packets, head + frames + TAG) : NULL;
        if (packet == NULL)
            return -1;
        packet[0] = first;
        memcpy(packet + 1, cid, cid_size);
        packet[1 + cid_size] = (uint8_t)(number >> 16);
        put16(packet + 2 + cid_size, (uint32_t)number & 0xFFFF);
        put_frames(packet + head, &in, taken);
        if (!key_seal(key, number, (struct span){packet, head}, (struct span){packet + head, frames}, packet + head))
            return -1;
        /* The sample starts four bytes after the start of the packet number. */
        memcpy(bare.samples + SAMPLE * bare.count, packet + head - NUMBER + 4, SAMPLE);
        bare.packets[bare.count++] = packet;
        if (bare.count == MASKS && !protect(key, &bare, cid_size))
            return -1;
        number++;
    }
    return protect(key, &bare, cid_size) ? (int)packets.count : -1;
}
