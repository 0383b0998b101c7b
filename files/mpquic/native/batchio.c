/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Many packets per system call where the kernel can: UDP_SEGMENT, UDP_GRO, recvmmsg(2). See udp(7). */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bounds.h"
#include "mpquic.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
/* The limits of one run, see mpquic.io.udp. */
#define SEGMENTS 64
#define SUPER_MOST 65000
#define SHORTEST_PROBE 1200
/* What is no longer than this stays alone: it is handed on first (mpquic.core.offload.sparse). */
#define SMALL 400
/* An arrival is no longer than what one message can have (bytes). */
#define ARRIVAL_MOST 65535
/* Messages per recvmmsg(2). */
#define MESSAGES 8

union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int)) * 2];
};

/* Return how many items one call can segment: equal sizes, the last may be shorter, but not if it may be a path MTU
 * probe: what does not fit a link is dropped as a whole. */
static uint32_t run_of(struct batch in, int segmenting, size_t *total)
{
    struct span item, first = {NULL, 0};
    uint32_t taken = 0;
    *total = 0;
    while (taken < SEGMENTS && batch_next(&in, &item)) {
        if (taken == 0)
            first = item;
        else if (!segmenting || item.size > first.size || *total + item.size > SUPER_MOST
            || (item.size < first.size && item.size >= SHORTEST_PROBE))
            break;
        *total += item.size;
        taken++;
        if (item.size < first.size)
            break;
    }
    return taken;
}

static void put_control(struct msghdr *message, union control *control, int level, int type, const void *value,
    size_t size)
{
    if (message->msg_control == NULL) {
        memset(control, 0, sizeof *control);
        message->msg_control = control->room;
    }
    struct cmsghdr *at = (struct cmsghdr *)(control->room + message->msg_controllen);
    at->cmsg_level = level;
    at->cmsg_type = type;
    at->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(at), value, size);
    message->msg_controllen += CMSG_SPACE(size);
}

int mpquic_send(int socket, const uint8_t *address, uint32_t address_size, int tos_level, int tos_type, int tos,
    int segmenting, const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, uint32_t *run,
    int *error)
{
    struct batch in = batch_of(data, size, sizes, count);
    *run = 0;
    *error = 0;
    while (in.next < count) {
        size_t total;
        uint32_t taken = run_of(in, segmenting, &total);
        if (taken == 0)
            return -1;
        struct iovec buffer = {(void *)(uintptr_t)(data + in.used), total};
        struct msghdr message = {
            .msg_name = address_size > 0 ? (void *)(uintptr_t)address : NULL,
            .msg_namelen = address_size,
            .msg_iov = &buffer,
            .msg_iovlen = 1,
        };
        union control control;
        uint16_t segment = (uint16_t)sizes[in.next];
        if (taken > 1)
            put_control(&message, &control, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
        if (tos_type != 0)
            put_control(&message, &control, tos_level, tos_type, &tos, sizeof tos);
        if (sendmsg(socket, &message, 0) < 0) {
            *run = taken;
            *error = errno;
            break;
        }
        struct span item;
        while (taken-- > 0 && batch_next(&in, &item))
            ;
    }
    return (int)in.next;
}

static uint32_t segment_of(struct msghdr *message)
{
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at))
        if (at->cmsg_level == IPPROTO_UDP && at->cmsg_type == UDP_GRO && at->cmsg_len >= CMSG_LEN(sizeof(int))) {
            int size;
            memcpy(&size, CMSG_DATA(at), sizeof size);
            return size > 0 ? (uint32_t)size : 0;
        }
    return 0;
}

