/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Payloads become writes for a TUN device with offload: what mpquic.core.offload.merge does. */
#include "table.h"

/* Length of the largest packet, and segments in one (bytes; mpquic.core.offload.merge says why). */
#define PACKET_MOST 65535
#define TCP_SEGMENTS 1000
#define UDP_SEGMENTS 64
/* Longest IPv4 and TCP headers together. */
#define HEAD_MOST 120
#define FRAGMENT 0x3F

/* What one write has: a packet, or a run of segments linked by `next`. */
struct frame {
    uint32_t first, last, count;
    struct shape shape;
    bool partial;
    /* A run that may still grow; whose next segment is that after the last, so many times (`room`). */
    bool open, looked;
    uint32_t room, most;
    uint8_t flags;
    size_t bodies;
};

struct work {
    struct span items[MPQUIC_MERGE_MOST];
    uint32_t next[MPQUIC_MERGE_MOST];
    struct frame frames[MPQUIC_MERGE_MOST];
    uint32_t count;
    /* Frames before this one grow no more. */
    uint32_t floor;
    bool udp;
    struct table flows;
};

static _Thread_local struct work work;

/* Take a payload apart; return its context, MPQUIC_MERGE_MALFORMED or MPQUIC_MERGE_CONTEXT as a negative number. */
static int context_of(struct span payload, struct span *ip)
{
    uint64_t context;
    size_t octets = get_varint(payload, &context);
    if (octets == 0)
        return -MPQUIC_MERGE_MALFORMED;
    if (context != CONTEXT_IP && context != CONTEXT_PARTIAL)
        return -MPQUIC_MERGE_CONTEXT;
    *ip = (struct span){payload.at + octets, payload.size - octets};
    return (int)context;
}

/* Return addresses and ports; TCP and UDP share them, at worst a run ends early. */
static bool flow_of(struct span ip, size_t transport, struct key *key)
{
    if (transport + 4 > ip.size)
        return false;
    *key = key_of_addresses(ip.at);
    memcpy(key->bytes + key->size, ip.at + transport, 4);
    key->size += 4;
    return true;
}

static struct frame *add_frame(uint32_t item, bool partial)
{
    struct frame *frame = &work.frames[work.count++];
    *frame = (struct frame){.first = item, .last = item, .count = 1, .partial = partial, .flags = TCP_ACK};
    return frame;
}

/* The run of this flow that may still grow. */
static struct frame *run_in(const uint32_t *slot)
{
    return *slot != NOBODY && *slot >= work.floor && work.frames[*slot].open ? &work.frames[*slot] : NULL;
}

static size_t body_of(const struct frame *run) { return work.items[run->first].size - run->shape.end; }

/* Tell whether `ip` begins as the next segment of a run would, with `flags`. */
static bool follows(const struct frame *run, struct span ip, uint8_t flags)
{
    uint8_t head[HEAD_MOST];
    size_t body = body_of(run);
    memcpy(head, work.items[run->first].at, run->shape.end);
    int64_t grow = (int64_t)(ip.size - run->shape.end) - (int64_t)body;
    shape_derive(&run->shape, head, grow, run->count, (uint32_t)(run->count * body), flags);
    return memcmp(ip.at, head, run->shape.end) == 0;
}

/* Tell at small cost whether it is worth to look closer: many datagrams do not count their packets. */
static bool may_take(const struct frame *run, struct span ip)
{
    struct span first = work.items[run->first];
    if (ip.size <= run->shape.end || ip.size > first.size)
        return false;
    return !run->shape.ipv4 || get16(ip.at + 4) == get16(first.at + 4) + run->count;
}

