"""What messages have in common, whatever part of the program they come from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import scoreline
from scoreline.settings import Settings

SOURCES = Path(scoreline.__file__).parent
NAMES = [name for name in Settings.model_fields if "_" in name]


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every text of a module that is not a docstring, parts of f-strings included."""
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # docstrings of attributes stand anywhere in it
            docstrings |= {id(each.value) for each in body if isinstance(each, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_settings_are_named_as_people_set_them() -> None:
    bare = re.compile(rf"(?<![\w.])({'|'.join(NAMES)})(?!\w)")
    named = [
        f"{path.relative_to(SOURCES)}:{text.lineno}: {found.group()}"
        for path in SOURCES.rglob("*.py")
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if " " in text.value and (found := bare.search(text.value))
    ]
    assert named == []
    assert bare.search("have the setting max_expansion raised") is not None
