"""The command line: one file a command group. Heavy things are imported inside the commands, so that it starts at once.

app      the program and its error handling      options, output   what the commands share
serve    all parts under one supervisor          parts             each part alone
deploy, score, jobs   ask a running server       local             scoring with no server
admin    tokens and users, on the store itself
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program with the arguments of this process, and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # asked by scripts: not worth loading anything
        from scoreline import __version__  # noqa: PLC0415 -- as above

        print(f"scoreline {__version__}")  # noqa: T201 -- the answer
        return
    from scoreline.cli.app import run  # noqa: PLC0415 -- as above

    sys.exit(run())
