"""What an adapter can do, as data: the API, the docs and the contract tests are driven from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reread(StrEnum):
    """How a source is taken up again in the middle."""

    POSITION = "position"  # by bytes
    KEY = "key"  # by the last key seen
    NONE = "none"  # not at all: it is staged in the spool before scoring


class Delivery(StrEnum):
    """How often a row arrives at the target, whatever fails on the way."""

    EXACTLY_ONCE = "exactly once"
    EFFECTIVELY_ONCE = "effectively once"  # written again with the same key and values
    AT_LEAST_ONCE = "at least once"


class Visibility(StrEnum):
    """When others see rows at the target."""

    AT_COMMIT = "at commit"
    PROGRESSIVE = "progressive"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """An adapter's abilities. What lists things lists what the API may ask for; empty: there is no choice.

    reads, writes: values of `format` as intake and as output. folders: those of which an intake may name
    many files. statements: values of `statementType`. credentials: the
    fields of its settings that name a stored credential, and the types that each takes.
    """

    reads: tuple[str, ...] = ("csv",)
    writes: tuple[str, ...] = ("csv",)
    folders: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    splittable: bool = False
    reread: Reread = Reread.POSITION
    delivery: Delivery = Delivery.EXACTLY_ONCE
    visibility: Visibility = Visibility.AT_COMMIT
    credentials: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry.

    module: file in this folder, or None while the adapter is not built.
    """

    help: str
    read: bool = True
    write: bool = True
    module: str | None = None
    can: Capabilities = Capabilities()
