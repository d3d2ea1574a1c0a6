"""Compiles `forest.ll` in memory, once in a process, and calls it.

LLVM comes with the package `llvmlite`. Where that is missing, or nothing may be compiled, there is no kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import re
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scoreline.models.base import Values, cause
from scoreline.models.forest import Forest

_ROWS = 64  # that the kernel takes at a time
_ALIGNMENT = 64
_MAPS = Path("/proc/self/smaps")
_DROP = 4  # MADV_DONTNEED of Linux


class NoKernel(Exception):
    """Why nothing can be compiled here."""


class Kernel:
    """Scores with one forest; several threads may at once, and none of them holds the interpreter's lock meanwhile."""

    def __init__(self, forest: Forest) -> None:
        """Compile when nobody has. Raises NoKernel."""
        self._forest = forest  # the tables' memory
        self._tables = _Tables(
            len(forest.inputs),
            forest.inputs.ctypes.data,
            len(forest.parts),
            forest.parts.ctypes.data,
            forest.splits.ctypes.data,
            forest.sets.ctypes.data,
            forest.leaves.ctypes.data,
            forest.outputs,
            forest.divisor,
            forest.finish,
            forest.factor,
        )
        with _lock:
            self._score, self._engine = _compiled()  # the code lives as long as the engine

    def predict(self, columns: Values) -> Values:
        """Return [rows, outputs] for a C-contiguous float64 matrix [features, rows]."""
        rows = columns.shape[1]
        values = np.empty((rows, self._forest.outputs))
        cells, sums = _room(len(self._forest.inputs)), _room(self._forest.outputs)
        self._score(
            ctypes.addressof(self._tables),
            columns.ctypes.data,
            rows,
            cells.ctypes.data,
            sums.ctypes.data,
            values.ctypes.data,
        )
        return values


class _Tables(ctypes.Structure):
    """`%forest` of the kernel."""

    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("input", ctypes.c_void_p),
        ("parts", ctypes.c_int64),
        ("part", ctypes.c_void_p),
        ("splits", ctypes.c_void_p),
        ("sets", ctypes.c_void_p),
        ("leaves", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("divisor", ctypes.c_double),
        ("finish", ctypes.c_int64),
        ("factor", ctypes.c_double),
    )


_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 3)
_lock = threading.Lock()


def _room(count: int) -> Values:
    """Room for as many vectors of the kernel, where it wants them."""
    room = np.empty(count * _ROWS + _ALIGNMENT // 8)
    return room[-room.ctypes.data % _ALIGNMENT // 8 :]


@cache
def _compiled() -> tuple[Callable[..., None], object]:
    try:
        import llvmlite.binding as llvm  # noqa: PLC0415 -- optional, and 50 ms
    except (ImportError, OSError) as exc:
        raise NoKernel(cause(exc)) from exc
    if not _may_run_code():
        raise NoKernel("the system lets no process run code that it has compiled itself")
    _release("libllvmlite")  # what its start has touched
    try:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.add_symbol("exp", _address_of_exp())
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=_features(llvm), opt=2
        )
        module = llvm.parse_assembly(Path(__file__).with_name("forest.ll").read_text())
        module.verify()
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        function = _SIGNATURE(engine.get_function_address("score"))
    except (RuntimeError, OSError, AttributeError, TypeError, ValueError) as exc:
        raise NoKernel(cause(exc)) from exc
    _release("libllvmlite")
    return function, engine


def _features(llvm: Any) -> str:
    """What the processor has; for some, LLVM cannot tell, and their name must do."""
    with contextlib.suppress(RuntimeError):
        return str(llvm.get_host_cpu_features().flatten())
    return ""


def _address_of_exp() -> int:
    """The C library's `exp`, which the libraries of boosters call, too."""
    address = ctypes.cast(ctypes.CDLL(None).exp, ctypes.c_void_p).value
    assert address is not None
    return address


def _may_run_code() -> bool:
    """Whether memory that was written may be made executable; LLVM would end the process instead of asking."""
    if not hasattr(mmap, "PROT_EXEC"):
        return True
    with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        place = ctypes.c_char.from_buffer(page)
        try:
            protect = ctypes.CDLL(None).mprotect
            start = ctypes.c_void_p(ctypes.addressof(place))
            return bool(protect(start, ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_EXEC) == 0)
        finally:
            del place


def _release(library: str) -> None:
    """Give back the pages of LLVM's own code, some 70 MB that nobody needs again; whoever does reads them anew.

    Only what was never written to, for that is in the file as it was in memory.
    """
    if not _MAPS.exists():
        return
    drop = ctypes.CDLL(None).madvise
    for start, size in _unwritten(_MAPS.read_text(), library):
        drop(ctypes.c_void_p(start), ctypes.c_size_t(size), _DROP)


def _unwritten(maps: str, library: str) -> list[tuple[int, int]]:
    """The start and size of each read-only mapping of the file that no page was changed of."""
    found = []
    for text in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps, flags=re.MULTILINE):
        head, _, facts = text.partition("\n")
        if f"/{library}" not in head or re.search(r"^Anonymous: +0 kB$", facts, re.MULTILINE) is None:
            continue
        place, access, *_rest = head.split()
        if access[1] == "-":
            start, end = (int(part, 16) for part in place.split("-"))
            found.append((start, end - start))
    return found
