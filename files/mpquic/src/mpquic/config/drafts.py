# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a dataplane: its classes and classifiers one by one, before anything they name is looked up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import Field, ValidationError

from mpquic.config import explain
from mpquic.config.base import Model, Remembering
from mpquic.config.dataplane import NAME, Classifier, ClassNameField, DataplaneClass, class_name
from mpquic.config.errors import Findings, key_name, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Kind = TypeVar("_Kind", bound=Model)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, for messages about it: what the names of its keys begin with, and in which file."""

    prefix: str
    findings: Findings

    def __truediv__(self, key: str) -> Place:
        """Return the place of something below: a key, with a dot behind it if there is more below, or an index."""
        return replace(self, prefix=self.prefix + key)

    def error(self, text: str) -> None:
        """Say what is wrong here."""
        self.findings.errors.append(f"{self.prefix.rstrip('.')}: {text}")

    def warn(self, text: str) -> None:
        """Say what is strange here."""
        self.findings.warnings.append(f"{self.prefix.rstrip('.')}: {text}")


@dataclass(slots=True)
class Item(Generic[_Kind]):
    """A mapping, where it stands, and what is known of it: those of its keys that are right, or all when all are."""

    place: Place
    valid: dict[str, Any] = field(default_factory=dict)
    model: _Kind | None = None

    def read(self, kind: type[_Kind], raw: object) -> None:
        """Take what the file has at this place, and report what is wrong in it."""
        if not isinstance(raw, dict):
            self.place.error(f"found {quoted(raw)}, expected a mapping of {', '.join(explain.keys(kind))}")
            return
        try:
            self.model = kind.model_validate(raw, context=self.valid)
        except ValidationError as error:
            self.place.findings.errors += explain.lines(error, kind, self.place.prefix)


@dataclass(slots=True)
class Draft:
    """A dataplane as one file has it, or two."""

    #: The name of the class for all that no classifier wants, and where that is said; None if nobody says.
    default: tuple[str, Place] | None
    #: By their names in lower case, in the order of the file.
    classes: dict[str, Item[DataplaneClass]]
    classifiers: list[Item[Classifier]]


class Document(Remembering):
    """The outer mapping of a dataplane. What is in it is read later, so that a wrong part hides no other."""

    default_class: Annotated[ClassNameField | None, Field(description=f"the name of a class, {NAME}")] = None
    """The class of what no classifier takes; `default` if it is left out, which is then added."""
    classes: Annotated[dict[str, Any] | None, Field(description="a mapping of names to classes")] = None
    """The classes by their names; `{}` is one that does as the tunnel."""
    classifiers: Annotated[list[Any] | None, Field(description="a list of mappings of class, protocol, ...")] = None
    """The first that fits decides."""


def read(raw: object, place: Place) -> Draft:
    """Return what ``raw``, read at a place, holds, and report what is wrong in it."""
    document = Item[Document](place)
    document.read(Document, raw)
    named = document.valid.get("default_class")
    rules = document.valid.get("classifiers") or ()
    return Draft(
        None if named is None else (named, place / "default_class"),
        dict(_classes(document.valid.get("classes") or {}, place)),
        [_classifier(entry, place / f"classifiers[{index}].") for index, entry in enumerate(rules)],
    )


def joined(inline: Draft, other: Draft) -> Draft:
    """Return a draft of what ``other`` says, and else ``inline``, as the older implementation joined them.

    Classes by their names, the list of classifiers as a whole.
    """
    return Draft(
        other.default or inline.default,
        inline.classes | other.classes,
        other.classifiers or inline.classifiers,
    )


def _classes(raw: Mapping[str, Any], place: Place) -> Iterator[tuple[str, Item[DataplaneClass]]]:
    seen: set[str] = set()
    for key, entry in raw.items():
        here = place / f"classes.{key_name(key)}."
        try:
            name = class_name(key)
        except ValueError:
            here.error(f"found a class of this name, expected {NAME}")
            continue
        if name in seen:
            here.error(f"found a second class {name}, expected names that differ not only in case")
            continue
        seen.add(name)
        item = Item[DataplaneClass](here)
        item.read(DataplaneClass, {} if entry is None else _clamped(entry, here))
        yield name, item


def _clamped(raw: object, place: Place) -> object:
    """Return a class with a number of copies that there is, as the older implementation took it."""
    copies = raw.get("duplicate_copies") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(copies, int) or isinstance(copies, bool) or copies in {2, 3}:
        return raw
    taken = 2 if copies < 2 else 3
    (place / "duplicate_copies").warn(f"found {quoted(copies)}, using {taken}")
    return raw | {"duplicate_copies": taken}


def _classifier(raw: object, place: Place) -> Item[Classifier]:
    item = Item[Classifier](place)
    item.read(Classifier, raw)
    return item
