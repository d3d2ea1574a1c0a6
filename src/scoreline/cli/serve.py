"""`scoreline serve`: API, worker and prediction server under one supervisor."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from scoreline import __version__, faults
from scoreline.cli import options, parts
from scoreline.cli.output import show_note
from scoreline.cli.signals import set_soon
from scoreline.errors import SetupError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scoreline.cli.lock import FolderLock
    from scoreline.cli.logview import LogView
    from scoreline.cli.supervisor import Launch, Part, Supervisor
    from scoreline.settings import Settings
    from scoreline.store import Store

_START_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_PREDICTOR = "default"
# What a prediction server's process may know of this one's environment; secrets of the installation stay out.
_HARMLESS = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV")


def serve(
    host: options.Host = None,
    port: options.Port = None,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write address and process id to this file once the server answers.")
    ] = None,
) -> None:
    """Run a whole installation: API, worker and prediction server. Ctrl-C or SIGTERM stops it cleanly."""
    settings = options.settings(host=host, port=port, data_dir=data_dir, database_url=database_url)
    stop, force = threading.Event(), threading.Event()
    _handle_signals(stop, force)
    from scoreline.cli.lock import FolderLock  # noqa: PLC0415 -- start-up time of the other commands
    from scoreline.cli.logview import LogView  # noqa: PLC0415 -- as above
    from scoreline.store import Store  # noqa: PLC0415 -- as above

    with ExitStack() as stack:
        lock = stack.enter_context(FolderLock(settings.data_dir))
        parts.load()  # while the parts of an earlier server end
        if not lock.take_over(stop):
            return
        parts.prepare(settings)
        store = Store(settings.store_url)
        stack.callback(store.dispose)
        view = LogView(settings.data_dir / "logs", level=settings.log_level)
        stack.callback(view.close)
        installation = _Installation(settings, store, view, lock, stop, force)
        stack.callback(installation.stop)
        if installation.start():
            if ready_file is not None:
                _write_ready(ready_file, installation.address, settings)
                stack.callback(ready_file.unlink, missing_ok=True)
            _say_ready(installation.address, settings)
            installation.watch()
        view.say("stopping")


class _Installation:
    """The parts and how they hang together."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        view: LogView,
        lock: FolderLock,
        stop: threading.Event,
        force: threading.Event,
    ) -> None:
        from scoreline.cli.supervisor import Supervisor  # noqa: PLC0415 -- start-up time of the other commands

        self._settings = settings
        self._store = store
        self._view = view
        self._lock = lock
        self._stop = stop
        self._returns: list[threading.Thread] = []
        self._supervisor: Supervisor = Supervisor(view, stop)
        self._supervisor.force = force
        self._worker_id = ""
        self._predictor_token = ""
        self.address = ""

    def start(self) -> bool:
        """Start all parts, each when what it needs is there; False when told to stop meanwhile."""
        from scoreline import access  # noqa: PLC0415 -- start-up time of the other commands

        if self._lock.left is not None and self._lock.left.worker:
            self._give_back(self._lock.left.worker)
        where = f"{socket.gethostname()}:{self._settings.data_dir.resolve()}"
        self._predictor_token = access.service_token(self._store, f"predictor of {where}"[-128:], ["predictor"])
        add = self._supervisor.add
        api = add(self._part("api", self._api))
        # All load their programs side by side where it is known beforehand where the API will answer.
        self.address = self._address_to_be()
        if not self.address:
            if not self._supervisor.wait(api.ready.is_set, _START_SECONDS, "The API did not start"):
                return False
            self.address = api.address or ""
        predictor = add(self._part("predictor", self._predictor))
        # The worker stops first, so that it gives its jobs back while the others still answer.
        worker = self._part("worker", self._worker, died=lambda: self._give_back(self._worker_id), stop_seconds=15.0)
        add(worker, stops_first=True)
        return self._supervisor.wait(api.ready.is_set, _START_SECONDS, "The API did not start") and (
            self._supervisor.wait(
                lambda: predictor.ready.is_set() and self._registered(predictor),
                _START_SECONDS,
                "The prediction server did not start",
            )
        )

    def _address_to_be(self) -> str:
        """Return where the API will answer, "" where it may choose its port."""
        host, port = self._settings.host, self._settings.port
        return f"http://{f'[{host}]' if ':' in host else host}:{port}" if port else ""

    def watch(self) -> None:
        """Keep all running until told to stop."""
        self._supervisor.watch()

    def stop(self) -> None:
        """Stop all."""
        self._supervisor.stop()
        for thread in self._returns:
            thread.join(_AGAIN_SECONDS)

    def _part(self, name: str, launch: Callable[[str | None], Launch], **more: Any) -> Part:
        from scoreline.cli.supervisor import Part  # noqa: PLC0415 -- start-up time of the other commands

        def started(pid: int) -> None:
            self._lock.note(self._worker_id, pid)

        return Part(name, launch, self._view, started=started, inherited=self._lock.descriptor, **more)

    def _api(self, before: str | None) -> Launch:
        settings = self._settings
        port = settings.port if before is None else urlsplit(before).port
        return self._launch("api", SCORELINE_HOST=settings.host, SCORELINE_PORT=str(port))

    def _worker(self, _before: str | None) -> Launch:
        self._worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lock.note(self._worker_id)
        return self._launch("worker", **{parts.WORKER_ID: self._worker_id})

    def _launch(self, command: str, **more: str) -> Launch:
        from scoreline.cli.supervisor import Launch  # noqa: PLC0415 -- start-up time of the other commands

        environment = {**os.environ, "SCORELINE_DATA_DIR": str(self._settings.data_dir.resolve()), **more}
        if self._settings.database_url is not None:
            environment["SCORELINE_DATABASE_URL"] = self._settings.database_url
        environment.pop("SCORELINE_ADMIN_TOKEN", None)
        return Launch([command], environment)

    def _predictor(self, before: str | None) -> Launch:
        from scoreline.cli.supervisor import Launch, inherited  # noqa: PLC0415 -- start-up time of the other commands

        settings = self._settings
        # The port stays over restarts, so that runs under way find it again. A public address says nothing about it.
        pinned = before if settings.predictor_url is None else None
        given = {
            "SCORELINE_CONFIG": os.devnull,
            "SCORELINE_LOG_LEVEL": settings.log_level,
            "SCORELINE_DATA_DIR": str(settings.data_dir.resolve()),
            "SCORELINE_API_URL": _local(self.address),
            "SCORELINE_PREDICTOR_TOKEN": self._predictor_token,
            "SCORELINE_PREDICTOR_HOST": settings.predictor_host,
            "SCORELINE_PREDICTOR_PORT": str(urlsplit(pinned).port if pinned else settings.predictor_port),
            "SCORELINE_PREDICTOR_PROCESSES": str(settings.predictor_processes),
            "SCORELINE_PREDICTOR_MODELS": str(settings.predictor_models),
        }
        if settings.drum is not None:
            given["SCORELINE_DRUM"] = str(settings.drum.expanduser().absolute())
        if settings.predictor_url is not None:
            given["SCORELINE_PREDICTOR_URL"] = settings.predictor_url
        return Launch(["predictor", "--name", _PREDICTOR], {**inherited((*_HARMLESS, faults.VARIABLE)), **given})

    def _give_back(self, worker_id: str) -> None:
        """Let others take the jobs of a worker that is dead for certain, without waiting for its leases to run out.

        Nobody waits for it: the database may be locked by another part that has to be killed first.
        """
        thread = threading.Thread(target=self._release, args=(worker_id,), name="leases", daemon=True)
        self._returns = [each for each in self._returns if each.is_alive()] + [thread]
        thread.start()

    def _release(self, worker_id: str) -> None:
        from scoreline.jobs import lease  # noqa: PLC0415 -- start-up time of the other commands

        while True:
            try:
                count = lease.release_owner(self._store, worker_id)
            except StoreError as error:
                self._view.say("leases of a dead worker stay for now", level="warning", cause=error.message)
                if self._stop.wait(_AGAIN_SECONDS):
                    return
            else:
                self._view.say("leases of a dead worker were given back", jobs=count)
                return

    def _registered(self, predictor: Part) -> bool:
        """Return whether the API knows the prediction server, so that models can be deployed."""
        from scoreline.access import Caller  # noqa: PLC0415 -- start-up time of the other commands
        from scoreline.registry import servers  # noqa: PLC0415 -- as above

        every = Caller("", "serve", "", "observer", frozenset({"predictor"}), kind="service")
        with suppress(StoreError):
            known = {(server.name, server.url.rstrip("/")) for server in servers.list_servers(self._store, every)}
            return (_PREDICTOR, (predictor.address or "").rstrip("/")) in known
        return False


