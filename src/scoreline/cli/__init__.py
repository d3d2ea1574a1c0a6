"""The command line: one file a command group. Heavy things are imported inside the commands, so that it starts at once.

app      the program and its error handling      options, output   what the commands share
serve    all parts under one supervisor          parts             each part alone
deploy, score, jobs   ask a running server       local             scoring with no server
admin    tokens and users, on the store itself
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the program with the arguments of this process, and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # asked by scripts: not worth loading anything
        from scoreline import __version__  # noqa: PLC0415 -- as above

        print(f"scoreline {__version__}")  # noqa: T201 -- the answer
        return
    try:
        from scoreline.cli.app import run  # noqa: PLC0415 -- as above

        code = run()
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        # Ctrl-C while things are loaded: there is no trace worth showing.
        print("Error: Interrupted.", file=sys.stderr)  # noqa: T201 -- what shows errors may not be there yet
        code = 128 + signal.SIGINT
    sys.exit(code)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether this is a Ctrl-C; Python wraps one that comes while a class is made in an error of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None
