"""What a worker keeps of memory between runs."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import psutil
from scoreline.engines import memory

def used():
    return psutil.Process().memory_info().rss >> 20

memory.settle()
rows = [bytes(3000) for _ in range(40_000)]
kept = rows[-1]  # lies behind all the others: without it the C library would give them back by itself
full = used()
del rows
freed = used()
memory.give_back()
print(full - freed, full - used())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs a machine whose C library is glibc")
def test_what_is_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True)
    by_itself, given_back = map(int, done.stdout.split())
    assert by_itself < 30, "the program does not show what it should"
    assert given_back > 90
