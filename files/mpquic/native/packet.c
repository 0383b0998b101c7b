/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "packet.h"

#define MODULUS 65535
#define TCP_HEADER 20
#define UDP_HEADER 8
/* More fragments, and the fragment offset (RFC 791 section 3.1). */
#define FRAGMENT 0x3FFF

uint32_t sum(struct span bytes)
{
    uint64_t total = 0;
    size_t at = 0;
    for (; at + 2 <= bytes.size; at += 2)
        total += get16(bytes.at + at);
    if (at < bytes.size)
        total += (uint64_t)bytes.at[at] << 8;
    return (uint32_t)(total % MODULUS);
}

uint32_t sum_add(uint32_t total, int64_t change)
{
    int64_t rest = ((int64_t)total + change - 1) % MODULUS;
    return (uint32_t)(rest < 0 ? rest + MODULUS : rest) + 1;
}

void sum_complete(uint8_t *ip, size_t size, size_t start, size_t at)
{
    put16(ip + at, MODULUS - sum((struct span){ip + start, size - start}));
}

enum inner_fault inner_fault(struct span ip)
{
    if (ip.size < IPV4_HEADER)
        return INNER_SHORT;
    if (ip.at[0] >= 0x45 && ip.at[0] <= 0x4F) {
        if ((size_t)(ip.at[0] & 0x0F) * 4 > ip.size)
            return INNER_SHORT;
        return get16(ip.at + 2) == ip.size ? INNER_FINE : INNER_LENGTH;
    }
    if (ip.at[0] >> 4 != 6)
        return INNER_VERSION;
    if (ip.size < IPV6_HEADER)
        return INNER_SHORT;
    return get16(ip.at + 4) + IPV6_HEADER == ip.size ? INNER_FINE : INNER_LENGTH;
}

bool shape_find(struct span ip, struct shape *shape)
{
    if (ip.size < IPV4_HEADER)
        return false;
    if (ip.at[0] >= 0x45 && ip.at[0] <= 0x4F)
        return (get16(ip.at + 6) & FRAGMENT) == 0 && get16(ip.at + 2) == ip.size
            && shape_at(ip, ip.at[9], (size_t)(ip.at[0] & 0x0F) * 4, true, shape);
    return ip.at[0] >> 4 == 6 && ip.size >= IPV6_HEADER && get16(ip.at + 4) + IPV6_HEADER == ip.size
        && shape_at(ip, ip.at[6], IPV6_HEADER, false, shape);
}

bool shape_at(struct span ip, uint8_t protocol, size_t start, bool ipv4, struct shape *shape)
{
    if (start > ip.size)
        return false;
    size_t room = ip.size - start, header = UDP_HEADER;
    if (protocol == TCP) {
        if (room < TCP_HEADER)
            return false;
        header = (size_t)(ip.at[start + 12] >> 4) * 4;
        if (header < TCP_HEADER || header > room)
            return false;
    } else if (protocol != UDP || room < UDP_HEADER || get16(ip.at + start + 4) != room) {
        return false;
    }
    shape->ipv4 = ipv4;
    shape->tcp = protocol == TCP;
    shape->transport = (uint32_t)start;
    shape->end = (uint32_t)(start + header);
    shape->checksum = shape->tcp ? 16 : 6;
    shape->gso_type = !shape->tcp ? VNET_UDP_L4 : ipv4 ? VNET_TCPV4 : VNET_TCPV6;
    return true;
}

void shape_derive(const struct shape *shape, uint8_t *ip, int64_t grow, uint32_t steps, uint32_t ahead, uint8_t flags)
{
    uint8_t *transport = ip + shape->transport, *checksum = transport + shape->checksum;
    if (shape->ipv4) {
        put16(ip + 2, (uint32_t)(get16(ip + 2) + grow));
        put16(ip + 4, get16(ip + 4) + steps);
        put16(ip + 10, 0);
        uint32_t total = sum((struct span){ip, shape->transport});
        put16(ip + 10, total == 0 ? 0 : MODULUS - total);
    } else {
        put16(ip + 4, (uint32_t)(get16(ip + 4) + grow));
    }
    if (shape->tcp) {
        put32(transport + 4, get32(transport + 4) + ahead);
        transport[13] = flags;
    } else {
        put16(transport + 4, (uint32_t)(get16(transport + 4) + grow));
    }
    put16(checksum, sum_add(get16(checksum), grow));
}

uint32_t shape_pseudo(const struct shape *shape, const uint8_t *ip, size_t body)
{
    struct span addresses = {ip + (shape->ipv4 ? 12 : 8), shape->ipv4 ? 8 : 32};
    uint32_t protocol = shape->tcp ? TCP : UDP;
    return sum_add(sum(addresses), (int64_t)(protocol + shape->end - shape->transport + body));
}
