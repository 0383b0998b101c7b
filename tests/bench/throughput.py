# SPDX-License-Identifier: GPL-3.0-or-later
"""One TCP stream through one tunnel: mpquic against OpenVPN of the distribution, taking turns in one run.

Two namespaces and a veth pair. The veth segments UDP in software at the sender and the receiver may coalesce, which is
the nearest to a network card; a bare veth would carry superpackets whole and flatter whoever makes them. Both tunnels
have the same inner MTU. Absolute figures depend on the machine; the ratio is what to quote.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

A, B = "mpqbench-a", "mpqbench-b"
WIRE = {A: "10.99.0.1", B: "10.99.0.2"}
INNER = {A: "10.98.0.1", B: "10.98.0.2"}
MTU = 1300
MPQUIC = [sys.executable, "-m", "mpquic"]


def run(*command: str | Path) -> str:
    """Run a command and return its output; a failure ends the benchmark."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def inside(namespace: str, *command: str | Path) -> list[str]:
    """Return the command line that runs a command in a namespace."""
    return ["ip", "netns", "exec", namespace, *map(str, command)]


@contextlib.contextmanager
def wire() -> Iterator[None]:
    """Make the namespaces and the wire between them."""
    try:
        for name in (A, B):
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "wire", "netns", A, "type", "veth", "peer", "name", "wire", "netns", B)
        for name in (A, B):
            run("ip", "-n", name, "address", "add", f"{WIRE[name]}/24", "dev", "wire")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "wire", "up")
            offload = ["tx-udp-segmentation", "off", "gro", "on", "rx-udp-gro-forwarding", "on"]
            run(*inside(name, "ethtool", "-K", "wire", *offload))
        yield
    finally:
        for name in (A, B):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextlib.contextmanager
def processes(commands: list[list[str]], log: Path) -> Iterator[None]:
    """Run both ends of a tunnel."""
    with log.open("w") as output:
        running = [subprocess.Popen(command, stdout=output, stderr=output) for command in commands]
        try:
            begin = time.monotonic()
            while subprocess.run(
                inside(A, "ping", "-c1", "-W1", INNER[B]), check=False, capture_output=True
            ).returncode:
                if time.monotonic() - begin > 15:
                    sys.exit(f"the tunnel did not come up:\n{log.read_text()}")
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(10)


@contextlib.contextmanager
def mpquic(where: Path) -> Iterator[None]:
    """One level 1 tunnel."""
    identity = where / "identity"
    made = json.loads(run(*MPQUIC, "identity", "ensure", "--dir", identity, "--owner", "root", "--json"))
    common = {"remote_port": 45001, "tun_name": "mpqbench", "tun_mtu": MTU, "log_level": "error"}
    configs = {
        B: {
            "role": "server",
            "bind_ip": WIRE[B],
            "tls_cert_file": str(identity / "cert.pem"),
            "tls_key_file": str(identity / "key.pem"),
        },
        A: {"role": "client", "bind_ip": "if:wire", "remote_addr": WIRE[B], "tls_server_pin": made["fingerprint"]},
    }
    commands = []
    for name, config in configs.items():
        path = where / f"{name}.yaml"
        path.write_text(yaml.safe_dump(common | config | {"tun_cidr": f"{INNER[name]}/30"}))
        run(
            *inside(
                name, *MPQUIC, "tun", "ensure", "--name", "mpqbench", "--cidr", f"{INNER[name]}/30", "--mtu", str(MTU)
            )
        )
        commands.append(inside(name, *MPQUIC, "run", "--config", path, "--control", where / f"{name}.sock"))
    with processes(commands, where / "mpquic.log"):
        yield
    for name in configs:
        run("ip", "-n", name, "link", "delete", "mpqbench")


@contextlib.contextmanager
def openvpn(where: Path) -> Iterator[None]:
    """One OpenVPN tunnel with AES-128-GCM over UDP, peer to peer, in userspace as well."""
    commands = []
    fingerprints = {}
    for name in (A, B):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        (where / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (where / f"{name}.key").write_bytes(key.private_bytes(*encoding))
        fingerprints[name] = certificate.fingerprint(hashes.SHA256()).hex(":")
    for name, peer in ((B, A), (A, B)):
        options = [
            *("--dev", "tunbench", "--dev-type", "tun", "--ifconfig", INNER[name], INNER[peer], "--tun-mtu", str(MTU)),
            *(
                "--cert",
                where / f"{name}.crt",
                "--key",
                where / f"{name}.key",
                "--peer-fingerprint",
                fingerprints[peer],
            ),
            *("--proto", "udp4", "--port", "1194", "--data-ciphers", "AES-128-GCM", "--disable-dco", "--verb", "1"),
            *(("--tls-server", "--dh", "none") if name == B else ("--tls-client", "--remote", WIRE[B])),
        ]
        commands.append(inside(name, "openvpn", *options))
    with processes(commands, where / "openvpn.log"):
        yield


def megabits(seconds: int) -> float:
    """Return what one TCP stream from A to B receives, in Mbit/s."""
    server = subprocess.Popen(inside(B, "iperf3", "-s", "-1", "-B", INNER[B]), stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        result = json.loads(run(*inside(A, "iperf3", "-c", INNER[B], "-t", str(seconds), "-J")))
    finally:
        server.terminate()
        server.wait(5)
    return float(result["end"]["sum_received"]["bits_per_second"]) / 1e6


def main() -> int:
    """Measure, print a table, and fail when the ratio is below the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--floor", type=float, default=0.6, help="least ratio of mpquic to OpenVPN")
    args = parser.parse_args()
    peers: dict[str, Callable[[Path], contextlib.AbstractContextManager[None]]] = {"mpquic": mpquic, "openvpn": openvpn}
    results: dict[str, list[float]] = {name: [] for name in peers}
    with tempfile.TemporaryDirectory() as directory, wire():
        for number in range(args.rounds):
            for name, tunnel in peers.items():
                with tunnel(Path(directory)):
                    results[name].append(megabits(args.seconds))
                print(f"round {number + 1}: {name:8} {results[name][-1]:7.0f} Mbit/s", flush=True)
    medians = {name: statistics.median(values) for name, values in results.items()}
    ratio = medians["mpquic"] / medians["openvpn"]
    print(f"median: mpquic {medians['mpquic']:.0f}, openvpn {medians['openvpn']:.0f} Mbit/s, ratio {ratio:.2f}")
    return int(ratio < args.floor)


if __name__ == "__main__":
    sys.exit(main())
