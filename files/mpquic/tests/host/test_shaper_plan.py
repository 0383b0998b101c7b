# SPDX-License-Identifier: GPL-3.0-or-later
"""What links make of an interface, and the steps from what it has. No kernel."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mpquic import cli
from mpquic.config.fields import bind
from mpquic.core import lane
from mpquic.core import shaper as daemon_shaper
from mpquic.host.shaper import netlink, plan, sizes, text
from mpquic.host.shaper.document import Entry, Link
from mpquic.host.shaper.state import BFIFO, FQ_CODEL, TICK, HtbClass, Interface, Queue, TcState, Tree


def link(number=1, on="if:wan7", rate=20_000_000, *, default=True, shares=(30, 65)):
    inner = 0x100 * number
    entries = [
        Entry(name=f"c{place}", minor=inner + place + 1, priority=place, share=share)
        for place, share in enumerate(shares)
    ]
    if default:
        entries.append(Entry(name="rest", minor=inner + 0xFF, priority=7, share=5))
    return Link(name=f"mt{number}", on=bind(on), rate=rate, inner=inner, default=default, classes=tuple(entries))


def state(*interfaces, fq_codel=True, **addresses):
    found = interfaces or (Interface(7, "wan7"),)
    return TcState({item.name: item for item in found}, addresses, fq_codel)


def only(places):
    (place,) = places
    return place


def steps(links, found, **options):
    here = state(found, **options)
    place = only(plan.places(links, here))
    return plan.steps(place, plan.tree(links, plan.queue_kind(place, here)))


def texts(found):
    return [step.text for step in found]


def codes(found):
    return [step.problem.code for step in found if step.problem]


class Recorder:
    """Takes the calls of a plan instead of a kernel."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def played(found):
    recorder = Recorder()
    for step in found:
        step.do(recorder)
    return recorder.calls


C0 = "5880kbit up to 19600kbit, priority 0, burst 3028b and 9800b, quantum 2940b"

# --- numbers ----------------------------------------------------------------------------------------------------------


def test_the_daemon_uses_the_same_share_and_burst():
    assert sizes.RATE_SHARE == lane.RATE_SHARE
    assert sizes.BURST == daemon_shaper.BURST


