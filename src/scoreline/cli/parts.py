"""The parts of an installation, each alone: `scoreline api`, `worker` and `predictor`."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scoreline.cli import lifeline, options
from scoreline.cli.output import show_note
from scoreline.cli.signals import set_soon
from scoreline.errors import SetupError

if TYPE_CHECKING:
    from scoreline.settings import Settings

WORKER_ID = "SCORELINE_WORKER_ID"


def api(
    host: options.Host = None,
    port: options.Port = None,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
) -> None:
    """Run the API alone."""
    settings = options.settings(host=host, port=port, data_dir=data_dir, database_url=database_url)
    lifeline.hold()
    from scoreline import api as part  # noqa: PLC0415 -- start-up time of the other commands

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if not lifeline.is_supervised():
        prepare(settings)
    part.serve(settings, ready=lifeline.say_ready)


def worker(data_dir: options.DataDir = None, database_url: options.DatabaseUrl = None) -> None:
    """Run a worker alone; start as many as you like, on any machine that reaches the database and the data folder."""
    settings = options.settings(data_dir=data_dir, database_url=database_url)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: set_soon(stop))
    lifeline.hold()
    from scoreline.jobs.worker import run_worker  # noqa: PLC0415 -- start-up time of the other commands

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    run_worker(settings, stop, worker_id=os.environ.get(WORKER_ID))


def predictor(
    api_url: Annotated[str, typer.Option(help="Address of the API.", envvar="SCORELINE_API_URL")],
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on. [default: 0, a free one]")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Address under which others reach it. [default: where it listens]")
    ] = None,
    name: Annotated[str, typer.Option(help="Its name among the prediction servers.")] = "default",
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that run models. [default: one a core]")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder for unpacked models. [default: predictor-cache in the data folder]")
    ] = None,
) -> None:
    """Run a prediction server alone.

    It needs a token of its own in SCORELINE_PREDICTOR_TOKEN: make one with `scoreline token create NAME --predictor`.
    """
    settings = options.settings(
        predictor_host=host, predictor_port=port, predictor_url=public_url, predictor_processes=processes
    )
    token = os.environ.pop("SCORELINE_PREDICTOR_TOKEN", "")
    if not token:
        raise SetupError(
            "The prediction server has no token: set SCORELINE_PREDICTOR_TOKEN to one from "
            "`scoreline token create NAME --predictor`."
        )
    options.tell_models(settings)
    lifeline.hold()
    from scoreline import logs  # noqa: PLC0415 -- start-up time of the other commands
    from scoreline.serving import run_predictor  # noqa: PLC0415 -- as above

    logs.configure(settings, "predictor")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its start is told by the server itself
    run_predictor(
        host=settings.predictor_host,
        port=settings.predictor_port,
        processes=settings.predictor_processes,
        api_url=api_url.rstrip("/"),
        token=token,
        cache_dir=cache_dir or settings.data_dir / "predictor-cache",
        public_url=settings.predictor_url,
        name=name,
        models=settings.predictor_models,
        ready=lifeline.say_ready,
    )


def load() -> None:
    """Load what a server needs before it can start its parts."""
    from scoreline import access  # noqa: F401, PLC0415 -- start-up time of the other commands
    from scoreline.access import vault  # noqa: F401, PLC0415 -- as above
    from scoreline.cli import supervisor  # noqa: F401, PLC0415 -- as above
    from scoreline.registry import servers  # noqa: F401, PLC0415 -- as above
    from scoreline.store import migrate  # noqa: F401, PLC0415 -- as above


def prepare(settings: Settings) -> None:
    """Bring the database up to date; at the first start make master key and first admin, whose token is shown."""
    from scoreline import access  # noqa: PLC0415 -- start-up time
    from scoreline.access.vault import Vault  # noqa: PLC0415 -- as above
    from scoreline.store import Store  # noqa: PLC0415 -- as above

    store = Store(settings.store_url)
    try:
        store.migrate()
        secret = access.bootstrap(store, settings)
        Vault(store, settings).prepare()
    finally:
        store.dispose()
    if secret is not None:
        show_note(f"The first administrator's API token, shown this once: {secret}")
