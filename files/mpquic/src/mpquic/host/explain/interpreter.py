# SPDX-License-Identifier: GPL-3.0-or-later
"""What the live nft table does with a packet: an interpreter of the statements that a classifier is made of.

What it does not understand it says, and takes the rule for one that does not match.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpquic.host.explain import values
from mpquic.host.explain.fields import AbsentError, NotGivenError, Reader
from mpquic.host.explain.ruleset import NftRule
from mpquic.host.explain.values import FLAGS, Kind, NotUnderstoodError

if TYPE_CHECKING:
    from mpquic.host.explain.packet import Packet
    from mpquic.host.explain.ruleset import Chain, Table

NEW, ESTABLISHED = 8, 2
"""Connection states as nft numbers them."""

_NO_EFFECT = {"counter", "log", "comment"}
_VERDICTS = {"accept", "drop", "reject", "return", "masquerade"}
_RETURN = "return"
_POLICY = NftRule((), None, "policy drop")


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that did something; `effect` says what."""

    chain: str
    rule: NftRule
    effect: str


@dataclass(slots=True)
class Walk:
    """A packet on its way through the table: what it carries now, and what happened to it.

    `ct_state` and `ct_mark` are the flow's; `direction` is 0 for its first and 1 for its second side. `doubts` are
    rules that were not understood, `missing` those that ask for what was not given; both were taken for no match.
    """

    table: Table
    packet: Packet
    mark: int = 0
    ct_mark: int = 0
    ct_state: int = NEW
    direction: int = 0
    oif: str | None = None
    dscp: int = field(init=False)
    classid: int | None = None
    masqueraded: bool = False
    fired: list[Fired] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with what the packet has."""
        self.dscp = self.packet.dscp

    def enter(self, hook: str) -> Fired | None:
        """Let the packet through the chains of a hook; return what dropped it, None when it passed."""
        for chain in self.table.hooked(hook):
            # Only the first packet of a flow is asked for its translation.
            if chain.kind == "nat" and self.ct_state != NEW:
                continue
            end = self._chain(chain)
            if end in {"drop", "reject"}:
                return self.fired[-1]
            if end is None and chain.policy == "drop":
                return Fired(chain.name, _POLICY, "drop")
        return None

    def _chain(self, chain: Chain) -> str | None:
        """Return the verdict that ended the chain, None after its last rule or a return."""
        for rule in chain.rules:
            end = self._rule(chain, rule)
            if end is not None:
                return None if end == _RETURN else end
        return None

    def _rule(self, chain: Chain, rule: NftRule) -> str | None:
        """Return the verdict that ends the chain, None to go on with the next rule."""
        doubts: list[tuple[list[str], str]] = []
        for statement in rule.statements:
            name, body = next(iter(statement.items()))
            if doubts and name not in {"match", *_NO_EFFECT}:
                break
            try:
                if (end := self._act(chain, rule, name, body)) is not None:
                    return end
            except AbsentError:
                return None
            except NotGivenError as error:
                doubts.append((self.missing, f"{chain.name}: {rule.text}: asks for {error}, which was not given"))
            except NotUnderstoodError as error:
                doubts.append((self.doubts, f"not understood: {error}, in {chain.name}: {rule.text}"))
        for known, text in doubts:
            if text not in known:
                known.append(text)
        return None

    def _match(self, body: dict[str, Any]) -> bool:
        operator, right = body["op"], body["right"]
        kind, value = Reader(self).value(body["left"])
        if operator == "in" and kind in FLAGS and not (isinstance(right, dict) and "set" in right):
            wanted = values.constant(kind, right)
            return bool(value & wanted)  # type: ignore[operator]
        if operator in {"==", "in", "!="}:
            return values.holds(kind, value, right, self.table.sets) is (operator != "!=")
        known = values.constant(kind, right)
        if operator in {"<", "<="}:
            return bool(value < known or (operator == "<=" and value == known))  # type: ignore[operator]
        if operator in {">", ">="}:
            return bool(value > known or (operator == ">=" and value == known))  # type: ignore[operator]
        raise NotUnderstoodError(f"the operator {operator}")

    def _act(self, chain: Chain, rule: NftRule, name: str, body: Any) -> str | None:
        """Do what a statement does; return the verdict that ends the chain, None to go on in the rule.

        Raises:
            AbsentError: the rule ends here, for this packet it is not.

        """
        if name == "match" and not self._match(body):
            raise AbsentError
        if name == "mangle" and (effect := self._mangle(body)) is not None:
            self.fired.append(Fired(chain.name, rule, effect))
        if name in {"match", "mangle", *_NO_EFFECT}:
            return None
        if name == "vmap":
            kind, value = Reader(self).value(body["key"])
            found = values.looked_up(kind, value, body["data"], self.table.sets)
            if found is None:
                raise AbsentError
            name, body = next(iter(found.items()))
        return self._verdict(chain, rule, name, body)

    def _verdict(self, chain: Chain, rule: NftRule, name: str, body: Any) -> str | None:
        if name == "continue":
            return None
        if name in {"jump", "goto"}:
            return self._branch(chain, rule, name, body["target"])
        if name not in _VERDICTS:
            raise NotUnderstoodError(f"the statement {name}")
        self.fired.append(Fired(chain.name, rule, name))
        if name == "masquerade":
            self.masqueraded = True
            return "accept"
        return name

    def _branch(self, chain: Chain, rule: NftRule, name: str, target: str) -> str | None:
        if target not in self.table.chains:
            raise NotUnderstoodError(f"the chain {target}")
        self.fired.append(Fired(chain.name, rule, f"{name} {target}"))
        end = self._chain(self.table.chains[target])
        # After a goto the chain that it stands in is over as well.
        return _RETURN if end is None and name == "goto" else end

    def _mangle(self, body: dict[str, Any]) -> str | None:
        """Change what the packet carries; return how, None when that has no meaning for its way."""
        key = body["key"]
        if "tcp option" in key or key == {"meta": {"key": "nftrace"}}:
            return None
        if key == {"meta": {"key": "mark"}}:
            self.mark = self._assigned(Kind.NUMBER, body["value"])
            return f"mark {self.mark:#010x}"
        if key == {"ct": {"key": "mark"}}:
            self.ct_mark = self._assigned(Kind.NUMBER, body["value"])
            return f"flow mark {self.ct_mark:#010x}"
        if key == {"meta": {"key": "priority"}}:
            self.classid = self._assigned(Kind.CLASSID, body["value"])
            return f"tc class {self.classid >> 16:x}:{self.classid & 0xFFFF:x}"
        if "payload" in key and key["payload"].get("field") == "dscp":
            if key["payload"]["protocol"] != ("ip" if self.packet.version == 4 else "ip6"):
                raise AbsentError
            self.dscp = self._assigned(Kind.DSCP, body["value"])
            return f"dscp {self.dscp}"
        raise NotUnderstoodError(f"a change of {key!r}")

    def _assigned(self, kind: Kind, raw: Any) -> int:
        value = Reader(self).value(raw)[1] if isinstance(raw, dict) else values.constant(kind, raw)
        assert isinstance(value, int)
        return value & 0xFFFFFFFF
