# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stranger takes away comes back by itself and at once, and no packet of a LAN leaves a WAN meanwhile."""

from __future__ import annotations

import json
import sys
import time

import pytest
from conftest import TUNNELS, WEB, all_up, capture, out, run, start, unwatched, wait_for

#: Seconds. On a quiet machine a repair takes a few hundredths of a second; this is for one that is busy.
PATIENCE = 3.0

#: What a stranger does on a host, and how to know on that host that what is ours is there again.
RULE = "ip rule show | grep -q '^504:.*iif enp6s23 lookup 45004'"
ROUTE = "ip route show table 45004 | grep -q 'default dev mpq4'"
STANDING = "ip route show table 45004 | grep -q 'unreachable default'"
GUARD = "nft list chain inet mpquic guard | grep -q mpq4"
NAT = "nft list chain inet mpquic sources | grep -q masquerade"
BACK = "ip route show | grep -q '172.16.4.0/30 dev mpq4'"
CASES = {
    "rule": ("client1", "ip rule del priority 504", RULE),
    "route": ("client1", "ip route del default dev mpq4 table 45004", ROUTE),
    "standing route": ("client1", "ip route del unreachable default table 45004", STANDING),
    "table flushed": ("client1", "ip route flush table 45004", f"{ROUTE} && {STANDING}"),
    "TUN": ("client1", "ip link del mpq4", ROUTE),
    "TUN down": ("client1", "ip link set mpq4 down", ROUTE),
    "nft table": ("client1", "nft delete table inet mpquic", GUARD),
    "nft rule": ("client1", "nft flush chain inet mpquic guard", GUARD),
    "nft chain": ("client1", "nft 'flush chain inet mpquic guard; delete chain inet mpquic guard'", GUARD),
    "forwarding": ("client1", "sysctl -q net.ipv4.ip_forward=0", "grep -q 1 /proc/sys/net/ipv4/ip_forward"),
    "guard and rule at once": (
        "client1",
        "nft delete table inet mpquic; ip rule del priority 504",
        f"{GUARD} && {RULE}",
    ),
    "route back": ("vps1", "ip route del 172.16.4.0/30 dev mpq4", BACK),
    "TUN of the VPS": ("vps1", "ip link del mpq4", BACK),
    "nft table of the VPS": ("vps1", "nft delete table inet mpquic", NAT),
    "forwarding of the VPS": ("vps1", "sysctl -q net.ipv4.ip_forward=0", "grep -q 1 /proc/sys/net/ipv4/ip_forward"),
}
#: Flushes take what belongs to others, too; `SITE` brings that back.
FLUSHES = {
    "nft flush ruleset": ("nft flush ruleset", GUARD),
    "ip rule flush": ("ip rule flush", f"{RULE} && ip rule show | grep -q 'lookup main'"),
    "both at once": ("nft flush ruleset; ip rule flush", f"{GUARD} && {RULE}"),
}
SITE = "ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default; systemctl restart nftables"
RECONFIGURE = "networkctl reconfigure $(ls /sys/class/net | grep ^enp)"


@pytest.fixture(scope="module", autouse=True)
def _as_after_a_boot():
    """The settings that tell systemd-networkd to leave ours alone count from its next start."""
    out("client1", "systemctl restart systemd-networkd")


def seconds_until(host: str, event: str, condition: str) -> float:
    """Do it on the host and poll there; return the seconds from the event on."""
    script = (
        f"begin=$(date +%s%N); {event}; for i in $(seq 1000); do if {condition}; then "
        "echo $(( ($(date +%s%N) - begin) / 1000000 )); exit; fi; sleep 0.01; done; exit 1"
    )
    done = run(host, script, check=False)
    assert done.returncode == 0, f"{event}: not repaired: {out(host, 'journalctl -u mpquic-watch -n 20 --no-pager')}"
    return int(done.stdout) / 1000


