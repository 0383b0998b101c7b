/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Seal, open, cut and merge, and fail when anything, libcrypto included, allocates memory for that. */
#include <assert.h>
#include <stdlib.h>

#include "bounds.h"
#include "mpquic.h"

#define PACKETS 64
#define BODY 1200
#define STEP 100

/* The GNU C library's own names of what is counted here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static unsigned long allocations;

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    allocations++;
    return __libc_realloc(block, size);
}

static const uint8_t secret[32] = {1}, iv[12] = {2}, cid[8] = {3};
static uint8_t payloads[PACKETS * BODY], wire[PACKETS * 1500], plain[PACKETS * BODY], frames[PACKETS * 1500];
static uint32_t sizes[PACKETS], wire_sizes[PACKETS], plain_sizes[PACKETS], counts[PACKETS], frame_sizes[PACKETS];
static uint32_t pairs[PACKETS], firsts[PACKETS], ats[PACKETS], ends[PACKETS], refused[PACKETS];
static uint64_t numbers[PACKETS];

/* A segment of a TCP stream whose checksum is open. */
static void put_segment(uint8_t *at, uint32_t number)
{
    memset(at, 0, BODY);
    at[0] = 6;
    at[1] = 0x45;
    put16(at + 3, BODY - 1);
    put16(at + 5, number);
    at[9] = 64;
    at[10] = 6;
    put32(at + 25, number * (BODY - 41));
    at[33] = 0x50;
    at[34] = 0x10;
}

static void carry(struct mpquic_key *sealing, struct mpquic_key *opening, uint64_t number)
{
    struct mpquic_opened opened;
    struct mpquic_merged merged;
    uint32_t faults[MPQUIC_SPLIT_FAULTS] = {0};
    assert(mpquic_seal(sealing, 0x42, cid, sizeof cid, number, 1300, payloads, sizeof payloads, sizes, PACKETS, wire,
               sizeof wire, wire_sizes, PACKETS)
        == PACKETS);
    assert(mpquic_open(opening, cid, 1, 0x40, number, wire, sizeof wire, wire_sizes, PACKETS, 0, plain, sizeof plain,
               plain_sizes, PACKETS, numbers, counts, PACKETS, &opened)
        == 0);
    assert(opened.payloads == PACKETS && memcmp(plain, payloads, sizeof plain) == 0);
    int found = mpquic_pairs(plain, sizeof plain, plain_sizes, PACKETS, pairs, firsts, ats);
    assert(found == 1);
    int count = mpquic_merge(plain, sizeof plain, plain_sizes, PACKETS, 1, pairs, (const uint8_t *)"", refused, 1,
        frames, sizeof frames, frame_sizes, PACKETS, &merged);
    assert(count > 0 && merged.packets == PACKETS);
    assert(mpquic_split(frames, merged.used, frame_sizes, (uint32_t)count, plain, sizeof plain, plain_sizes, PACKETS,
               ends, faults)
        == count);
}

int main(void)
{
    for (uint32_t i = 0; i < PACKETS; i++) {
        sizes[i] = BODY;
        put_segment(payloads + (size_t)i * BODY, i);
    }
    for (int suite = MPQUIC_AES_128_GCM; suite <= MPQUIC_CHACHA20_POLY1305; suite++) {
        struct mpquic_key *sealing = mpquic_key_new(suite, 1, secret, iv, secret);
        struct mpquic_key *opening = mpquic_key_new(suite, 0, secret, iv, secret);
        /* What lasts is made with the first batch. */
        carry(sealing, opening, 0);
        unsigned long before = allocations;
        for (uint64_t batch = 1; batch <= 100; batch++)
            carry(sealing, opening, batch * PACKETS);
        unsigned long after = allocations;
        assert(before > 0 && after == before);
        mpquic_key_free(sealing);
        mpquic_key_free(opening);
    }
    return 0;
}
