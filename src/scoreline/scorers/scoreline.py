"""Our own prediction server: one Arrow record batch there, its values back, over connections that stay open."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scoreline.errors import (
    AccessRefused,
    DataRefused,
    ModelBroken,
    Overloaded,
    ScoringError,
    ServerUnavailable,
    TooLarge,
    WrongAnswer,
    one_line,
)
from scoreline.rows import exchange
from scoreline.types import ScoreOptions, Scores, ScoringPlan, ServerAddress, TargetType

_CONNECT_SECONDS = 5.0
_CONNECTIONS = 64
_KEEP_ALIVE = 60.0  # less than the server's, so that it never closes what is about to be used


def open_scorer(server: ServerAddress, plan: ScoringPlan) -> ScorelineScorer:
    """Return a scorer for the model package that `server` names."""
    return ScorelineScorer(server, plan)


class ScorelineScorer:
    """Scores batches on one package of one prediction server; several threads may ask at once.

    `Scores.model` is the content hash that the server says it used.
    """

    def __init__(self, server: ServerAddress, plan: ScoringPlan) -> None:
        self._url = f"{server.url.rstrip('/')}/scoreline/v1/packages/{server.package_id}/score"
        self._where = f"prediction server {server.url.rstrip('/')}"
        self._outputs = len(plan.class_labels) if plan.target_type in _CLASSES else 1
        self._sockets = _Sockets()
        # Registered addresses are reached directly: proxies of the environment are for the outside world.
        self._client = httpx2.Client(
            headers={
                "Authorization": f"Bearer {server.token}",
                "Content-Type": exchange.MEDIA_TYPE,
                "Accept": exchange.MEDIA_TYPE,
                "Accept-Encoding": "identity",
            },
            limits=httpx2.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE
            ),
            trust_env=False,
        )

    def score(self, features: pa.RecordBatch, options: ScoreOptions) -> Scores:
        """Score one batch; see `scoreline.types.Scorer` for what is raised."""
        if self._sockets.closed:
            raise ServerUnavailable(f"Scoring stopped: the connection to the {self._where} was closed.")
        timeout = httpx2.Timeout(options.timeout, connect=_CONNECT_SECONDS)
        try:
            response = self._client.post(
                self._url,
                content=exchange.encode(features).to_pybytes(),
                timeout=timeout,
                extensions={"trace": self._sockets.watch},
            )
        except (httpx2.TransportError, RuntimeError, OSError) as error:
            raise self._unavailable(error) from error
        if response.status_code != 200:
            raise self._refusal(response)
        values = self._decode(response.content)
        if len(values) != features.num_rows:
            raise WrongAnswer(
                f"Scoring failed: the {self._where} answered {len(values)} predictions for {features.num_rows} rows."
            )
        return Scores(values, model=response.headers.get("x-scoreline-model"))

    def close(self) -> None:
        """End calls in flight at once (they raise ServerUnavailable) and close all connections."""
        self._sockets.shut()
        self._client.close()

    def _decode(self, body: bytes) -> npt.NDArray[np.float64]:
        """Float64 [rows, outputs]. Raises WrongAnswer or ModelBroken."""
        try:
            values = exchange.decode_values(body)
        except ValueError as error:
            raise WrongAnswer(
                f"Scoring failed: the {self._where} answered no table of numbers ({one_line(str(error), 100)})."
            ) from error
        if values.shape[1] != self._outputs:
            raise ModelBroken(
                f"Scoring failed: the model answers {values.shape[1]} columns where its registration says "
                f"{self._outputs}; register it again with its class labels."
            )
        return values

    def _unavailable(self, error: Exception) -> ServerUnavailable:
        if self._sockets.closed:
            return ServerUnavailable(f"Scoring stopped: the connection to the {self._where} was closed.")
        cause = one_line(str(error), 200) or type(error).__name__
        return ServerUnavailable(f"Scoring failed: the {self._where} does not answer ({cause}); is it running?")

    def _refusal(self, response: httpx2.Response) -> ScoringError:
        """The error that a status means."""
        status = response.status_code
        document = _document(response)
        text = one_line(str(document.get("message") or f"status {status}"))
        told = f"Scoring failed: the {self._where} says: {text}"
        if status == 413:
            return TooLarge(told)
        if status in {429, 503}:
            return Overloaded(told, _seconds(response.headers.get("retry-after")))
        if status in {401, 403, 404}:
            return AccessRefused(f"{told} ({status})")
        if 400 <= status < 500 and status != 408:
            if document.get("reason") == "model":
                return ModelBroken(text)
            row = document.get("row")
            return DataRefused(text, row if isinstance(row, int) else None)
        return ServerUnavailable(f"{told} ({status})")


class _Sockets:
    """The sockets of a client, so that calls in flight can be ended from another thread.

    Closing a client, or a socket, does not wake a thread that waits in it; shutting the socket down does.
    """

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """Trace hook of the HTTP library."""
        if event != "connection.connect_tcp.complete":
            return
        stream = info.get("return_value")
        sock = stream.get_extra_info("socket") if stream is not None else None
        if not isinstance(sock, socket.socket):
            return
        with self._lock:
            self._open = {known for known in self._open if known.fileno() >= 0} | {sock}
            if self.closed:
                _shut(sock)

    def shut(self) -> None:
        """End everything that is in flight or begins later."""
        with self._lock:
            self.closed = True
            for sock in self._open:
                _shut(sock)
            self._open.clear()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RDWR)


def _document(response: httpx2.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


_CLASSES = frozenset({TargetType.BINARY, TargetType.MULTICLASS})
