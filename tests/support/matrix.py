"""Cases of a parametrized test: which ones every run of the tests takes, and which ones only `make test-systems`."""

from __future__ import annotations

import pytest


def rarely(*cases: object) -> list[object]:
    """Mark cases `slow` that stand beside a quicker or more telling one; a tuple has the several values of a case."""
    marked = pytest.mark.slow
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marked) for case in cases]