def test_shares_are_of_what_is_used_and_what_is_over_may_be_borrowed():
    wanted = plan.tree([link()], FQ_CODEL)
    used = 20_000_000 * 98 // 100 // 8
    assert (wanted.classes[0x100].rate, wanted.classes[0x100].ceil) == (used, used)
    assert (wanted.classes[0x101].rate, wanted.classes[0x101].ceil) == (used * 30 // 100, used)
    assert [wanted.classes[minor].priority for minor in (0x101, 0x102, 0x1FF)] == [0, 1, 7]
    assert [item.parent for item in wanted.classes.values()] == [0, 0x100, 0x100, 0x100]
    assert wanted.default == 0x1FF
    assert sum(item.rate for item in wanted.classes.values() if item.parent) <= used


@pytest.mark.parametrize("rate", [32_000, 1_000_000, 20_000_000, 1_000_000_000, 100_000_000_000])
@pytest.mark.parametrize("share", [1, 5, 95])
def test_numbers_fit_the_kernel_and_hold_the_latency(rate, share):
    inner, leaf = sizes.inner(rate), sizes.leaf(rate, share, 0, 0x100)
    for item in (inner, leaf):
        assert item.rate >= 1
        assert max(item.burst, item.cburst) < 1 << 32
        # Two frames always fit, and nothing is deeper than that or 4 ms.
        octets = item.burst * TICK * item.rate
        assert octets >= 2 * sizes.FRAME
        assert octets <= max(2 * sizes.FRAME, 0.004 * item.rate) + 0.001 * item.rate
    # Below 1000 and above 200000 the kernel complains (sch_htb.c).
    assert 1000 <= leaf.quantum <= 200_000
    fifo = sizes.queue(BFIFO, rate, share)
    assert 65_536 < fifo.limit < 1 << 32
    codel = sizes.queue(FQ_CODEL, rate, share)
    assert codel.target >= 5000
    assert codel.target >= sizes.FRAME / leaf.rate * 1e6
    assert codel.interval - codel.target == 95_000
    assert max(codel.target, codel.interval) < 1 << 32
    assert codel.limit < 1 << 31


def test_without_default_unclassified_passes():
    assert plan.tree([link(default=False)], FQ_CODEL).default == 0


def test_two_links_share_an_interface():
    wanted = plan.tree([link(1, default=False), link(2, rate=5_000_000, default=False)], FQ_CODEL)
    assert sorted(wanted.classes) == [0x100, 0x101, 0x102, 0x200, 0x201, 0x202]
    assert wanted.classes[0x200].rate * 4 == wanted.classes[0x100].rate
    assert wanted.classes[0x201].parent == 0x200


@pytest.mark.parametrize(
    ("octets", "said"),
    [(2_450_000, "19600kbit"), (125_000_000, "1gbit"), (2_500_000, "20mbit"), (39, "312bit"), (0, "0bit")],
)
def test_rates_are_said_exactly(octets, said):
    assert text.rate(octets) == said


# --- places -----------------------------------------------------------------------------------------------------------


def test_an_address_is_looked_up():
    place = only(plan.places([link(on="203.0.113.10")], state(**{"203.0.113.10": "wan7"})))
    assert place.name == "wan7"
    assert place.problems == ()


@pytest.mark.parametrize(
    ("on", "code"),
    [("if:wan9", "interface_missing"), ("203.0.113.10", "address_missing"), ("2001:db8::1", "address_missing")],
)
def test_what_is_missing_is_a_problem_of_its_own(on, code):
    here = state(fq_codel=True)
    found = plan.places([link(1, on=on), link(2)], here)
    missing = next(place for place in found if place.interface is None)
    assert [problem.code for problem in missing.problems] == [code]
    assert plan.steps(missing, plan.tree(missing.links, FQ_CODEL)) == []
    other = next(place for place in found if place.name == "wan7")
    assert plan.steps(other, plan.tree(other.links, FQ_CODEL)) != []


def test_a_foreign_qdisc_is_left_alone():
    found = Interface(7, "wan7", foreign="htb 1:")
    place = only(plan.places([link()], state(found)))
    assert [problem.code for problem in place.problems] == ["foreign_qdisc"]
    assert "tc qdisc del dev wan7 root" in place.problems[0].message
    assert plan.steps(place, plan.tree(place.links, FQ_CODEL)) == []


def test_a_foreign_qdisc_where_nothing_is_wanted_is_nobodys_business():
    assert plan.places([], state(Interface(7, "wan7", foreign="htb 1:"))) == []


def test_two_defaults_that_only_the_address_brings_together():
    here = state(**{"203.0.113.10": "wan7"})
    place = only(plan.places([link(1), link(2, on="203.0.113.10")], here))
    assert [problem.code for problem in place.problems] == ["two_defaults"]
    assert plan.tree(place.links, FQ_CODEL).default == 0x1FF


# --- steps ------------------------------------------------------------------------------------------------------------


def test_from_nothing():
    found = steps([link()], Interface(7, "wan7"))
    assert codes(found) == ["shaper_missing"]
    assert [call[0] for call in played(found)] == ["add_root", "put_class"] + ["put_class", "put_queue"] * 3
    assert played(found)[0] == ("add_root", 7, 0x1FF)
    assert texts(found)[:4] == [
        "wan7: shape, unclassified to mt1 class rest (6d71:1ff)",
        "wan7: link mt1 (6d71:100): add with 19600kbit, burst 9800b",
        f"wan7: mt1 class c0 (6d71:101): add with {C0}",
        "wan7: mt1 class c0 (6d71:101): queue fq_codel of 490000b, target 5ms, interval 100ms",
    ]


@pytest.fixture
def built():
    return Interface(7, "wan7", tree=plan.tree([link()], FQ_CODEL))


def test_nothing_differs_nothing_is_done(built):
    assert steps([link()], built) == []


def test_a_rate_is_changed_in_place(built):
    found = steps([link(rate=10_000_000)], built)
    assert set(codes(found)) == {"class_wrong", "queue_wrong"}
    assert {call[0] for call in played(found)} == {"put_class", "put_queue"}


def test_a_priority_alone_is_one_step(built):
    changed = link()
    first = replace_entry(changed, 0, priority=3)
    found = steps([first], built)
    assert codes(found) == ["class_wrong"]
    assert [call[:3] for call in played(found)] == [("put_class", 7, 0x101)]


def replace_entry(found, place, **changes):
    entries = list(found.classes)
    entries[place] = entries[place].model_copy(update=changes)
    return found.model_copy(update={"classes": tuple(entries)})


def test_a_class_more_and_a_class_less(built):
    more = steps([link(shares=(30, 60, 5))], built)
    assert ("put_class", 7, 0x103) in [call[:3] for call in played(more)]
    less = steps([link(shares=(30,))], built)
    assert played(less)[-1] == ("delete_class", 7, 0x102)
    assert codes(less) == ["stale_class"]


def test_a_link_less_goes_leaves_first():
    both = [link(1, default=False), link(2, default=False)]
    found = steps(both[:1], Interface(7, "wan7", tree=plan.tree(both, FQ_CODEL)))
    assert [call[2] for call in played(found)] == [0x202, 0x201, 0x200]


def test_a_queue_of_another_kind_is_exchanged(built):
    built.tree.queues[0x101] = Queue("netem")
    found = steps([link()], built)
    assert codes(found) == ["queue_wrong"]
    assert [call[:3] for call in played(found)] == [("delete_queue", 7, 0x101), ("put_queue", 7, 0x101)]


def test_a_missing_queue_is_added(built):
    del built.tree.queues[0x101]
    found = steps([link()], built)
    assert codes(found) == ["queue_wrong"]
    assert [call[:3] for call in played(found)] == [("put_queue", 7, 0x101)]


@pytest.mark.parametrize("change", ["default", "parent"])
def test_what_cannot_be_changed_is_built_anew(built, change):
    tree = built.tree
    if change == "default":
        tree = replace(tree, default=0)
    else:
        tree.classes[0x101] = replace(tree.classes[0x101], parent=0x200)
    found = steps([link()], replace(built, tree=tree))
    assert codes(found) == ["shaper_wrong"]
    assert [call[0] for call in played(found)][:2] == ["delete_root", "add_root"]


def test_nothing_wanted_removes_ours(built):
    place = only(plan.places([], state(built)))
    found = plan.steps(place, plan.tree(place.links, FQ_CODEL))
    assert codes(found) == ["stale_shaper"]
    assert played(found) == [("delete_root", 7)]


@pytest.mark.parametrize(
    ("has", "there", "kind"),
    [(True, BFIFO, FQ_CODEL), (False, FQ_CODEL, BFIFO), (None, BFIFO, BFIFO), (None, FQ_CODEL, FQ_CODEL)],
)
def test_the_kernel_decides_the_kind_of_queue(has, there, kind):
    found = Interface(7, "wan7", tree=plan.tree([link()], there))
    here = state(found, fq_codel=has)
    assert plan.queue_kind(only(plan.places([link()], here)), here) == kind


def test_a_view_names_classes_and_shows_every_difference(built):
    seen = text.view(built.tree, [link()])
    assert seen["unclassified"] == "mt1 class rest (6d71:1ff)"
    assert seen["link mt1 (6d71:100)"] == "19600kbit, burst 9800b"
    assert seen["mt1 class c0 (6d71:101)"].startswith("5880kbit up to 19600kbit, priority 0, ")
    assert "class 6d71:101" in text.view(built.tree, [])
    for name in ("rate", "ceil", "burst", "cburst", "quantum", "priority"):
        classes = dict(built.tree.classes)
        classes[0x101] = replace(classes[0x101], **{name: getattr(classes[0x101], name) + 1000})
        assert text.view(Tree(0x1FF, classes, built.tree.queues), [link()]) != seen, name
    assert text.view(None, []) is None
    assert text.view(Tree(0, {0x100: HtbClass(0, 1, 1, 1, 1)}), [])["unclassified"] == "not shaped"


def test_a_host_without_a_shaper_says_so(monkeypatch, capsys, tmp_path):
    kernel = contextlib.nullcontext(SimpleNamespace(read=state))
    monkeypatch.setattr(netlink, "TcKernel", lambda: kernel)
    assert cli.main(["shaper", "check", "--file", str(tmp_path / "none.yaml")]) == 0
    assert capsys.readouterr().out.splitlines() == ["[OK]   no shaper, and none is wanted", "degraded=0"]
