"""The predictor as a process of its own: how it starts, ends and fails."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scoreline.errors import SetupError
from scoreline.serving import run_predictor
from tests.unit.serving.conftest import filled_api
from tests.unit.serving.fake_api import OWN_TOKEN

PROGRAM = """
import sys
from pathlib import Path
from scoreline.serving import run_predictor
run_predictor(host="127.0.0.1", port=0, processes=2, api_url=sys.argv[1], token=sys.argv[2], cache_dir=Path("cache"),
              name="mine", public_url="http://public.example/", ready=lambda url: print(url, flush=True))
print("over", flush=True)
"""


@contextmanager
def program(api, folder: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, api.url, OWN_TOKEN], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(made, tmp_path, how):
    with filled_api(made).serving() as api, program(api, tmp_path) as process:
        assert process.stdout.readline() == "http://public.example\n"
        until(lambda: api.registered)
        assert api.registered == [{"name": "mine", "url": "http://public.example", "concurrency": 2}]
        children = psutil.Process(process.pid).children()
        assert len(children) == 2
        process.send_signal(how)
        assert process.stdout.read().endswith("over\n")
        assert process.wait(10) == 0
        assert not any(child.is_running() for child in children)


def test_model_processes_do_not_outlive_a_killed_front(made, tmp_path):
    with filled_api(made).serving() as api, program(api, tmp_path) as process:
        process.stdout.readline()
        children = psutil.Process(process.pid).children()
        process.kill()
        until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_registration_waits_for_the_api(made, tmp_path):
    api = filled_api(made)
    api.down = True
    with api.serving(), program(api, tmp_path) as process:
        process.stdout.readline()
        until(lambda: api.asked["PUT /api/v2/internal/predictors/"])
        api.down = False
        until(lambda: api.registered)


def test_an_address_in_use_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"cannot listen on 127.0.0.1:{port}"):
            run_predictor(host="127.0.0.1", port=port, processes=1, api_url="http://x", token="t", cache_dir=tmp_path)


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot make its cache folder"):
        run_predictor(
            host="127.0.0.1", port=0, processes=1, api_url="http://x", token="t", cache_dir=tmp_path / "file" / "cache"
        )
