# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows for the tests, and what became of them; run inside the lab's places.

usage: traffic.py serve ADDRESS...
       traffic.py calls ADDRESS PORT DSCP SECONDS     100 packets a second that are answered, until SIGTERM: prints JSON
       traffic.py flood ADDRESS PORT MBITS SECONDS    so much each way: prints JSON
       traffic.py load ADDRESS PORT BYTES             a TCP connection, so much each way: prints JSON
       traffic.py talk ADDRESS PORT SECONDS           a TCP connection, a word every 20 ms that is answered: prints JSON
       traffic.py many ADDRESS PORT FLOWS PACKETS FROM
                                                      UDP flows from that port on, so many packets of each: prints JSON

The server answers calls packet by packet, floods back at the rate that it is asked for, and sends back what TCP brings.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

CALLS = (5060, 10000)
FLOODS = (5001, 5201)
LOADS = (443, 5001, 5500, 6000)
SIZE = 1300
CALL = struct.Struct("!Idd")
FLOOD = struct.Struct("!ddQ")


def udp(address: str) -> socket.socket:
    """Open a UDP socket of the address's family that holds a second of a flood."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    return opened


def mark(opened: socket.socket, dscp: int) -> None:
    """Set the DSCP of what a socket sends."""
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(addresses: list[str]) -> None:
    """Answer until the process is ended: calls from a process of their own, which no flood keeps from answering."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ready = multiprocessing.Event()
    multiprocessing.Process(target=serve_bulk, args=(addresses, ready), daemon=True).start()
    for address in addresses:
        for port in CALLS:
            threading.Thread(target=answer_calls, args=(address, port), daemon=True).start()
    if not ready.wait(10):
        sys.exit("no flood is answered")
    say("ready")
    threading.Event().wait()


def serve_bulk(addresses: list[str], ready: Event) -> None:
    """Answer floods and TCP."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for address in addresses:
        for port in FLOODS:
            threading.Thread(target=answer_floods, args=(address, port), daemon=True).start()
        for port in LOADS:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listening = socket.create_server((address, port), family=family)
            threading.Thread(target=answer_loads, args=(listening,), daemon=True).start()
    ready.set()
    threading.Event().wait()


def answer_calls(address: str, port: int) -> None:
    """Send each packet back as it came, and as marked."""
    with udp(address) as opened:
        opened.bind((address, port))
        mark(opened, 46)
        while True:
            data, peer = opened.recvfrom(2048)
            opened.sendto(data, peer)


def answer_floods(address: str, port: int) -> None:
    """Count what comes; flood back from the first packet on, as long as it says."""
    with udp(address) as opened:
        opened.bind((address, port))
        counts: dict[object, int] = {}
        while True:
            data, peer = opened.recvfrom(2048)
            if data == b"count":
                opened.sendto(str(counts.get(peer, 0)).encode(), peer)
                continue
            if peer not in counts:
                rate, seconds, _ = FLOOD.unpack_from(data)
                threading.Thread(target=flood_to, args=(opened, peer, rate, seconds), daemon=True).start()
            counts[peer] = counts.get(peer, 0) + 1


def flood_to(opened: socket.socket, peer: object, rate: float, seconds: float) -> int:
    """Send at a rate (Mbit/s), a millisecond's packets at a time; return how many."""
    interval = SIZE * 8 / (rate * 1e6)
    begin = time.monotonic()
    sent = 0
    while (now := time.monotonic() - begin) < seconds:
        while sent * interval < now:
            opened.sendto(FLOOD.pack(rate, seconds, sent).ljust(SIZE, b"\0"), peer)  # type: ignore[call-overload]
            sent += 1
        time.sleep(0.002)
    return sent


def answer_loads(listening: socket.socket) -> None:
    """Send back what comes, connection by connection."""
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection: socket.socket) -> None:
    """Send back what comes until it ends."""
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def calls(address: str, port: int, dscp: int, seconds: float) -> dict[str, object]:
    """Send 100 packets a second until the end or SIGTERM; return how many, how many were lost, round trips in ms."""
    trips: dict[int, float] = {}
    with udp(address) as opened, selectors.DefaultSelector() as ready:
        mark(opened, dscp)
        opened.connect((address, port))
        opened.settimeout(0)
        ready.register(opened, selectors.EVENT_READ)
        stopped: list[float] = []
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(time.monotonic()))
        begin = time.monotonic()
        sent, count, end = 0, round(seconds * 100), begin + seconds
        while (now := time.monotonic()) < end + 1 and len(trips) < count:
            if stopped:
                count, end = sent, min(end, stopped[0])
            if sent < count and now >= begin + sent / 100:
                opened.send(CALL.pack(sent, now, 0).ljust(172, b"\0"))
                sent += 1
            wait = begin + sent / 100 - now if sent < count else end + 1 - now
            if ready.select(max(0, wait)):
                number, then, _ = CALL.unpack_from(opened.recv(2048))
                trips[number] = (time.monotonic() - then) * 1000
        local = opened.getsockname()[1]
    ordered = sorted(trips.values()) or [float("inf")]
    middle, late = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    lost = sent - len(trips)
    return {"port": local, "sent": sent, "lost": lost, "median": middle, "p99": late, "max": ordered[-1]}


