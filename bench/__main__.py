"""Compare Scoreline with a pandas loop, side by side in one run: `python -m bench --help`.

W1 is a LightGBM model of 200 trees, W3 a linear model, so that reading and writing dominate. Three ways score the same
file, one after the other, a few times over; of each the median counts:

    pandas   a loop of 100,000-row chunks, the model on its default threads
    model    `scoreline score --model`, no server
    client   the official client against a running server: from the call to the finished download

CPU seconds are those of all processes, memory is PSS. The outputs are compared. Then come framing on one core, a tiny
job, an upload, and the API's answers while a job runs. `--only ledger` compares jobs with and without the ledger,
`--only parts` jobs that one worker runs and two, `--only stores` jobs from and to files and
S3 (`--only memory` the worker's memory over objects and folders of up to `--size`). Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench import api, compare, data, framing, ledger, measure, models, sharing, stores
from bench.measure import Usage
from bench.server import SCORELINE, Server, role

PARTS = ("w1", "w3", "framing", "tiny", "upload", "api")
MORE = ("ledger", "parts", "stores", "memory")  # only when asked for
WAYS = ("pandas", "model", "client")
_MODELS = {"w1": (models.tree_model, 0.0), "w3": (models.linear_model, 1e-9)}
_TINY_RUNS = 5


class Scoring:
    """One workload: the three ways over the same file and model."""

    def __init__(self, workload: str, megabytes: int, server: Server | None) -> None:
        make_model, self.tolerance = _MODELS[workload]
        self.model = make_model()
        self.source = data.csv_file(megabytes)
        self.server = server
        self.deployment = server.deploy(self.model, workload) if server else ""

    def target(self, way: str) -> Path:
        """Return the file that a way writes."""
        return data.DATA / f"scored-{way}.csv"

    def pandas(self) -> Usage:
        """Score with the pandas loop."""
        files = (self.model, self.source, self.target("pandas"))
        return measure.run([sys.executable, "-m", "bench.baseline", *map(str, files)], name=lambda _: "pandas")

    def model_file(self) -> Usage:
        """Score with the command line alone."""
        command = [*SCORELINE, "score", "--model", str(self.model), str(self.source), "-o", str(self.target("model"))]
        command += [
            "--target",
            data.TARGET,
            "--class-labels",
            ",".join(data.LABELS),
            "--positive-class",
            data.LABELS[1],
        ]
        command += ["--target-type", "Binary", "--passthrough", "id", "--trust", "--quiet"]
        command += ["--drop", "THRESHOLD", "--drop", "POSITIVE_CLASS"]
        return measure.run(command, name=role)

    def client(self) -> Usage:
        """Score through the official client and the server."""
        assert self.server is not None
        with measure.PssSampler([self.server.pid], role) as sampler:
            before = measure.cpu_of([self.server.pid], role)
            [run] = self.by_client(self.source, self.target("client"), started=sampler.watch)
            after = measure.cpu_of([self.server.pid], role)
        spent = {name: used - before.get(name, 0.0) for name, used in after.items()} | {"client": run["cpu"]}
        return Usage(run["wall"], sum(spent.values()), sampler.total, sampler.peaks, spent)

    def by_client(
        self, source: Path, target: Path, repeat: int = 1, started: Callable[[int], None] = lambda _: None
    ) -> list[dict[str, float]]:
        """Run jobs through the official client in a process of its own; return the seconds of each.

        `started` is told the id of that process.
        """
        assert self.server is not None
        command = [sys.executable, "-m", "bench.client", self.server.url, self.server.token, self.deployment]
        command += [str(source), str(target), str(repeat)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started(process.pid)
        answer, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"bench: the client failed:\n{errors[-4000:]}")
        return json.loads(answer.splitlines()[-1])

    def run(self, ways: list[str], runs: int) -> dict[str, object]:
        """Run the ways in turn; return medians, peaks and ratios to the first."""
        calls: dict[str, Callable[[], Usage]] = {
            "pandas": self.pandas,
            "model": self.model_file,
            "client": self.client,
        }
        seen: dict[str, list[Usage]] = {way: [] for way in ways}
        for number in range(runs):
            for way in ways:
                usage = calls[way]()
                seen[way].append(usage)
                print(f"  run {number + 1} {way}: {usage.wall:.2f} s, {usage.cpu:.2f} CPU s", flush=True)
        result: dict[str, object] = {"bytes": self.source.stat().st_size}
        for way in ways:
            result[way] = _median(seen[way])
            if way != ways[0]:
                worst = compare.difference(self.target(ways[0]), self.target(way), self.tolerance)
                result[way]["greatest difference"] = worst
        return result


def _median(runs: list[Usage]) -> dict[str, object]:
    return {
        "wall": statistics.median(run.wall for run in runs),
        "cpu": statistics.median(run.cpu for run in runs),
        "total": max(run.total for run in runs),
        "peaks": {name: max(run.peaks.get(name, 0) for run in runs) for name in runs[0].peaks},
        "runs": [asdict(run) for run in runs],
    }


def _show(workload: str, result: dict, ways: list[str]) -> None:
    size = result["bytes"] / 1e6
    base = result[ways[0]]
    print(f"\n{workload.upper()}, {size:.0f} MB, medians{'':21}wall s   CPU s   MB/s   wall x   CPU x   peak MB")
    for way in ways:
        row = result[way]
        wall, cpu = base["wall"] / row["wall"], base["cpu"] / row["cpu"]
        print(
            f"  {way:<38}{row['wall']:>8.2f}{row['cpu']:>8.2f}{size / row['wall']:>7.0f}{wall:>9.2f}{cpu:>8.2f}"
            f"{row['total'] / 1e6:>10.0f}"
        )
    for way in ways[1:]:
        peaks = ", ".join(f"{name} {peak / 1e6:.0f}" for name, peak in sorted(result[way]["peaks"].items()))
        parts = result[way]["runs"][-1]["cpu_by"]
        if parts:
            print(f"  {way}: CPU s of the last run: " + ", ".join(f"{n} {s:.1f}" for n, s in sorted(parts.items())))
        print(f"  {way}: outputs agree within {result[way]['greatest difference']:g}; peak MB a process: {peaks}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=100, help="megabytes of the file, 100 or 1000 (default 100)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way (default 3)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS + MORE)}")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"ways to score, of {','.join(WAYS)}")
    arguments = parser.parse_args()
    arguments.only = _chosen(parser, arguments.only, PARTS + MORE)
    arguments.ways = _chosen(parser, arguments.ways, WAYS)
    return arguments


def _chosen(parser: argparse.ArgumentParser, text: str, known: tuple[str, ...]) -> list[str]:
    names = text.split(",")
    if wrong := [name for name in names if name not in known]:
        parser.error(f"{', '.join(wrong)}: not among {', '.join(known)}")
    return [name for name in known if name in names]


def _small_parts(only: list[str], size: int, server: Server | None) -> dict[str, object]:
    results: dict[str, object] = {}
    if "framing" in only:
        plain, quoted = data.csv_file(100), data.csv_file(100, quoted=True)
        speeds = {"W1 GB/s": _best_of(plain), "all quoted GB/s": _best_of(quoted)}
        results["framing"] = speeds
    if server is None:
        return results
    w1 = Scoring("w1", size, server)
    if "tiny" in only:
        runs = w1.by_client(data.first_rows(10), data.DATA / "scored-tiny.csv", _TINY_RUNS + 1)[1:]
        results["tiny"] = {"10 rows, client call to file, s": statistics.median(run["wall"] for run in runs)}
    if "upload" in only:
        results["upload"] = api.upload(server, w1.deployment, w1.source)
    if "api" in only:
        results["api"] = api.answers_under_load(server, w1.deployment, w1.source)
    return results


def _ledger(size: int) -> dict[str, object]:
    results: dict[str, object] = {}
    with ledger.Parts() as parts:
        parts.start_predictor()
        for workload, (make_model, _) in _MODELS.items():
            print(f"{workload.upper()} with and without the ledger, {size} MB", flush=True)
            found = results[workload] = ledger.compare(parts, make_model(), workload, data.csv_file(size))
            print(
                f"  medians: {found['CPU s with']:.2f} with, {found['CPU s without']:.2f} without: "
                f"{found['% more']:+.1f} %"
            )
    return results


def _sharing(size: int, pairs: int) -> dict[str, object]:
    with sharing.Sharing(size * 1_000_000) as parts:
        parts.start_predictor()
        print(f"W1 by one worker and by two, {size} MB", flush=True)
        found = sharing.compare(parts, models.tree_model(), data.csv_file(size), pairs)
    one, two = found["one"], found["two"]
    print(
        f"  medians: {one['wall']:.2f} s by one, {two['wall']:.2f} by two: {found['% longer']:+.1f} %; "
        f"CPU s {one['cpu']:.1f} and {two['cpu']:.1f}; the same bytes"
    )
    return found


def _stores(only: list[str], size: int, pairs: int) -> dict[str, object]:
    results: dict[str, object] = {}
    with stores.Stores() as parts:
        if "stores" in only:
            print(f"From and to S3 and files, {size} MB", flush=True)
            found = results["stores"] = stores.compare(parts, models.tree_model(), size, pairs)
            for name in ("W1 files", "W1 S3", "W2 files", "W2 S3"):
                row = found[name]
                print(f"  {name:<10}{row['wall']:>8.2f} s{row['cpu']:>8.2f} CPU s{row['peak'] / 1e6:>6.0f} MB peak")
            print(f"  S3 adds {found['W1, % more CPU']:+.1f} % to W1, {found['W2, % more CPU']:+.1f} % to W2")
            moved = results["transfers"] = stores.transfers(parts, pairs)
            print("  256 MiB, CPU s: " + ", ".join(f"{name} {spent:.2f}" for name, spent in moved.items()))
        if "memory" in only:
            print("Memory over objects and folders", flush=True)
            sizes = [step for step in (100, 1000, 5000) if step <= size]
            results["memory"] = stores.memory(parts, models.linear_model(), sizes)
    return results


def _best_of(path: Path) -> float:
    return statistics.median(framing.gigabytes_per_second(path) for _ in range(3))


def main() -> None:
    arguments = _arguments()
    data.free_space_for(arguments.size)
    workloads = [part for part in arguments.only if part in _MODELS]
    needs_server = ("client" in arguments.ways and workloads) or {"tiny", "upload", "api"} & set(arguments.only)
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"note: the machine is busy (load {load:.1f}); the numbers mean little")
    result: dict[str, object] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": load,
        "size": arguments.size,
    }
    server = Server().__enter__() if needs_server else None
    try:
        for workload in workloads:
            print(f"{workload.upper()}, {arguments.size} MB", flush=True)
            scored = Scoring(workload, arguments.size, server).run(arguments.ways, arguments.runs)
            result[workload] = scored
            _show(workload, scored, arguments.ways)
        for name, numbers in _small_parts(arguments.only, arguments.size, server).items():
            result[name] = numbers
            print(f"\n{name}: " + ", ".join(f"{value:.3g} {what}" for what, value in numbers.items()))
    finally:
        if server is not None:
            server.__exit__()
    if "ledger" in arguments.only:
        result["ledger"] = _ledger(arguments.size)
    if "parts" in arguments.only:
        result["parts"] = _sharing(arguments.size, arguments.runs)
    if {"stores", "memory"} & set(arguments.only):
        result |= _stores(arguments.only, arguments.size, arguments.runs)
    (data.DATA / "last.json").write_text(json.dumps(result, indent=1))
    print(f"\nwritten to {data.DATA / 'last.json'}")


if __name__ == "__main__":
    main()
