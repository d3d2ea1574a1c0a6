"""The environment of a model process: what Python and its libraries need, and nothing of the installation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_ALLOWED = frozenset(
    {
        *("PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV"),
        "SCORELINE_DRUM",  # where custom models run
    }
)
_ALLOWED_PREFIXES = ("LC_", "PYTHON")
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def child_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The allowed part of `environ`, one thread for every numeric library, and an empty home folder.

    An allow-list: whatever secret the surroundings hold (SCORELINE_*, cloud keys, database passwords) stays out. The
    home folder keeps libraries from reading `~/.aws` and the like by themselves.
    """
    kept = {
        name: value for name, value in environ.items() if name in _ALLOWED or name.upper().startswith(_ALLOWED_PREFIXES)
    }
    if "PYTHONPATH" in kept:  # the process runs in another folder
        parts = (str(Path(part).absolute()) for part in kept["PYTHONPATH"].split(os.pathsep) if part)
        kept["PYTHONPATH"] = os.pathsep.join(parts)
    kept |= dict.fromkeys(_ONE_THREAD, "1")
    kept |= {"HOME": str(home), "PYTHONUNBUFFERED": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    return kept