def flood(address: str, port: int, rate: float, seconds: float) -> dict[str, object]:
    """Flood both ways; return packets sent, those that arrived, and those that came back."""
    with udp(address) as opened:
        opened.connect((address, port))
        back = 0
        ended = threading.Event()

        def receive() -> None:
            nonlocal back
            opened.settimeout(0.2)
            while not ended.is_set():
                try:
                    back += len(opened.recv(2048)) == SIZE
                except TimeoutError:
                    continue

        receiver = threading.Thread(target=receive)
        receiver.start()
        sent = flood_to(opened, (address, port), rate, seconds)
        time.sleep(0.7)
        ended.set()
        receiver.join()
        opened.settimeout(1)
        arrived = None
        for _ in range(5):
            opened.send(b"count")
            try:
                arrived = int(opened.recv(2048)[:20])
                break
            except (TimeoutError, ValueError):
                continue
        return {"port": opened.getsockname()[1], "sent": sent, "arrived": arrived, "back": back}


def talk(address: str, port: int, seconds: float) -> dict[str, object]:
    """Say a word over TCP every 20 ms; return how many were said and came back, and the longest silence in ms."""
    with socket.create_connection((address, port), 5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = round(seconds * 50)

        def speak() -> None:
            begin = time.monotonic()
            for number in range(count):
                time.sleep(max(0.0, begin + number / 50 - time.monotonic()))
                connection.sendall(number.to_bytes(8, "big"))

        speaker = threading.Thread(target=speak)
        speaker.start()
        connection.settimeout(20)
        back, silence, last = 0, 0.0, time.monotonic()
        while back < 8 * count and (data := connection.recv(65536)):
            back += len(data)
            silence, last = max(silence, time.monotonic() - last), time.monotonic()
        speaker.join()
        return {"said": count, "back": back // 8, "silence": silence * 1000}


def many(address: str, port: int, flows: int, packets: int, first: int) -> dict[str, object]:
    """Send some packets of each of many flows, 1000 a second in all; return how many were sent and came back."""
    back = 0
    with contextlib.ExitStack() as open_until, selectors.DefaultSelector() as ready:
        sockets = [open_until.enter_context(udp(address)) for _ in range(flows)]
        for number, opened in enumerate(sockets):
            opened.bind(("", first + number))
            opened.connect((address, port))
            opened.settimeout(0)
            ready.register(opened, selectors.EVENT_READ)
        begin, sent, wanted = time.monotonic(), 0, flows * packets
        end = begin + wanted / 1000 + 2
        while back < wanted and (now := time.monotonic()) < end:
            if sent < wanted and now >= begin + sent / 1000:
                sockets[sent % flows].send(bytes(200))
                sent += 1
            for key, _ in ready.select(0 if sent < wanted else end - now):
                back += len(key.fileobj.recv(2048)) == 200  # type: ignore[union-attr]
    return {"sent": sent, "back": back}


def load(address: str, port: int, size: int) -> dict[str, object]:
    """Send so much over TCP and take it back; return how much came back."""
    with socket.create_connection((address, port), 5) as connection:
        connection.settimeout(20)
        local = connection.getsockname()[1]

        def send() -> None:
            connection.sendall(bytes(size))
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        back = 0
        while data := connection.recv(65536):
            back += len(data)
        sender.join()
        return {"port": local, "back": back}


def main(argv: list[str]) -> None:
    """Run."""
    match argv:
        case ["serve", *addresses]:
            serve(addresses)
        case ["calls", address, port, dscp, seconds]:
            say(json.dumps(calls(address, int(port), int(dscp), float(seconds))))
        case ["flood", address, port, rate, seconds]:
            say(json.dumps(flood(address, int(port), float(rate), float(seconds))))
        case ["talk", address, port, seconds]:
            say(json.dumps(talk(address, int(port), float(seconds))))
        case ["many", address, port, flows, packets, first]:
            say(json.dumps(many(address, int(port), int(flows), int(packets), int(first))))
        case ["load", address, port, size]:
            say(json.dumps(load(address, int(port), int(size))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