/* Prepare for a second segment; false when the first one's checksums are wrong, which merging would make right. */
static bool look(struct frame *run)
{
    const struct shape *shape = &run->shape;
    const uint8_t *ip = work.items[run->first].at;
    size_t body = body_of(run);
    if (get16(ip + shape->transport + shape->checksum) != shape_pseudo(shape, ip, body))
        return false;
    if (shape->ipv4 && (sum((struct span){ip, shape->transport}) != 0 || get16(ip + 10) == 0xFFFF))
        return false;
    uint32_t most = (uint32_t)((PACKET_MOST - shape->end) / body), limit = shape->tcp ? TCP_SEGMENTS : UDP_SEGMENTS;
    run->most = most < limit ? most : limit;
    /* How many segments are reached by counting up before a field would run over. */
    uint64_t room = run->most;
    if (shape->tcp) {
        uint64_t reach = (UINT32_MAX - get32(ip + shape->transport + 4)) / body + 1;
        room = reach < room ? reach : room;
    }
    if (shape->ipv4) {
        uint32_t ident = 0x10000 - get16(ip + 4), checksum = get16(ip + 10) + 1;
        room = ident < room ? ident : room;
        room = checksum < room ? checksum : room;
    }
    run->room = room > 0 ? (uint32_t)room - 1 : 0;
    run->looked = true;
    return true;
}

static void append(struct frame *run, uint32_t item)
{
    work.next[run->last] = item;
    run->last = item;
    run->count++;
    run->bodies += work.items[item].size - run->shape.end;
}

/* Let a run take `item` if that is its next segment; tell whether it was. */
static bool take(struct frame *run, uint32_t item)
{
    struct span ip = work.items[item];
    bool full = ip.size == work.items[run->first].size;
    if (run->room > 0 && full && follows(run, ip, TCP_ACK)) {
        run->room--;
        append(run, item);
        return true;
    }
    run->open = false;
    if (!may_take(run, ip) || (!run->looked && !look(run)) || run->count >= run->most)
        return false;
    if (run->room > 0 && full && follows(run, ip, TCP_ACK)) {
        run->room--;
        run->open = run->room > 0;
    } else {
        /* The last one: shorter, or with PSH set, or after a counter ran over. */
        uint8_t flags = run->shape.tcp ? ip.at[run->shape.transport + 13] : TCP_ACK;
        if ((flags | TCP_PSH) != (TCP_ACK | TCP_PSH) || !follows(run, ip, flags))
            return false;
        run->flags = flags;
    }
    append(run, item);
    return true;
}

/* End the run of the flow that a bare packet belongs to, so that nothing overtakes it. */
static void interrupt(struct span ip)
{
    bool ipv4 = ip.at[0] >> 4 == 4;
    uint8_t protocol = ip.at[ipv4 ? 9 : 6];
    if (protocol == TCP || protocol == UDP) {
        struct key key;
        if (!ipv4 || !((ip.at[6] & FRAGMENT) || ip.at[7])) {
            if (flow_of(ip, ipv4 ? (size_t)(ip.at[0] & 0x0F) * 4 : IPV6_HEADER, &key)) {
                struct frame *run = run_in(table_find(&work.flows, &key));
                if (run != NULL)
                    run->open = false;
            }
            return;
        }
    } else if (ipv4) {
        return;
    } else {
        switch (protocol) {
        case 0: case 43: case 44: case 51: case 60: case 135:
            break; /* an extension header (RFC 8200 section 4) */
        default:
            return;
        }
    }
    /* It may belong to any flow. */
    work.floor = work.count;
}

/* What a gate said about pairs of addresses. */
struct verdicts {
    const uint32_t *pairs;
    const uint8_t *verdicts;
    uint32_t *refused;
    uint32_t count;
};

static bool passes(const struct verdicts *gate, uint32_t item)
{
    if (gate->count == 0 || gate->pairs[item] >= gate->count || !gate->verdicts[gate->pairs[item]])
        return true;
    gate->refused[gate->pairs[item]]++;
    return false;
}

/* Find a place for one item; return a fault, or -1, or -2 when a gate refuses it. */
static int place(uint32_t item, int context, const struct verdicts *gate)
{
    struct span ip = work.items[item];
    if (context == CONTEXT_IP) {
        enum inner_fault fault = inner_fault(ip);
        if (fault != INNER_FINE)
            return (int)fault;
        if (!passes(gate, item))
            return -2;
        interrupt(ip);
        add_frame(item, false);
        return -1;
    }
    struct shape shape;
    struct key key;
    if (!shape_find(ip, &shape) || !flow_of(ip, shape.transport, &key))
        return MPQUIC_MERGE_PARTIAL;
    uint32_t *slot = table_find(&work.flows, &key);
    struct frame *run = run_in(slot);
    if (run != NULL && take(run, item))
        return -1;
    /* Whoever belongs to a run has its addresses. */
    if (run == NULL && !passes(gate, item))
        return -2;
    struct frame *frame = add_frame(item, true);
    frame->shape = shape;
    frame->bodies = ip.size - shape.end;
    frame->open = ip.size > shape.end && (shape.tcp ? ip.at[shape.transport + 13] == TCP_ACK : work.udp);
    *slot = work.count - 1;
    return -1;
}