/* Add what one message brought: to the last arrival if it goes on there, else as a new one. */
static bool arrive(struct list *received, struct span message, uint32_t segment, const uint8_t *source,
    uint32_t *segments, uint8_t *addresses)
{
    uint32_t last = received->count - 1;
    uint8_t *place;
    if (received->count > 0 && segment > SMALL && segment <= segments[last]
        && (segment == segments[last] || segment == message.size) && received->sizes[last] % segments[last] == 0
        && received->sizes[last] + message.size <= ARRIVAL_MOST
        && memcmp(addresses + (size_t)MPQUIC_ADDRESS * last, source, MPQUIC_ADDRESS) == 0) {
        place = list_grow(received, message.size);
    } else {
        place = list_add(received, message.size);
        if (place != NULL) {
            segments[++last] = segment;
            memcpy(addresses + (size_t)MPQUIC_ADDRESS * last, source, MPQUIC_ADDRESS);
        }
    }
    if (place == NULL)
        return false;
    memcpy(place, message.at, message.size);
    return true;
}

int mpquic_receive(int socket, uint32_t enough, uint8_t *out, size_t out_size, uint32_t *out_sizes,
    uint32_t *segments, uint8_t *addresses, uint32_t most, int *error)
{
    static _Thread_local uint8_t buffers[MESSAGES][MPQUIC_MESSAGE];
    struct list received = list_in(out, out_size, out_sizes, most);
    uint32_t datagrams = 0;
    *error = 0;
    while (datagrams < enough) {
        struct mmsghdr messages[MESSAGES];
        struct iovec rooms[MESSAGES];
        union control controls[MESSAGES];
        uint8_t sources[MESSAGES][MPQUIC_ADDRESS];
        /* Only as many as there is room for, whatever they hold. */
        size_t want = (received.size - received.used) / MPQUIC_MESSAGE;
        want = want < most - received.count ? want : most - received.count;
        want = want < MESSAGES ? want : MESSAGES;
        if (want == 0)
            break;
        memset(sources, 0, sizeof sources);
        for (size_t i = 0; i < want; i++) {
            rooms[i] = (struct iovec){buffers[i], MPQUIC_MESSAGE};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = sources[i],
                .msg_namelen = MPQUIC_ADDRESS,
                .msg_iov = &rooms[i],
                .msg_iovlen = 1,
                .msg_control = controls[i].room,
                .msg_controllen = sizeof controls[i].room,
            };
        }
        int got = recvmmsg(socket, messages, (unsigned)want, MSG_DONTWAIT, NULL);
        if (got < 0) {
            *error = errno;
            break;
        }
        for (int i = 0; i < got; i++) {
            struct span message = {buffers[i], messages[i].msg_len};
            uint32_t segment = segment_of(&messages[i].msg_hdr);
            if (segment == 0 || segment >= message.size)
                segment = (uint32_t)message.size;
            if (!arrive(&received, message, segment, sources[i], segments, addresses))
                return -1;
            datagrams += segment > 0 ? ((uint32_t)message.size + segment - 1) / segment : 1;
        }
        if ((size_t)got < want)
            break;
    }
    return (int)received.count;
}

int mpquic_read(
    int file, size_t enough, uint8_t *out, size_t out_size, uint32_t *out_sizes, uint32_t most, int *error)
{
    struct list packets = list_in(out, out_size, out_sizes, most);
    *error = 0;
    while (packets.used < enough && packets.count < most && out_size - packets.used >= MPQUIC_MESSAGE) {
        ssize_t size = read(file, out + packets.used, MPQUIC_MESSAGE);
        if (size < 0) {
            *error = errno;
            break;
        }
        if (list_add(&packets, (size_t)size) == NULL)
            return -1;
    }
    return (int)packets.count;
}

int mpquic_write(int file, const uint8_t *data, size_t size, const uint32_t *sizes, uint32_t count, int *error)
{
    struct batch in = batch_of(data, size, sizes, count);
    struct span item;
    *error = 0;
    while (batch_next(&in, &item))
        if (write(file, item.at, item.size) < 0) {
            *error = errno;
            return (int)in.next - 1;
        }
    return (int)in.next;
}
