# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines: SSH, packages, power, and what they cannot reach."""

import json
import subprocess

import pytest

pytestmark = pytest.mark.lab
HOSTS = ("client1", "vps1")


def ssh(lab, host, command):
    argv = ["ssh", "-F", str(lab.state / "ssh_config"), "-o", "BatchMode=yes", host, command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("host", HOSTS)
def test_ssh_reaches_a_debian_12_whose_systemd_runs(lab, host):
    done = ssh(lab, host, "hostname; systemctl is-system-running; . /etc/os-release; echo $VERSION_ID")
    assert done.stdout.split() == [host, "running", "12"], done.stderr


def test_a_second_up_changes_nothing(lab):
    before = lab.status()
    lab.run("up")
    after = lab.status()
    assert after["state"] == "up"
    assert [after["hosts"][host]["pid"] for host in HOSTS] == [before["hosts"][host]["pid"] for host in HOSTS]


def test_packages_come_by_the_proxy_and_nothing_else_does(lab):
    lab.sh("vps1", "apt-get update --error-on=any -qq")
    done = lab.sh("vps1", "curl -s -o /dev/null -w '%{http_code}' -x http://198.18.97.1:8888 http://192.0.2.1/")
    assert done.stdout == "403"


@pytest.mark.parametrize("place", ["client1", "vps1", "lan1", "isp1", "internet"])
def test_nothing_reaches_the_machine_below(lab, place):
    links = json.loads(subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, check=True).stdout)
    own = [
        entry["local"]
        for link in links
        for entry in link["addr_info"]
        if link["ifname"] not in ("lo", f"{lab.status()['name']}-br")
    ]
    assert own
    for address in own:
        assert lab.ping(place, address, count=1)[0] == 0


def test_the_management_network_leads_nowhere(lab):
    for host in HOSTS:
        assert lab.out(host, "ip route show table all dev mgmt0 | grep via || true") == ""


def leave_traces(lab):
    lab.sh(
        "client1",
        "ip tuntap add dev trace0 mode tun; ip rule add priority 7 to 192.0.2.77 lookup 77; "
        "ip route add unreachable default table 77; nft add table inet trace; echo kept >/root/trace; sync",
    )


def assert_booted(lab):
    """The site's own network is back, what was only in memory is gone, the disk is as it was."""
    assert lab.out("client1", "cat /root/trace") == "kept"
    assert "trace0" not in lab.out("client1", "ip -br link")
    assert "lookup 77" not in lab.out("client1", "ip rule")
    assert lab.out("client1", "ip route show table 77 2>/dev/null || true") == ""
    assert lab.out("client1", "nft list tables") == "table ip site_nat"
    assert lab.out("lan4", "curl -s -m 10 http://192.0.2.80/ip") == "198.51.100.4"


def test_a_crash_takes_the_power_and_start_brings_it_back(lab):
    leave_traces(lab)
    lab.run("crash", "client1")
    assert lab.status()["hosts"]["client1"]["state"] == "off"
    assert lab.ping("lan1", count=1)[0] == 0
    assert lab.sh("client1", "true", check=False).stderr == "lab: client1: is off\n"
    lab.run("start", "client1")
    assert lab.status()["state"] == "up"
    assert_booted(lab)


def test_a_reboot_from_inside_comes_back_by_itself(lab):
    leave_traces(lab)
    boot = lab.out("client1", "cat /proc/sys/kernel/random/boot_id")
    ssh(lab, "client1", "systemctl reboot")

    def is_back():
        now = ssh(lab, "client1", "cat /proc/sys/kernel/random/boot_id && systemctl is-system-running").stdout.split()
        return now[1:] == ["running"] and now[0] != boot

    lab.until(is_back)
    lab.run("start", "client1")  # waits for the WANs' addresses
    assert_booted(lab)


def test_stop_is_orderly(lab):
    lab.run("stop", "vps1")
    assert lab.status()["hosts"]["vps1"]["state"] == "off"
    lab.run("up")
    assert "systemd[1]: Shutting down." in lab.out("vps1", "journalctl -b -1 --no-pager")
