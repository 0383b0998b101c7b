/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inner packets: the least they must be (mpquic.core.inner), and where TCP and UDP have their fields
 * (mpquic.core.offload.shape). Positions count from the start of the IP packet. */
#ifndef MPQUIC_PACKET_H
#define MPQUIC_PACKET_H

#include "bounds.h"

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define TCP 6
#define UDP 17
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

/* struct virtio_net_hdr (linux/virtio_net.h): flags, type, header length, segment size, checksum start and offset. */
#define VNET 10
#define VNET_NEEDS_CSUM 1
#define VNET_TCPV4 1
#define VNET_TCPV6 4
#define VNET_UDP_L4 5
#define VNET_ECN 0x80

#define CONTEXT_IP 0
#define CONTEXT_PARTIAL 6

/* Why something is no well-formed IP packet; the order is that of both lists of faults in mpquic.h. */
enum inner_fault { INNER_FINE = -1, INNER_SHORT, INNER_LENGTH, INNER_VERSION };

enum inner_fault inner_fault(struct span ip);

struct shape {
    bool ipv4, tcp;
    /* Where the transport header and the body begin, and the checksum from the transport header on. */
    uint32_t transport, end, checksum;
    uint8_t gso_type;
};

/* Find the shape of plain TCP or UDP: whole, right behind the IP header, all lengths right. */
bool shape_find(struct span ip, struct shape *shape);
/* Find it with the transport header at `start`. */
bool shape_at(struct span ip, uint8_t protocol, size_t start, bool ipv4, struct shape *shape);

/* Make headers those of another segment: its body is `grow` bytes longer, it comes `steps` packets and `ahead` bytes
 * later, and has these TCP flags. */
void shape_derive(const struct shape *shape, uint8_t *ip, int64_t grow, uint32_t steps, uint32_t ahead, uint8_t flags);

/* The sum of the pseudo header for a body of so many bytes. */
uint32_t shape_pseudo(const struct shape *shape, const uint8_t *ip, size_t body);

/* --- the internet checksum (RFC 1071) --- */

/* The sum of 16-bit words modulo 65535; a last odd byte is the upper half of a word. */
uint32_t sum(struct span bytes);
/* The folded sum `total` after a change: 1 to 65535. */
uint32_t sum_add(uint32_t total, int64_t change);
/* Complete the checksum at `at` with everything from `start` on; its field holds the sum of the pseudo header. */
void sum_complete(uint8_t *ip, size_t size, size_t start, size_t at);

#endif
