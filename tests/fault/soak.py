"""`make soak`: hundreds of random kills, then a random walk for as long as asked; run again with the seed it prints.

Ends with 1, and leaves its folder, when anything is wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from scoreline.store import Store
from tests.fault.killing import kill_at_random
from tests.fault.walking import Round
from tests.support import tiny
from tests.support.postgres import PostgresServer
from tests.support.storm import Storm

WALK_ROWS = 20_000


def main() -> int:
    """Do what the command line asks for."""
    asked = _asked()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it leaves nothing running, however it is stopped
    tell(f"seed {asked.seed}, {asked.database}")
    folder = Path(tempfile.mkdtemp(prefix="scoreline-soak-"))
    with ExitStack() as stack:
        server, url = None, None
        if asked.database == "postgres":
            server = PostgresServer()
            stack.callback(server.stop)
            url = server.create("soak")
            server.keep("soak")
            store = Store(url)
            store.migrate()
            store.dispose()
        try:
            with closing(Storm(folder, random.Random(asked.seed), server, url)) as storm:
                whole = _kills(storm, asked.rows, asked.kills) if asked.kills else True
                if asked.minutes:
                    _walk(storm, asked.seed, asked.round, asked.minutes)
        except AssertionError as wrong:
            tell(f"WRONG with seed {asked.seed}: {wrong}")
            whole = False
    if whole:
        shutil.rmtree(folder)
    else:
        tell(f"the folder is kept: {folder}")
    return 0 if whole else 1


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="random kills; 0: none")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the jobs that are killed")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the walk goes on; 0: none")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--round", type=int, default=1, help="where the walk of the seed begins")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    return parser.parse_args()


def _kills(storm: Storm, rows: int, count: int) -> bool:
    victims = storm.random.choices(storm.victims, k=count)
    tally = kill_at_random(storm, *tiny.scored(rows), victims, tell)
    tell(str(tally))
    return (tally.lost, tally.doubled, tally.torn, tally.aborted) == (0, 0, 0, [])


def _walk(storm: Storm, seed: int, number: int, minutes: float) -> None:
    data, clean = tiny.scored(WALK_ROWS)
    first = storm.again(storm.job)
    storm.again(lambda: storm.put(first, data))
    storm.ended(first)
    base, end = storm.handles(), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        chance = random.Random(f"{seed}-{number}")
        storm.random = chance
        try:
            tell(f"round {number} of seed {seed}: {Round(storm, chance, data, clean).walk(base)}")
        except AssertionError as wrong:
            raise AssertionError(f"round {number}: {wrong}") from wrong
        number += 1


def tell(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