static bool emit(const struct frame *frame, struct list *out)
{
    struct span ip = work.items[frame->first];
    const struct shape *shape = &frame->shape;
    size_t head = frame->partial ? shape->end : ip.size;
    uint8_t *at = list_add(out, VNET + head + frame->bodies);
    if (at == NULL)
        return false;
    memset(at, 0, VNET);
    memcpy(at + VNET, ip.at, head);
    if (!frame->partial)
        return true;
    at[0] = VNET_NEEDS_CSUM;
    put16le(at + 6, shape->transport);
    put16le(at + 8, shape->checksum);
    if (frame->count > 1) {
        at[1] = shape->gso_type;
        put16le(at + 2, shape->end);
        put16le(at + 4, (uint32_t)body_of(frame));
        shape_derive(shape, at + VNET, (int64_t)(frame->bodies - body_of(frame)), 0, 0, frame->flags);
    }
    at += VNET + head;
    for (uint32_t i = 0, item = frame->first; i < frame->count; i++, item = work.next[item]) {
        size_t size = work.items[item].size - shape->end;
        memcpy(at, work.items[item].at + shape->end, size);
        at += size;
    }
    return true;
}

int mpquic_pairs(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint32_t *pairs,
    uint32_t *firsts, uint32_t *ats)
{
    struct batch in = batch_of(data, size, sizes, count);
    struct span payload, ip;
    uint32_t found = 0;
    if (count > MPQUIC_MERGE_MOST)
        return -1;
    table_clear(&work.flows, count);
    while (batch_next(&in, &payload)) {
        uint32_t item = in.next - 1;
        pairs[item] = NOBODY;
        if (context_of(payload, &ip) < 0 || ip.size < IPV4_HEADER)
            continue;
        if (ip.at[0] >> 4 != 4 && ip.size < IPV6_HEADER)
            continue;
        struct key key = key_of_addresses(ip.at);
        uint32_t *slot = table_find(&work.flows, &key);
        if (*slot == NOBODY) {
            firsts[found] = item;
            ats[found] = (uint32_t)(payload.size - ip.size);
            *slot = found++;
        }
        pairs[item] = *slot;
    }
    return in.next == count ? (int)found : -1;
}

int mpquic_merge(const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, int udp,
    const uint32_t *pairs, const uint8_t *verdicts, uint32_t *refused, uint32_t pair_count, uint8_t *out,
    size_t out_size, uint32_t *out_sizes, uint32_t out_most, struct mpquic_merged *merged)
{
    struct batch in = batch_of(data, size, sizes, count);
    struct list frames = list_in(out, out_size, out_sizes, out_most);
    struct verdicts gate = {pairs, verdicts, refused, pair_count};
    struct span payload;
    *merged = (struct mpquic_merged){0};
    if (count > MPQUIC_MERGE_MOST)
        return -1;
    work.count = work.floor = 0;
    work.udp = udp != 0;
    table_clear(&work.flows, count);
    while (batch_next(&in, &payload)) {
        uint32_t item = in.next - 1;
        int context = context_of(payload, &work.items[item]);
        int fault = context < 0 ? -context : place(item, context, &gate);
        if (fault >= 0) {
            merged->faults[fault]++;
        } else if (fault == -1) {
            merged->packets++;
            merged->octets += work.items[item].size;
        }
    }
    if (in.next != count)
        return -1;
    for (uint32_t i = 0; i < work.count; i++)
        if (!emit(&work.frames[i], &frames))
            return -1;
    merged->frames = frames.count;
    merged->used = frames.used;
    return (int)frames.count;
}
