"""Sending the outbox: every API process does it, each message by one of them at a time."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.engine import Connection

from scoreline import faults, redact
from scoreline.access.outside import Outside
from scoreline.adapters.webcalls import Caller, WebTrouble
from scoreline.credentials import no_keys
from scoreline.errors import Forbidden, NotFound, RunStopped, ScorelineError, SetupError, StoreError, one_line
from scoreline.jobs import keyring, outbox, plans, ticket, webhooks
from scoreline.jobs import store as rows
from scoreline.jobs.outbox import Message
from scoreline.jobs.spec import LOCAL_FILE
from scoreline.network import Reach
from scoreline.settings import Settings
from scoreline.store import Store, now
from scoreline.types import JsonObject, RunLimits

_POLL_SECONDS = 0.5
_AWAY_SECONDS = 5.0  # between two looks at a database that is away
_AT_ONCE = 8
_AT_ONE_PLACE = 2  # a receiver that never answers must not hold up the others
_MARGIN_SECONDS = 5.0  # for noting the outcome, before another sender takes the message
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 3600.0
_LEAVE_SECONDS = 2.0
_GONE = 410  # the receiver wants nothing any more
_SAID = 200  # characters of a receiver's refusal
_PREFIX = "/api/v2/batchPredictions"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try. wait: seconds that the receiver asks for. final: another try would be the same."""

    status: int | None
    trouble: str | None = None
    wait: float = 0.0
    final: bool = False


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What bounds a call; see `webcalls.Bounds`."""

    limits: RunLimits
    reach: Reach


class Sender:
    """Sends what is due, a few messages at once."""

    def __init__(
        self, store: Store, settings: Settings, outside: Outside, *, clock: Callable[[], datetime] = now
    ) -> None:
        """Send nothing yet; `clock` says what is due."""
        self._store = store
        self._settings = settings
        self._outside = outside
        self._clock = clock
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook")
        self._calls: dict[Future[None], str] = {}
        self._callers: set[Caller] = set()
        self._lock = threading.Lock()

    def keep(self, stop: threading.Event) -> None:
        """Send until `stop` is set; calls that are under way then have a moment to end."""
        pause = 0.0
        while not stop.wait(pause):
            try:
                pause = 0.0 if self.turn() else _POLL_SECONDS
            except ScorelineError as exc:
                _log.warning("webhooks wait", cause=exc.message)
                pause = _AWAY_SECONDS
        self.close()

    def turn(self) -> int:
        """Begin to send what is due, as far as there is room; return how many messages. Raises StoreError."""
        self._calls = {call: place for call, place in self._calls.items() if not call.done()}
        room, moment = _AT_ONCE - len(self._calls), self._clock()
        if room <= 0:
            return 0
        at = Counter(self._calls.values())
        with self._store.read() as connection:
            full = [place for place, calls in at.items() if calls >= _AT_ONE_PLACE]
            found = outbox.due(connection, moment, full, room)
        begun = 0
        for message in found:
            at[message.place] += 1
            if at[message.place] <= _AT_ONE_PLACE and self._claim(message, moment):
                claimed = replace(message, tries=message.tries + 1)
                self._calls[self._pool.submit(self._deliver, claimed)] = message.place
                begun += 1
        return begun

    def close(self) -> None:
        """End what is under way, after a moment; it is sent again by whoever lives."""
        deadline = time.monotonic() + _LEAVE_SECONDS
        for call in list(self._calls):
            with suppress(Exception):
                call.result(max(0.0, deadline - time.monotonic()))
        with self._lock:
            for caller in self._callers:
                caller.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _claim(self, message: Message, moment: datetime) -> bool:
        until = moment + timedelta(seconds=self._settings.webhook_seconds + _MARGIN_SECONDS)
        return self._store.run(lambda connection: outbox.claim(connection, message, until))

    def _deliver(self, message: Message) -> None:
        """Send a claimed message and note what came of it."""
        try:
            outcome = self._try(message)
            faults.at("webhook.sent")
            self._store.run(lambda connection: self._note(connection, message, outcome))
        except StoreError as exc:
            _log.warning("a webhook's message is sent again", message=message.id, cause=exc.message)
        except Exception:  # noqa: BLE001 -- its lease runs out, and it is sent again
            _log.exception("sending a webhook's message failed", message=message.id)

    def _note(self, connection: Connection, message: Message, outcome: Outcome) -> bool:
        if outcome.trouble is None and outcome.status is not None:
            return outbox.delivered(connection, message, outcome.status)
        trouble = one_line(outcome.trouble or "", 2 * _SAID)
        at = self._clock() + timedelta(seconds=max(outcome.wait, pause(message.tries)))
        if outcome.final or at > outbox.end_of(message, self._settings.webhook_hours):
            return outbox.give_up(connection, message, outcome.status, trouble)
        return outbox.again(connection, message, at, outcome.status, trouble)

    def _try(self, message: Message) -> Outcome:
        """Send a message once. Raises StoreError."""
        with self._store.read() as connection:
            job = rows.find(connection, message.job_id)
        if job is None or message.hook >= len(job.spec.webhooks or ()):
            return Outcome(None, "the job has no such webhook any more", final=True)
        try:
            hook = webhooks.opened(job.spec.webhooks or (), keyring.keys_of(job, self._outside))[message.hook]
        except NotFound as exc:
            return Outcome(None, exc.message, final=True)
        except SetupError as exc:
            return Outcome(None, exc.message)
        if webhooks.hides([hook]):
            return Outcome(None, "its secret is not stored any more", final=True)
        reach = ticket.reach(self._store, job.owner.id, self._settings, self._outside)
        body = self._body(message)
        with redact.hiding(webhooks.hidden(hook)):
            return self._post(str(hook["url"]), webhooks.headers(hook, message.id, int(time.time()), body), body, reach)

    def _post(self, url: str, headers: dict[str, str], body: bytes, reach: Reach) -> Outcome:
        """Make one call, of a few bytes of whose answer are read, within the time that it has."""
        seconds = self._settings.webhook_seconds
        bounds = _Bounds(plans.limits(self._settings, kept=False), reach)
        caller = Caller(bounds, {"url": url}, no_keys, "Webhook", silent=seconds)
        timer = threading.Timer(seconds, caller.close)
        timer.daemon = True
        timer.start()
        with self._lock:
            self._callers.add(caller)
        try:
            answer = caller.call("POST", headers, lambda: iter((body,)), follow=False)
            if 200 <= answer.status < 300:
                answer.close()
                return Outcome(answer.status)
            refusal = answer.trouble()
            return Outcome(answer.status, _short(refusal.said), refusal.wait, final=answer.status == _GONE)
        except Forbidden as exc:
            return Outcome(None, exc.message, final=True)
        except WebTrouble as exc:
            return Outcome(None, _short(exc.said))
        except RunStopped:
            return Outcome(None, f"no answer within {seconds:g} s")
        finally:
            timer.cancel()
            with self._lock:
                self._callers.discard(caller)
            caller.close()

    def _body(self, message: Message) -> bytes:
        """Return the message as it is sent, every time the same bytes."""
        begin = (self._settings.public_url or "").rstrip("/")
        job = f"{begin}{_PREFIX}/{message.job_id}/"
        links: JsonObject = {"self": job}
        if message.event == "completed" and message.about["outputType"] == LOCAL_FILE:
            links["download"] = f"{job}download/"
        document = {
            "id": message.id,
            "type": f"job.{message.event}",
            "timestamp": message.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "data": {**message.about, "links": links},
        }
        return json.dumps(document, separators=(",", ":")).encode()


def pause(tries: int) -> float:
    """Return the seconds before the next try: twice as long each time, up to an hour, and never the same for all."""
    spread = random.uniform(0.5, 1.0)  # noqa: S311 -- keeps messages apart, guards nothing
    return float(min(_FIRST_PAUSE * 2.0 ** min(tries - 1, 20), _LONGEST_PAUSE) * spread)


def _short(said: str) -> str:
    return one_line(said, _SAID)
