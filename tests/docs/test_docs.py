"""The documentation says what the code has, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scoreline import models
from scoreline.access import RIGHTS, ROLES
from scoreline.access.callers import USER_RIGHTS
from scoreline.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_lists_are_as_the_code_has_them(reference: ModuleType, page: Path) -> None:
    assert page.read_text(encoding="utf-8") == reference.rewritten(page), "run `make docs`"


def test_every_list_stands_somewhere(reference: ModuleType) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in reference.BLOCKS:
        assert f"<!-- begin: {name} -->" in text


def test_every_setting_is_described() -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"`SCORELINE_{name.upper()}`" in text
        assert field.description


def test_every_variable_of_the_environment_is_described() -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
    between_our_own_processes = {"SCORELINE_SUPERVISED", "SCORELINE_WORKER_ID"}
    for name in set(re.findall(r"SCORELINE_[A-Z_]*[A-Z]", sources)) - between_our_own_processes:
        assert f"`{name}`" in text, name


def test_every_model_format_is_described() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8").lower()
    for name in models.FORMATS:
        assert {"sklearn": "scikit-learn"}.get(name, name) in text


def test_every_role_and_right_of_people_is_described() -> None:
    text = (DOCS / "running.md").read_text(encoding="utf-8")
    for name in (*ROLES, *USER_RIGHTS):
        assert f"`{name}`" in text
    assert set(RIGHTS) >= USER_RIGHTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, link


def test_every_decision_is_listed_and_in_the_menu() -> None:
    index, menu = (DOCS / "decisions" / "index.md").read_text(), (ROOT / "mkdocs.yml").read_text()
    for page in (DOCS / "decisions").glob("[0-9]*.md"):
        assert page.name in index
        assert page.name in menu


def test_one_word_commands_are_described_and_exist() -> None:
    words = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)) - {"help"}
    described = set(re.findall(r"\| `make ([a-z]+)` \|", (ROOT / "CONTRIBUTING.md").read_text()))
    assert words == described


@pytest.mark.parametrize("broken", ["", "test"])
def test_what_a_change_must_pass_runs_in_order_and_ends_with_the_first_failure(tmp_path: Path, broken: str) -> None:
    make, log = tmp_path / "make", tmp_path / "log"
    make.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" != "{broken}" ]\n')
    make.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CI_GUARDED"}
    environment["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([ROOT / ".ci" / "run"], env=environment, check=False, capture_output=True)
    words = ["lint", "test", "test-systems"]
    assert log.read_text().split() == words[: words.index(broken) + 1 if broken else None]
    assert (done.returncode == 0) == (not broken)


def test_options_in_examples_exist() -> None:
    known = set(re.findall(r"`(--?[a-z-]+)`", (DOCS / "command-line.md").read_text())) | {"--help"}
    for page in PAGES:
        for line in re.findall(r"^(?:\$ )?(scoreline .*(?:\\\n.*)*)", page.read_text(encoding="utf-8"), re.MULTILINE):
            for option in re.findall(r"(?<=\s)--[a-z-]+", line):
                assert option in known, f"{page.name}: {line}"


def test_the_drawing_says_what_it_shows_to_those_who_cannot_see_it() -> None:
    drawing = (DOCS / "images" / "way-of-a-row.svg").read_text()
    assert "<title" in drawing
    assert "<desc" in drawing


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={"PATH": "", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()
