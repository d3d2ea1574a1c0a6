"""Runs the prediction server's application on a socket."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn

from scoreline.connection import Protocol
from scoreline.errors import SetupError
from scoreline.serving.app import create_app
from scoreline.serving.config import PredictorConfig

_BACKLOG = 512
_GRACE = 5
_KEEP_ALIVE = 75


def serve(config: PredictorConfig, *, ready: Callable[[str], None] | None, stop: threading.Event | None) -> None:
    """Serve until told to stop; see `scoreline.serving.run_predictor`."""
    _prepare_folder(config)
    with _listen(config) as listener:
        port = listener.getsockname()[1]
        url = (config.public_url or f"http://{_reachable(config.host)}:{port}").rstrip("/")
        server = _Server(
            uvicorn.Config(
                create_app(config, url),
                http=Protocol,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_GRACE,
            ),
            started_at=lambda: ready(url) if ready else None,
        )
        if stop is not None:
            threading.Thread(target=lambda: server.stop_after(stop), name="stop-watch", daemon=True).start()
        with _signals_end_quietly():
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, started_at: Callable[[], None]) -> None:
        super().__init__(config)
        self._started_at = started_at

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._started_at()

    def stop_after(self, event: threading.Event) -> None:
        """Wait for `event`, then end the server as a signal would."""
        event.wait()
        self.should_exit = True


class _signals_end_quietly:  # noqa: N801 -- used as a function
    """Uvicorn raises a handled signal again once it is down; here the way out is a normal return."""

    def __enter__(self) -> None:
        self._old = {}
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def _ignore(_number: int, _frame: object) -> None:
    pass


def _prepare_folder(config: PredictorConfig) -> None:
    try:
        (config.cache_dir / ".home").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"The prediction server cannot make its cache folder {config.cache_dir} ({error.strerror}); "
            "choose a data folder that it may write."
        ) from error


def _listen(config: PredictorConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SetupError(
            f"The prediction server cannot listen on {config.host}:{config.port} ({error.strerror}); "
            "choose another predictor host or port."
        ) from error
    return listener


def _reachable(host: str) -> str:
    """An address that clients on this machine can use: a wildcard cannot be connected to."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{host}]" if address.version == 6 else host
