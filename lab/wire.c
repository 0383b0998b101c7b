// SPDX-License-Identifier: GPL-3.0-or-later
// The wire of one WAN: two TAP devices in two network namespaces, and between them a rate, a delay and losses.
//
// usage: wire SETTINGS COUNTERS NETNS-A NIC-A NETNS-B NIC-B
//
// "Up" is from A to B. SETTINGS has one "key value" per line and is read at the start and on SIGHUP:
//   rate_up, rate_down  Mbit/s of Ethernet frames, 0: unlimited
//   delay, jitter       ms each way; packets keep their order
//   loss                percent, random, each way
//   limit               bytes that may wait for the rate, each way
//   cut                 1: everything vanishes in the middle of the path, carrier stays
// COUNTERS is a file of 64-bit words, shared memory: the number of times SETTINGS was read, then per direction those of
// struct counters. The devices live as long as this process.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 9216, RING = 1 << 16, BATCH = 64 };
static const uint64_t MS = 1000000, SECOND = 1000000000, JITTER_HOLD = 10 * 1000000;

struct counters { uint64_t packets, bytes, lost, overflowed, cut; };
struct shared { uint64_t settings_read; struct counters direction[2]; };
struct settings { double rate[2], delay, jitter, loss, limit, cut; };
struct frame { uint64_t due; uint32_t length; unsigned char *bytes; };
struct direction {
    int in, out;
    struct counters *counters;
    uint64_t rate_free;      // when the last accepted frame has left the sender's queue
    uint64_t last_due;       // no frame overtakes this one
    uint64_t jitter_until;   // the offset is drawn anew from then on
    double jitter;           // -1..1
    uint64_t head, tail;     // frames in flight, in order
    struct frame ring[RING];
};

static struct direction directions[2];
static struct settings settings;
static volatile sig_atomic_t reload = 1, ended;

static void on_signal(int number) {
    if (number == SIGHUP) reload = 1; else ended = 1;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void read_settings(const char *path) {
    struct { const char *key; double *value; } keys[] = {
        {"rate_up", &settings.rate[0]}, {"rate_down", &settings.rate[1]}, {"delay", &settings.delay},
        {"jitter", &settings.jitter}, {"loss", &settings.loss}, {"limit", &settings.limit}, {"cut", &settings.cut},
    };
    FILE *file = fopen(path, "r");
    char key[32];
    double value;
    if (!file) err(1, "%s", path);
    while (fscanf(file, "%31s %lf", key, &value) == 2) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (!strcmp(key, keys[i].key)) *keys[i].value = value;
    }
    fclose(file);
}

static int open_tap(const char *netns, const char *nic) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open(netns, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) err(1, "%s", netns);
    close(fd);
    strncpy(request.ifr_name, nic, IFNAMSIZ - 1);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) err(1, "%s", nic);
    return fd;
}

// Take one frame into the path, or lose it.
static void accept_frame(struct direction *d, double rate, const unsigned char *bytes, uint32_t length, uint64_t t) {
    if (settings.cut) { d->counters->cut++; return; }
    if (drand48() * 100 < settings.loss) { d->counters->lost++; return; }
    uint64_t sent = t;
    if (d->rate_free > t && rate > 0) sent = d->rate_free;
    if ((sent - t) * rate / 8000 > settings.limit || d->tail - d->head == RING) { d->counters->overflowed++; return; }
    if (rate > 0) sent += length * 8000 / rate;
    d->rate_free = sent;
    // The offset holds for a while, as on a radio link: drawn per packet, order would turn it into a constant delay.
    if (t >= d->jitter_until) {
        d->jitter = drand48() * 2 - 1;
        d->jitter_until = t + JITTER_HOLD;
    }
    double delay = settings.delay + d->jitter * settings.jitter;
    uint64_t due = sent + (delay > 0 ? (uint64_t)(delay * MS) : 0);
    if (due < d->last_due) due = d->last_due;
    d->last_due = due;
    struct frame *frame = &d->ring[d->tail % RING];
    *frame = (struct frame){due, length, malloc(length)};
    if (!frame->bytes) err(1, "frame");
    memcpy(frame->bytes, bytes, length);
    d->tail++;
}

// Deliver what is due.
static void deliver(struct direction *d, uint64_t t) {
    for (; d->head != d->tail && d->ring[d->head % RING].due <= t; d->head++) {
        struct frame *frame = &d->ring[d->head % RING];
        if (settings.cut) {
            d->counters->cut++;
        } else if (write(d->out, frame->bytes, frame->length) == (ssize_t)frame->length) {
            d->counters->packets++;
            d->counters->bytes += frame->length;
        }
        free(frame->bytes);
    }
}

int main(int argc, char **argv) {
    static unsigned char buffer[FRAME_MAX];
    if (argc != 7) errx(64, "usage: wire SETTINGS COUNTERS NETNS-A NIC-A NETNS-B NIC-B");
    int file = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || ftruncate(file, sizeof(struct shared)) < 0) err(1, "%s", argv[2]);
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) err(1, "%s", argv[2]);
    int a = open_tap(argv[3], argv[4]), b = open_tap(argv[5], argv[6]);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), poll = epoll_create1(EPOLL_CLOEXEC);
    int watched[] = {a, b, timer};
    for (int i = 0; i < 3; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, watched[i], &event) < 0) err(1, "epoll");
    }
    for (int i = 0; i < 2; i++) {
        directions[i].in = i ? b : a;
        directions[i].out = i ? a : b;
        directions[i].counters = &shared->direction[i];
    }
    // Signals come only while it waits: one that came just before the wait would be answered late.
    sigset_t held, while_waiting;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGTERM);
    sigprocmask(SIG_BLOCK, &held, &while_waiting);
    signal(SIGHUP, on_signal);
    signal(SIGTERM, on_signal);
    srand48(now());
    while (!ended) {
        if (reload) {
            reload = 0;
            read_settings(argv[1]);
            __atomic_fetch_add(&shared->settings_read, 1, __ATOMIC_RELEASE);
        }
        for (int i = 0; i < 2; i++) {
            ssize_t length;
            for (int n = 0; n < BATCH && (length = read(directions[i].in, buffer, sizeof buffer)) > 0; n++)
                accept_frame(&directions[i], settings.rate[i], buffer, length, now());
        }
        uint64_t next = 0;
        for (int i = 0; i < 2; i++) {
            struct direction *d = &directions[i];
            deliver(d, now());
            if (d->head != d->tail && (!next || d->ring[d->head % RING].due < next)) next = d->ring[d->head % RING].due;
        }
        struct itimerspec wake = {.it_value = {.tv_sec = next / SECOND, .tv_nsec = next % SECOND}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &wake, NULL);
        struct epoll_event events[3];
        epoll_pwait(poll, events, 3, -1, &while_waiting);
    }
    return 0;
}
