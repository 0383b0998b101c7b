/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads of a TUN device with offload become payloads: what mpquic.core.offload.split does. */
#include "mpquic.h"
#include "packet.h"

/* A read was refused for one of the faults of mpquic.h, or one of these. */
#define FINE (-1)
#define FULL (-2)

/* Add a payload of this context with room for `size` bytes of IP packet; return where that is to be. */
static uint8_t *add(struct list *payloads, uint8_t context, size_t size)
{
    uint8_t *at = list_add(payloads, 1 + size);
    if (at == NULL)
        return NULL;
    *at = context;
    return at + 1;
}

static int copy(struct list *payloads, uint8_t context, struct span ip)
{
    uint8_t *at = add(payloads, context, ip.size);
    if (at == NULL)
        return FULL;
    memcpy(at, ip.at, ip.size);
    return FINE;
}

/* A packet whose checksum is open. */
static int lone(const uint8_t *vnet, struct span ip, struct list *payloads)
{
    struct shape shape;
    size_t start = get16le(vnet + 6), offset = get16le(vnet + 8);
    if (shape_find(ip, &shape) && start == shape.transport && offset == shape.checksum)
        return copy(payloads, CONTEXT_PARTIAL, ip);
    /* No plain TCP or UDP, but some protocol whose checksum works the same way. */
    if (start < IPV4_HEADER || start + offset + 2 > ip.size)
        return MPQUIC_VNET_OFFSET;
    uint8_t *at = add(payloads, CONTEXT_IP, ip.size);
    if (at == NULL)
        return FULL;
    memcpy(at, ip.at, ip.size);
    sum_complete(at, ip.size, start, start + offset);
    return FINE;
}

/* The segments of one packet. */
static int cut(const uint8_t *vnet, struct span ip, struct list *payloads)
{
    struct shape shape;
    uint8_t kind = vnet[1] & (uint8_t)~VNET_ECN;
    bool needs = (vnet[0] & VNET_NEEDS_CSUM) != 0;
    size_t step = get16le(vnet + 4), start = get16le(vnet + 6), offset = get16le(vnet + 8);
    if (kind != VNET_TCPV4 && kind != VNET_TCPV6 && kind != VNET_UDP_L4)
        return MPQUIC_VNET_TYPE;
    if (step == 0)
        return MPQUIC_VNET_SIZE;
    bool plain = shape_find(ip, &shape);
    bool found = plain;
    if (!found && needs && ip.at[0] >> 4 == 6 && start > IPV6_HEADER)
        /* IPv6 with extension headers: only the vnet header says where they end. */
        found = shape_at(ip, kind == VNET_UDP_L4 ? UDP : TCP, start, false, &shape);
    if (!found || shape.gso_type != kind)
        return MPQUIC_VNET_TYPE;
    if (needs && (start != shape.transport || offset != shape.checksum))
        return MPQUIC_VNET_OFFSET;
    size_t body = ip.size - shape.end, last = body > 0 ? (body - 1) / step : 0;
    uint8_t flags = shape.tcp ? ip.at[shape.transport + 13] : 0;
    for (size_t i = 0; i <= last; i++) {
        size_t from = i * step, size = i < last ? step : body - from;
        uint8_t *at = add(payloads, plain ? CONTEXT_PARTIAL : CONTEXT_IP, shape.end + size);
        if (at == NULL)
            return FULL;
        memcpy(at, ip.at, shape.end);
        memcpy(at + shape.end, ip.at + shape.end + from, size);
        if (!needs)
            put16(at + shape.transport + shape.checksum, shape_pseudo(&shape, ip.at, body));
        if (last > 0) {
            /* CWR is said once (RFC 3168 section 6.1.2). PSH and FIN belong to the last byte. */
            uint8_t kept = i == 0 ? flags : flags & (uint8_t)~TCP_CWR;
            if (i < last)
                kept &= (uint8_t)~(TCP_FIN | TCP_PSH);
            shape_derive(&shape, at, (int64_t)size - (int64_t)body, (uint32_t)i, (uint32_t)from, kept);
        }
        if (!plain)
            sum_complete(at, shape.end + size, shape.transport, shape.transport + shape.checksum);
    }
    return FINE;
}

static int one(struct span read, struct list *payloads)
{
    if (read.size <= VNET)
        return MPQUIC_VNET_SHORT;
    struct span ip = {read.at + VNET, read.size - VNET};
    enum inner_fault fault = inner_fault(ip);
    if (fault != INNER_FINE)
        return (int)fault;
    if (read.at[1] != 0)
        return cut(read.at, ip, payloads);
    return read.at[0] & VNET_NEEDS_CSUM ? lone(read.at, ip, payloads) : copy(payloads, CONTEXT_IP, ip);
}

int mpquic_split(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint8_t *out,
    size_t out_size, uint32_t *out_sizes, uint32_t out_most, uint32_t *ends, uint32_t *faults)
{
    struct batch in = batch_of(data, size, sizes, count);
    struct list payloads = list_in(out, out_size, out_sizes, out_most);
    struct span read;
    while (batch_next(&in, &read)) {
        int fault = one(read, &payloads);
        if (fault == FULL)
            return -1;
        if (fault != FINE)
            faults[fault]++;
        ends[in.next - 1] = payloads.count;
    }
    return in.next == in.count ? (int)payloads.count : -1;
}