@pytest.fixture
def say(capsys):
    """Return what writes a line into the output of a run, whether the test passes or not."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line} ")

    return say


def leaks(event: str, condition: str, host: str = "client1") -> tuple[float, list[str]]:
    """Have LAN 4 send all the time; return how long the repair took, and what of the LAN was seen on a WAN."""
    sender = start("lan4", f"ping -q -i 0.01 -w 6 {WEB}")
    with capture() as seen:
        time.sleep(0.5)
        took = seconds_until(host, event, condition)
        sender.wait(timeout=20)
    return took, [line for wan in TUNNELS for line in seen.plain(wan)]


def settled() -> bool:
    """Whether every LAN has its way, and every host is content with itself."""
    return all_up() and all(run(host, "mpquic routing check all").returncode == 0 for host in ("client1", "vps1"))


@pytest.mark.parametrize("case", CASES)
def test_it_is_repaired_at_once_and_nothing_leaks(case, say):
    host, event, condition = CASES[case]
    wait_for(settled, seconds=30, what="all well before")
    took, plain = leaks(event, condition, host)
    say(f"{case}: repaired after {took:.3f} s")
    assert plain == []
    assert took < PATIENCE
    wait_for(settled, seconds=10, what="all well again")


@pytest.mark.parametrize("case", FLUSHES)
def test_a_flush_is_survived(case, say):
    """The tunnels as well: without the operator's rules they find their way by the main table."""
    event, condition = FLUSHES[case]
    wait_for(settled, seconds=30, what="all well before")
    try:
        took, plain = leaks(event, condition)
        say(f"{case}: repaired after {took:.3f} s")
        assert plain == []
        assert took < PATIENCE
        wait_for(all_up, seconds=10, what="all LANs have their way, whatever the operator does")
    finally:
        out("client1", f"{SITE} || true; {RECONFIGURE}")
    wait_for(settled, seconds=30, what="all well again")
    assert "32765:" not in out("client1", "ip rule show")


@pytest.mark.parametrize(
    "command",
    ["systemctl restart systemd-networkd", "networkctl reload", RECONFIGURE],
    ids=["restart", "reload", "reconfigure"],
)
def test_networkd_leaves_ours_alone(command):
    wait_for(settled, seconds=30, what="all well before")
    said = len(repairs())
    _took, plain = leaks(command, f"{RULE} && {ROUTE} && {STANDING}")
    assert plain == []
    wait_for(settled, seconds=30, what="all well again")
    assert repairs()[said:] == []


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_a_reboot_leaks_nothing_and_brings_all_back(host, say):
    wait_for(settled, seconds=30, what="all well before")
    with capture() as seen:
        sender = start("lan4", f"ping -q -i 0.02 -w 40 {WEB}")
        run(host, "systemctl reboot", check=False)
        wait_for(lambda: not all_up(), seconds=20, what="the host went down")
        took = wait_for(all_up, seconds=60, what="all LANs have their way")
        say(f"{host}: all tunnels {took:.1f} s after the host went down")
        sender.terminate()
        sender.wait(timeout=10)
    assert [line for wan in TUNNELS for line in seen.plain(wan)] == []
    wait_for(settled, seconds=30, what="all well")
    assert out(host, "systemctl is-active mpquic-watch").strip() == "active"


def test_what_was_repaired_is_said():
    out("client1", "ip rule del priority 504")
    wait_for(settled, seconds=10, what="all well again")
    last = repairs()[-1]
    assert (last["tunnel"], last["code"]) == ("4", "rule_missing")
    lines = out("client1", "journalctl -u mpquic-watch -o cat -n 20 --no-pager").splitlines()
    assert any(line.startswith('info repaired tunnel=4 what="rule_missing: ') and " in=" in line for line in lines)


def test_units_and_the_table_are_part_of_health():
    try:
        with unwatched("client1"):
            out("client1", "systemctl -q disable mpquic@5; nft flush chain inet mpquic clamp")
            out("client1", "echo '# edited' >>/etc/systemd/system/mpquic-keeper.service")
            found = run("client1", "mpquic health check --json", check=False)
        codes = {
            tunnel["id"]: {reason["code"] for reason in tunnel["reasons"]}
            for tunnel in json.loads(found.stdout)["tunnels"]
        }
        assert codes["5"] >= {"unit_disabled", "unit_differs", "nft_differs"}
        assert codes["4"] == {"unit_differs", "nft_differs"}
    finally:
        out("client1", "systemctl -q enable mpquic@5; sed -i '/^# edited$/d' /etc/systemd/system/mpquic-keeper.service")
        out("client1", "systemctl daemon-reload")
    wait_for(lambda: run("client1", "mpquic health check", check=False).returncode == 0, seconds=20, what="health")


def repairs() -> list[dict[str, object]]:
    """Return what the watch of the client has repaired, oldest first."""
    found = json.loads(run("client1", "mpquic watch status --json", check=False).stdout)["repairs"]
    assert isinstance(found, list)
    return found
