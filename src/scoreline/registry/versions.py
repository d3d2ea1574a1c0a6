"""Which versions of models a list shows, and which registered models have one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from scoreline.registry.environments import ELSEWHERE, UPLOADED
from scoreline.registry.records import Environment, Package
from scoreline.store.tables.registry import packages as table
from scoreline.types import TargetType


@dataclass(frozen=True, slots=True)
class VersionFilters:
    """Conditions on packages, all of which hold; None or empty: all.

    like: another package that they could replace: the same target, type and classes. threshold: of a binary target.
    environment: where they may be deployed. tags: names or values, one of which they have. nothing: none is wanted.
    """

    target_name: str | None = None
    target_type: str | None = None
    like: Package | None = None
    threshold: float | None = None
    environment: Environment | None = None
    tags: tuple[str, ...] = ()
    nothing: bool = False


def clauses(filters: VersionFilters) -> Iterable[sa.ColumnElement[bool]]:
    """Return a clause for each condition, for a query of packages."""
    if filters.nothing:
        yield sa.false()
    if filters.target_name is not None:
        yield table.c.target_name == filters.target_name
    if filters.target_type is not None:
        yield table.c.target_type == filters.target_type
    if filters.like is not None:
        yield from _like(filters.like)
    if filters.threshold is not None:
        yield sa.and_(table.c.target_type == TargetType.BINARY, table.c.threshold == filters.threshold)
    if filters.environment is not None and filters.environment.formats:
        formats = set(filters.environment.formats)
        if not formats & UPLOADED:
            yield table.c.artifact.is_(None)
        if not formats & ELSEWHERE:
            yield table.c.artifact.is_not(None)
    if filters.tags:
        yield sa.or_(*(_tagged(tag) for tag in filters.tags))


def _like(package: Package) -> Iterable[sa.ColumnElement[bool]]:
    yield table.c.target_name == package.target_name
    yield table.c.target_type == package.target_type
    if package.class_labels is None:
        yield table.c.class_labels.is_(None)
    else:
        yield sa.cast(table.c.class_labels, sa.Text) == _json(list(package.class_labels))


def _tagged(tag: str) -> sa.ColumnElement[bool]:
    text = sa.cast(table.c.tags, sa.Text)
    return sa.or_(*(text.contains(f'"{key}":{_json(tag)}', autoescape=True) for key in ("name", "value")))


def _json(value: object) -> str:
    """Return a value as the database has it in its text."""
    return json.dumps(value, separators=(",", ":"))
