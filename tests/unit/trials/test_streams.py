# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trials import talk
from tests.trials.net import Quality
from tests.trials.outcome import Outcome, percentile, text
from tests.trials.probe import ARRIVED, RECORD, SENT
from tests.trials.streams import Probes, Stream

TRIALS = Path(__file__).resolve().parents[2] / "trials"


def stream(*arrivals):
    """Return 100 packets, one each 10 ms from 10.0 on, of which these arrived: number, time."""
    return Stream({number: 10 + number / 100 for number in range(100)}, list(arrivals))


def test_a_gap_is_counted_without_the_usual_one():
    found = stream(*[(number, 10 + number / 100) for number in range(100) if not 30 <= number < 50])
    assert found.gap(10.0, 10.95) == pytest.approx(0.20)
    # Nothing at all, and nothing at the end.
    assert stream().gap(10.0, 10.5) == pytest.approx(0.49)
    assert found.gap(10.6, 11.5) == pytest.approx(0.50)


def test_what_is_lost_doubled_and_out_of_order():
    found = stream((0, 10.0), (2, 10.02), (1, 10.03), (3, 10.04), (3, 10.05), (5, 10.06))
    assert (found.lost(10.0, 10.055), found.count(10.0, 10.055), found.lost(10.0, 11.5)) == (1, 6, 95)
    assert found.doubled() == 1
    assert found.reordered(10.0, 11.0) == 1
    assert found.reordered(10.05, 11.0) == 0


def test_records_of_both_ends_become_streams(tmp_path):
    logs = {role: tmp_path / role for role in ("client", "server")}
    logs["client"].write_bytes(RECORD.pack(SENT, 7000, 1, 5.0, 5.0) + RECORD.pack(ARRIVED, 7000, 9, 4.0, 5.5))
    # What is half written is read the next time.
    logs["server"].write_bytes(RECORD.pack(ARRIVED, 7000, 1, 5.0, 5.1) + b"\x00")
    streams = Probes(logs).streams()
    assert streams["client", 7000] == Stream({1: 5.0}, [(1, 5.1)])
    assert streams["server", 7000] == Stream({}, [(9, 5.5)])


def test_percentiles_are_of_the_nearest_rank():
    values = [float(number) for number in range(1, 21)]
    assert [percentile(values, share) for share in (0.05, 0.5, 0.95, 1.0)] == [1, 10, 19, 20]
    assert percentile([7.0], 0.95) == 7


def test_the_table_names_what_was_not_kept():
    good, bad = Outcome("a", {"ms": 12.3456, "n": 3}), Outcome("bcd")
    bad.expect(kept=True, promise="kept")
    bad.expect(kept=False, promise="not at all")
    assert text([good, bad]).splitlines() == ["a    ok      ms 12.3  n 3", "bcd  MISSED  ", "     not kept: not at all"]


def test_talk_tells_the_living_from_the_dead():
    """A connection that is reset is counted, and so is one with a wrong byte."""
    code = (
        "import sys; sys.argv = ['talk', 'call', '127.0.0.1', '3']; sys.path.insert(0, sys.path[0]);"
        f"sys.path.insert(0, {str(TRIALS)!r}); import talk; talk.PORT = int({{port}}); talk.call('127.0.0.1', 3)"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        line = [sys.executable, "-c", code.replace("{port}", str(port))]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            socks = [listener.accept()[0] for _index in range(3)]
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            good, wrong, reset = socks
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            reset.close()
            wrong.sendall(b"\xff" + wrong.recv(65536)[1:])
            end = time.monotonic() + 0.5
            good.settimeout(0.2)
            while time.monotonic() < end:
                good.sendall(good.recv(65536))
            process.terminate()
            try:
                while data := good.recv(65536):
                    good.sendall(data)
            except TimeoutError:
                pass
            found = json.loads(process.stdout.readline())
    assert found["alive"] == 1
    assert sorted(fault.partition(" ")[0] for fault in found["faults"]) == ["[Errno", "byte"]
    assert talk.PORT == 7100


def test_a_wire_is_described_as_the_lab_reads_it():
    source = (TRIALS.parents[1] / "lab" / "wire.c").read_text()
    for key in Quality.__dataclass_fields__:
        assert f'{{"{key}", &settings.' in source, key


@pytest.mark.parametrize(
    ("words", "code"), [(["--only", "no such trial"], 64), (["--list"], 0), (["--trials", "0"], 2)]
)
def test_the_command_line(words, code):
    line = [sys.executable, TRIALS, *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    assert done.returncode == code, done.stderr
    if code in {0, 64}:
        assert "blackhole-up-1ms-idle" in done.stdout.split()