def _handle_signals(stop: threading.Event, force: threading.Event) -> None:
    """Stop on the first signal, at once on the second of Ctrl-C. `nohup` keeps its meaning."""

    def handle(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            set_soon(force)
        set_soon(stop)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _local(address: str) -> str:
    """Return the address under which processes of this machine reach a server that listens everywhere."""
    parts_ = urlsplit(address)
    wild = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts_.hostname or "")  # noqa: S104 -- compared, not bound
    return address if wild is None else f"http://{wild}:{parts_.port}"


def _write_ready(path: Path, address: str, settings: Settings) -> None:
    """Write the file in one step, so that a reader never sees half of it."""
    document = {
        "url": _local(address),
        "pid": os.getpid(),
        "dataDir": str(settings.data_dir.resolve()),
        "version": __version__,
    }
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        hidden.write_text(json.dumps(document) + "\n", encoding="utf-8")
        hidden.replace(path)
    except OSError as error:
        raise SetupError(f"The file {path} of --ready-file cannot be written ({error.strerror}).") from error


def _say_ready(address: str, settings: Settings) -> None:
    typer.echo(f"Scoreline {__version__} is ready at {_local(address)} (data in {settings.data_dir}; Ctrl-C stops it)")
    show_note(f"To use it from another terminal: export SCORELINE_URL={_local(address)} SCORELINE_TOKEN=<your token>")
