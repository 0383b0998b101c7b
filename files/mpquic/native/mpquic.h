/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What mpquic.native calls. Buffers and their sizes are the caller's; nothing is allocated but keys.
 *
 * Inputs are items one after the other (`data`, `size` bytes) with their sizes (`sizes`, `count` of them); outputs have
 * the same form. A negative result means that there is no room or that sizes make no sense: nothing was done.
 */
#ifndef MPQUIC_NATIVE_H
#define MPQUIC_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#ifndef MPQUIC_ABI
#define MPQUIC_ABI 1
#endif
#define API __attribute__((visibility("default")))

API int mpquic_abi(void);

/* --- keys.c: packet protection keys of one direction and key phase (RFC 9001 section 5) --- */

enum mpquic_suite { MPQUIC_AES_128_GCM, MPQUIC_AES_256_GCM, MPQUIC_CHACHA20_POLY1305 };

struct mpquic_key;

/* `key` and `protection` have 16 bytes for AES-128, else 32; `iv` has 12. NULL when libcrypto refuses. */
API struct mpquic_key *mpquic_key_new(
    int suite, int sealing, const uint8_t *key, const uint8_t *iv, const uint8_t *protection);
API void mpquic_key_free(struct mpquic_key *key);

/* --- seal.c --- */

/* Protect DATAGRAM payloads in packets numbered from `number` on, with at most `room` bytes of frames each where small
 * ones share a packet. `first` is the first byte without its protection. Returns the number of packets. */
API int mpquic_seal(struct mpquic_key *key, uint8_t first, const uint8_t *cid, size_t cid_size, uint64_t number,
    size_t room, const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint8_t *out, size_t out_size,
    uint32_t *out_sizes, uint32_t out_most);

/* --- open.c --- */

/* Why opening ended before the last packet. */
enum mpquic_stop {
    MPQUIC_ALL,    /* it did not */
    MPQUIC_SHAPE,  /* not a packet of this connection and key phase, or too short */
    MPQUIC_FRAMES, /* authentic, and other frames than DATAGRAM */
    MPQUIC_FULL,   /* no room for what it holds */
};

/* What became of a batch. */
struct mpquic_opened {
    uint32_t done;     /* packets that were dealt with, those before `start` included */
    uint32_t packets;  /* opened: their numbers and how many payloads each holds are in `numbers` and `counts` */
    uint32_t payloads; /* what they hold, in `out` */
    uint32_t late;     /* opened, and numbered below one before: perhaps a duplicate */
    uint32_t forged;   /* not authentic */
    uint32_t stop;     /* enum mpquic_stop */
    uint64_t expected; /* one more than the largest number so far */
    uint64_t number;   /* MPQUIC_FRAMES: the number of that packet */
    uint32_t newest;   /* first byte of the packet with the largest number, 0 for none */
    uint32_t reserved;
};

/* Open 1-RTT packets from number `start` of the batch on. `cids` are ids of 8 bytes that they may carry; `phase` is what
 * the bits 0xDC of the first byte must be; `expected` is one more than the largest number so far. `numbers` and
 * `counts` have room for `most` packets. */
API int mpquic_open(struct mpquic_key *key, const uint8_t *cids, uint32_t cid_count, uint8_t phase, uint64_t expected,
    const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint32_t start, uint8_t *out,
    size_t out_size, uint32_t *out_sizes, uint32_t out_most, uint64_t *numbers, uint32_t *counts, uint32_t most,
    struct mpquic_opened *opened);

/* --- split.c: reads of a TUN device with offload become payloads --- */

enum mpquic_split_fault {
    MPQUIC_INNER_SHORT,
    MPQUIC_INNER_LENGTH,
    MPQUIC_INNER_VERSION,
    MPQUIC_VNET_SHORT,
    MPQUIC_VNET_TYPE,
    MPQUIC_VNET_SIZE,
    MPQUIC_VNET_OFFSET,
    MPQUIC_SPLIT_FAULTS
};

/* Returns the number of payloads; `ends` gets how many there are after each read, `faults` is counted up. */
API int mpquic_split(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint8_t *out,
    size_t out_size, uint32_t *out_sizes, uint32_t out_most, uint32_t *ends, uint32_t *faults);

/* --- merge.c: payloads become writes for a TUN device with offload --- */

enum mpquic_merge_fault {
    MPQUIC_MERGE_SHORT,
    MPQUIC_MERGE_LENGTH,
    MPQUIC_MERGE_VERSION,
    MPQUIC_MERGE_MALFORMED,
    MPQUIC_MERGE_CONTEXT,
    MPQUIC_MERGE_PARTIAL,
    MPQUIC_MERGE_FAULTS
};

/* Payloads in one batch, at most. */
#define MPQUIC_MERGE_MOST 8192

struct mpquic_merged {
    uint32_t frames;
    uint32_t packets; /* IP packets that were accepted */
    uint64_t octets;  /* and their bytes */
    uint64_t used;    /* bytes of `out` */
    uint32_t faults[MPQUIC_MERGE_FAULTS];
};

/* Find the pairs of addresses that a gate must judge: `pairs` gets the number of each payload's pair, `firsts` and
 * `ats` the first payload of each pair and where in it the IP packet begins. Returns the number of pairs. */
API int mpquic_pairs(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint32_t *pairs,
    uint32_t *firsts, uint32_t *ats);

/* Merge. `verdicts` has one byte per pair, not 0 to refuse it, and `refused` is counted up per pair; without pairs all
 * pass.
 * Returns the number of frames. */
API int mpquic_merge(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, int udp,
    const uint32_t *pairs, const uint8_t *verdicts, uint32_t *refused, uint32_t pair_count, uint8_t *out,
    size_t out_size, uint32_t *out_sizes, uint32_t out_most, struct mpquic_merged *merged);

/* --- batchio.c --- */

/* Bytes of a socket address. */
#define MPQUIC_ADDRESS 28
/* Room for what one receive or read may give (bytes). */
#define MPQUIC_MESSAGE 65600

/* Send items in order, as runs of equal size by UDP_SEGMENT where `segmenting`. `tos_type` 0 for no control message
 * about TOS. Returns how many were sent; `error` gets the errno that stopped the run that follows, 0 for none, and
 * `run` how many items that run has. */
API int mpquic_send(int socket, const uint8_t *address, uint32_t address_size, int tos_level, int tos_type, int tos,
    int segmenting, const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint32_t *run,
    int *error);

/* Receive until there is nothing more or about `enough` datagrams have come. Returns the number of arrivals: datagrams
 * of one size and source one after the other, of which the last may be shorter; that size is in `segments`. `error`
 * gets the errno that ended it, 0 for none. */
API int mpquic_receive(int socket, uint32_t enough, uint8_t *out, size_t out_size, uint32_t *out_sizes,
    uint32_t *segments, uint8_t *addresses, uint32_t most, int *error);

/* Read packets until there is nothing more, `most` or about `enough` bytes. Returns their number. */
API int mpquic_read(
    int file, size_t enough, uint8_t *out, size_t out_size, uint32_t *out_sizes, uint32_t most, int *error);

/* Write packets, each by one write(2), until one is refused. Returns how many were written. */
API int mpquic_write(
    int file, const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, int *error);

#endif
